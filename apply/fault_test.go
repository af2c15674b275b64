package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// A faulty is a kernel in memory that takes every batch and gives out what it
// was given, but for the faults a test plants.
type faulty struct {
	inode      uint64
	generation uint32
	tables     []netlink.Message // what it holds
	sent       int

	onSend func(k *faulty, n int) error // before the n-th batch, counted from 1
	onDump func(messages []netlink.Message) []netlink.Message
}

func (k *faulty) namespace() (uint64, error) { return k.inode, nil }

func (k *faulty) settle()   {}
func (k *faulty) room() int { return 0 }

func (k *faulty) send(batch []netlink.Message, generation uint32) error {
	k.sent++
	if k.onSend != nil {
		if err := k.onSend(k, k.sent); err != nil {
			return err
		}
	}
	if generation != k.generation {
		return &nfnetlink.CommitError{Failures: []nfnetlink.Failure{{Index: nfnetlink.BatchBegin, Errno: unix.ERESTART}}}
	}
	expected, err := expect(k.tables, batch)
	if err != nil {
		return err
	}
	k.tables = nil
	for _, h := range expected.holdings {
		h.each(func(i item) { k.tables = append(k.tables, i.message) })
	}
	k.generation++
	return nil
}

func (k *faulty) dump([]nfnetlink.Table) (*nfnetlink.Dump, error) {
	messages := k.tables
	if k.onDump != nil {
		messages = k.onDump(messages)
	}
	return &nfnetlink.Dump{Generation: k.generation, Messages: messages}, nil
}

const inet = unix.NFPROTO_INET

func newTable(name string) netlink.Message {
	return nfnetlink.Message(unix.NFT_MSG_NEWTABLE, netlink.Create, inet, nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, name))
}

func newChain(name string) netlink.Message {
	attrs := nfnetlink.AppendString(nil, unix.NFTA_CHAIN_TABLE, "t")
	return nfnetlink.Message(unix.NFT_MSG_NEWCHAIN, netlink.Create, inet, nfnetlink.AppendString(attrs, unix.NFTA_CHAIN_NAME, name))
}

// mark returns a rule that loads the packet mark and compares it.
func mark(chain string, value byte) netlink.Message {
	expression := func(name string, data []byte) []byte {
		e := nfnetlink.AppendString(nil, unix.NFTA_EXPR_NAME, name)
		return nfnetlink.AppendAttr(nil, 1|netlink.Nested, nfnetlink.AppendAttr(e, unix.NFTA_EXPR_DATA|netlink.Nested, data))
	}
	load := nfnetlink.AppendUint32(nil, unix.NFTA_META_KEY, unix.NFT_META_MARK)
	load = nfnetlink.AppendUint32(load, unix.NFTA_META_DREG, unix.NFT_REG_1)
	compare := nfnetlink.AppendUint32(nil, unix.NFTA_CMP_SREG, unix.NFT_REG_1)
	compare = nfnetlink.AppendUint32(compare, unix.NFTA_CMP_OP, unix.NFT_CMP_EQ)
	compare = nfnetlink.AppendAttr(compare, unix.NFTA_CMP_DATA|netlink.Nested, nfnetlink.AppendAttr(nil, unix.NFTA_DATA_VALUE, []byte{value, 0, 0, 0}))
	attrs := nfnetlink.AppendString(nil, unix.NFTA_RULE_TABLE, "t")
	attrs = nfnetlink.AppendString(attrs, unix.NFTA_RULE_CHAIN, chain)
	attrs = nfnetlink.AppendAttr(attrs, unix.NFTA_RULE_EXPRESSIONS|netlink.Nested, append(expression("meta", load), expression("cmp", compare)...))
	return nfnetlink.Message(unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, inet, attrs)
}

var stages = []Batch{
	{Messages: []netlink.Message{newTable("t"), newChain("a"), mark("a", 1)}, Labels: []string{"", "", "rules.v4:3"}},
	{Messages: []netlink.Message{newChain("b"), mark("b", 2)}, Labels: []string{"", "rules.v4:4"}},
}

func TestStages(t *testing.T) {
	k := &faulty{inode: 7, generation: 41}
	receipt, err := commit(context.Background(), k, 7, stages, Options{})
	if err != nil || receipt.Stages != 2 || receipt.Messages != 5 || receipt.Generation != 43 || len(k.tables) != 5 {
		t.Errorf("receipt %+v, error %v, kernel holds %d; want 2 stages, 5 messages, generation 43", receipt, err, len(k.tables))
	}
}

// TestFaults plants one fault each and wants the ruleset to be what it was.
func TestFaults(t *testing.T) {
	refuse := func(index int, errno unix.Errno) error {
		return &nfnetlink.CommitError{Failures: []nfnetlink.Failure{{Index: index, Errno: errno}}}
	}
	current, past := uint32(41), uint32(40)
	cancelled, cancel := context.WithCancel(context.Background())
	for _, c := range []struct {
		name       string
		fault      func(k *faulty)
		ctx        context.Context
		options    Options
		is         error
		text       string // in the error
		rolledBack bool
		missing    bool
		sent       int
	}{
		{name: "wrong namespace", fault: func(k *faulty) { k.inode = 8 }, text: "namespace 8, want 7"},
		{name: "plan for an older ruleset", options: Options{Generation: &past}, is: nfnetlink.ErrStale, text: "another program"},
		{name: "race lost with a pinned generation", options: Options{Generation: &current}, is: nfnetlink.ErrStale, sent: 1,
			fault: func(k *faulty) {
				k.onSend = func(k *faulty, n int) error { k.generation++; return nil }
			}},
		{name: "race lost for ever", is: nfnetlink.ErrStale, sent: staleAttempts + 1,
			fault: func(k *faulty) {
				k.onSend = func(k *faulty, n int) error { k.generation++; return nil }
			}},
		{name: "others changed our table", is: nfnetlink.ErrStale, text: "changed our tables", sent: 2, rolledBack: true,
			fault: func(k *faulty) {
				k.onSend = func(k *faulty, n int) error {
					if n == 2 {
						k.generation++
						k.tables = append(k.tables, mark("a", 9))
					}
					return nil
				}
			}},
		{name: "no right", is: unix.EPERM, missing: true, text: "CAP_NET_ADMIN", sent: 1,
			fault: func(k *faulty) {
				k.onSend = func(*faulty, int) error { return refuse(nfnetlink.BatchBegin, unix.EPERM) }
			}},
		{name: "no room in the send buffer", is: unix.EMSGSIZE, missing: true, text: "wmem_max", sent: 1,
			fault: func(k *faulty) {
				k.onSend = func(*faulty, int) error { return &nfnetlink.SizeError{Size: 9000, Limit: 800} }
			}},
		{name: "no nf_tables", is: nfnetlink.ErrUnsupported, missing: true, sent: 1,
			fault: func(k *faulty) {
				k.onSend = func(*faulty, int) error { return fmt.Errorf("x: %w", nfnetlink.ErrUnsupported) }
			}},
		{name: "bad rule in the first stage", is: unix.EMLINK, text: "rules.v4:3: a rule in chain \"a\" of table inet \"t\"", sent: 1,
			fault: func(k *faulty) {
				k.onSend = func(*faulty, int) error { return refuse(2, unix.EMLINK) }
			}},
		{name: "bad rule in the second stage", is: unix.EINVAL, text: "rules.v4:4", rolledBack: true, sent: 2,
			fault: func(k *faulty) {
				k.onSend = func(_ *faulty, n int) error {
					if n == 2 {
						return refuse(1, unix.EINVAL)
					}
					return nil
				}
			}},
		{name: "constant stored wrong", text: "rules.v4:3", rolledBack: true, sent: 1,
			fault: func(k *faulty) {
				k.onDump = func(messages []netlink.Message) []netlink.Message {
					if len(messages) == 3 {
						messages = []netlink.Message{messages[0], messages[1], mark("a", 3)}
					}
					return messages
				}
			}},
		{name: "rule lost", text: "want a rule in chain \"a\"", rolledBack: true, sent: 1,
			fault: func(k *faulty) {
				k.onDump = func(messages []netlink.Message) []netlink.Message { return messages[:min(2, len(messages))] }
			}},
		{name: "rule too many", text: "nobody sent", rolledBack: true, sent: 1,
			fault: func(k *faulty) {
				k.onDump = func(messages []netlink.Message) []netlink.Message {
					if len(messages) == 3 {
						messages = append(messages[:3:3], mark("a", 1))
					}
					return messages
				}
			}},
		{name: "lost receipt of a commit that was not", is: nil, text: "stored something else", sent: 1, rolledBack: true,
			fault: func(k *faulty) {
				k.onSend = func(*faulty, int) error { return nfnetlink.ErrNoReceipt }
			}},
		{name: "cancelled before the second stage", ctx: cancelled, is: context.Canceled, rolledBack: true, sent: 1,
			fault: func(k *faulty) {
				k.onSend = func(*faulty, int) error { cancel(); return nil }
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &faulty{inode: 7, generation: current}
			if c.fault != nil {
				c.fault(k)
			}
			if c.ctx == nil {
				c.ctx = context.Background()
			}
			_, err := commit(c.ctx, k, 7, stages, c.options)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error is %v, want an Error", err)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error is %v, want %v in it", err, c.is)
			}
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("error is %q, want %q in it", err, c.text)
			}
			if e.RolledBack != c.rolledBack || e.Undone != nil || e.Missing != c.missing {
				t.Errorf("rolled back %v (%v), missing %v; want %v, %v", e.RolledBack, e.Undone, e.Missing, c.rolledBack, c.missing)
			}
			if k.tables != nil {
				t.Errorf("kernel holds %d messages, want none", len(k.tables))
			}
			if want := c.sent; c.rolledBack {
				if k.sent < want {
					t.Errorf("%d batches were sent, want %d and the undoing", k.sent, want)
				}
			} else if k.sent != want {
				t.Errorf("%d batches were sent, want %d", k.sent, want)
			}
		})
	}
}

// TestLostReceipt is about a commit that took place although nobody said so.
func TestLostReceipt(t *testing.T) {
	k := &faulty{inode: 7}
	k.onSend = func(k *faulty, n int) error {
		k.onSend = nil
		if err := k.send(stages[0].Messages, k.generation); err != nil {
			t.Fatal(err)
		}
		return fmt.Errorf("%w: %w", nfnetlink.ErrNoReceipt, unix.EIO)
	}
	if _, err := commit(context.Background(), k, 7, stages[:1], Options{}); err != nil || len(k.tables) != 3 {
		t.Errorf("error %v, kernel holds %d messages; want what was read back to decide", err, len(k.tables))
	}
}

// TestUndoingFails wants an error that does not claim an undoing.
func TestUndoingFails(t *testing.T) {
	k := &faulty{inode: 7}
	k.onSend = func(_ *faulty, n int) error {
		if n > 1 {
			return unix.ENOMEM
		}
		return nil
	}
	_, err := commit(context.Background(), k, 7, stages, Options{})
	var e *Error
	if !errors.As(err, &e) || e.RolledBack || e.Undone == nil || !strings.Contains(err.Error(), "could not be undone") {
		t.Errorf("error is %v, want one that says that the undoing failed", err)
	}
}

func TestReachesFurther(t *testing.T) {
	for _, c := range []struct {
		name    string
		message netlink.Message
	}{
		{"flush ruleset", nfnetlink.Message(unix.NFT_MSG_DELTABLE, 0, unix.NFPROTO_UNSPEC, nil)},
		{"all tables of a family", nfnetlink.Message(unix.NFT_MSG_DELTABLE, 0, inet, nil)},
		{"a table of every family", nfnetlink.Message(unix.NFT_MSG_DELTABLE, 0, 0, nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, "t"))},
		{"other subsystem", netlink.Message{Header: netlink.Header{Type: 0x0100}, Data: []byte{2, 0, 0, 0}}},
		{"unknown message", nfnetlink.Message(99, 0, inet, nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, "t"))},
		{"cut message", netlink.Message{Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE}, Data: []byte{1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &faulty{inode: 7}
			if _, err := commit(context.Background(), k, 7, []Batch{{Messages: []netlink.Message{c.message}}}, Options{}); err == nil || k.sent != 0 {
				t.Errorf("error %v after %d batches, want a refusal before the first", err, k.sent)
			}
		})
	}
}

// TestMeanings wants a meaning and a remedy for every answer that is listed.
func TestMeanings(t *testing.T) {
	for _, m := range meanings {
		if m.meaning == "" || m.remedy == "" {
			t.Errorf("%v (%s): no meaning or no remedy", m.errno, m.expression)
		}
	}
}
