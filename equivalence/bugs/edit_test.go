package bugs_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// A change is an edit of the bytes of a batch. It fails when what it is to
// change is not there.
type change func(messages []netlink.Message) ([]netlink.Message, error)

// headerLen is the size in bytes of struct nfgenmsg.
const headerLen = 4

// listElem is NFTA_LIST_ELEM.
const listElem = 1

// A message in parts: what the kernel calls header, and attributes.
func join(m netlink.Message, attrs []nfnetlink.Attr) netlink.Message {
	data := slices.Clone(m.Data[:headerLen])
	m.Data = append(data, payload(attrs)...)
	return m
}

func payload(attrs []nfnetlink.Attr) []byte {
	var b []byte
	for _, a := range attrs {
		b = nfnetlink.AppendAttr(b, a.Type, a.Data)
	}
	return b
}

// set replaces the payload of the first attribute of a type, which must be old.
func set(attrs []nfnetlink.Attr, kind uint16, old, new []byte) error {
	for i, a := range attrs {
		if a.Type == kind {
			if !bytes.Equal(a.Data, old) {
				return fmt.Errorf("attribute %d is %x, not %x", kind, a.Data, old)
			}
			attrs[i].Data = new
			return nil
		}
	}
	return fmt.Errorf("there is no attribute %d", kind)
}

// find returns the indices of the messages of a type that have a name in an
// attribute.
func find(messages []netlink.Message, kind int, attr uint16, name string) []int {
	var at []int
	for i, m := range messages {
		if k, ok := nfnetlink.Kind(m); ok && k == kind && nfnetlink.FindString(nfnetlink.Attributes(m), attr) == name {
			at = append(at, i)
		}
	}
	return at
}

// ruleAt returns the index of the message of a rule, counted from 1.
func ruleAt(messages []netlink.Message, chain string, number int) (int, error) {
	at := find(messages, unix.NFT_MSG_NEWRULE, unix.NFTA_RULE_CHAIN, chain)
	if number < 1 || number > len(at) {
		return 0, fmt.Errorf("chain %s has %d rules, and no rule %d", chain, len(at), number)
	}
	return at[number-1], nil
}

// An expr is an expression of a rule.
type expr struct {
	name string
	data []nfnetlink.Attr
}

func (e expr) bytes() []byte {
	b := nfnetlink.AppendString(nil, unix.NFTA_EXPR_NAME, e.name)
	return nfnetlink.AppendAttr(b, unix.NFTA_EXPR_DATA|netlink.Nested, payload(e.data))
}

// expressions reads the expressions of a rule.
func expressions(nest []byte) []expr {
	var list []expr
	for _, e := range nfnetlink.Nested(nest) {
		inside := nfnetlink.Nested(e.Data)
		list = append(list, expr{
			name: nfnetlink.FindString(inside, unix.NFTA_EXPR_NAME),
			data: nfnetlink.Nested(nfnetlink.Find(inside, unix.NFTA_EXPR_DATA)),
		})
	}
	return list
}

// rule makes a change of the expressions of a rule, counted from 1.
func rule(chain string, number int, edits ...func([]expr) ([]expr, error)) change {
	return func(messages []netlink.Message) ([]netlink.Message, error) {
		at, err := ruleAt(messages, chain, number)
		if err != nil {
			return nil, err
		}
		attrs := nfnetlink.Attributes(messages[at])
		for i, a := range attrs {
			if a.Type != unix.NFTA_RULE_EXPRESSIONS {
				continue
			}
			list := expressions(a.Data)
			for _, edit := range edits {
				if list, err = edit(list); err != nil {
					return nil, fmt.Errorf("rule %d of %s: %w", number, chain, err)
				}
			}
			var b []byte
			for _, e := range list {
				b = nfnetlink.AppendAttr(b, listElem|netlink.Nested, e.bytes())
			}
			attrs[i].Data = b
		}
		messages[at] = join(messages[at], attrs)
		return messages, nil
	}
}

// index returns the place of the n-th expression of a name, counted from 1.
func index(list []expr, name string, n int) (int, error) {
	left := n
	for i, e := range list {
		if e.name == name {
			if left--; left == 0 {
				return i, nil
			}
		}
	}
	return 0, fmt.Errorf("there is no expression %q number %d", name, n)
}

// attr replaces an attribute of the n-th expression of a name.
func attr(name string, n int, kind uint16, old, new []byte) func([]expr) ([]expr, error) {
	return func(list []expr) ([]expr, error) {
		at, err := index(list, name, n)
		if err == nil {
			err = set(list[at].data, kind, old, new)
		}
		if err != nil {
			return nil, fmt.Errorf("expression %q number %d: %w", name, n, err)
		}
		return list, nil
	}
}

// value is the payload of an attribute that holds a constant.
func value(data []byte) []byte { return nfnetlink.AppendAttr(nil, unix.NFTA_DATA_VALUE, data) }

// constant replaces the constant of the n-th comparison.
func constant(n int, old, new []byte) func([]expr) ([]expr, error) {
	return attr("cmp", n, unix.NFTA_CMP_DATA, value(old), value(new))
}

// flip turns the n-th comparison for equal into one for unequal, and back.
func flip(n int) func([]expr) ([]expr, error) {
	return func(list []expr) ([]expr, error) {
		at, err := index(list, "cmp", n)
		if err != nil {
			return nil, err
		}
		data := list[at].data
		old := nfnetlink.Find(data, unix.NFTA_CMP_OP)
		if len(old) != 4 || old[3] > 1 {
			return nil, fmt.Errorf("comparison %d is none of equality", n)
		}
		return list, set(data, unix.NFTA_CMP_OP, old, be32(uint32(old[3]^1)))
	}
}

// mask replaces the mask of the n-th bitwise expression.
func mask(n int, old, new []byte) func([]expr) ([]expr, error) {
	return attr("bitwise", n, unix.NFTA_BITWISE_MASK, value(old), value(new))
}

// drop takes expressions out, by their place from 1.
func drop(places ...int) func([]expr) ([]expr, error) {
	return func(list []expr) ([]expr, error) {
		var kept []expr
		for i, e := range list {
			if !slices.Contains(places, i+1) {
				kept = append(kept, e)
			}
		}
		if len(list)-len(kept) != len(places) {
			return nil, fmt.Errorf("of %d expressions, not all of %v are there", len(list), places)
		}
		return kept, nil
	}
}

// move moves an expression to a place, both from 1.
func move(from, to int) func([]expr) ([]expr, error) {
	return func(list []expr) ([]expr, error) {
		if from > len(list) || to > len(list) {
			return nil, fmt.Errorf("there are only %d expressions", len(list))
		}
		e := list[from-1]
		return slices.Insert(slices.Delete(list, from-1, from), to-1, e), nil
	}
}

// verdict replaces the first verdict of a rule. The chain is that of a jump.
func verdict(old, new int32, chain string) func([]expr) ([]expr, error) {
	return immediate(verdictOf(old, chain), verdictOf(new, chain))
}

// target replaces the chain that a rule jumps to.
func target(old, new string) func([]expr) ([]expr, error) {
	return immediate(verdictOf(unix.NFT_JUMP, old), verdictOf(unix.NFT_JUMP, new))
}

func immediate(old, new []byte) func([]expr) ([]expr, error) {
	return attr("immediate", 1, unix.NFTA_IMMEDIATE_DATA, old, new)
}

// verdictOf is the payload of an attribute that holds a verdict, as the encoder
// writes it.
func verdictOf(code int32, chain string) []byte {
	b := nfnetlink.AppendUint32(nil, unix.NFTA_VERDICT_CODE, uint32(code))
	if chain != "" {
		b = nfnetlink.AppendString(b, unix.NFTA_VERDICT_CHAIN, chain)
	}
	return nfnetlink.AppendAttr(nil, unix.NFTA_DATA_VERDICT|netlink.Nested, b)
}

// both makes one change of several.
func both(list ...change) change {
	return func(messages []netlink.Message) (_ []netlink.Message, err error) {
		for _, c := range list {
			if messages, err = c(messages); err != nil {
				return nil, err
			}
		}
		return messages, nil
	}
}

// swapRules swaps two rules of a chain.
func swapRules(chain string, one, other int) change {
	return func(messages []netlink.Message) ([]netlink.Message, error) {
		i, err := ruleAt(messages, chain, one)
		if err != nil {
			return nil, err
		}
		j, err := ruleAt(messages, chain, other)
		if err != nil {
			return nil, err
		}
		messages[i], messages[j] = messages[j], messages[i]
		return messages, nil
	}
}

// dropRule leaves a rule out.
func dropRule(chain string, number int) change {
	return func(messages []netlink.Message) ([]netlink.Message, error) {
		at, err := ruleAt(messages, chain, number)
		if err != nil {
			return nil, err
		}
		return slices.Delete(messages, at, at+1), nil
	}
}

// doubleRule repeats a rule.
func doubleRule(chain string, number int) change {
	return func(messages []netlink.Message) ([]netlink.Message, error) {
		at, err := ruleAt(messages, chain, number)
		if err != nil {
			return nil, err
		}
		return slices.Insert(messages, at, messages[at]), nil
	}
}

// chain makes a change of the attributes of a chain.
func chain(name string, edit func([]nfnetlink.Attr) error) change {
	return func(messages []netlink.Message) ([]netlink.Message, error) {
		at := find(messages, unix.NFT_MSG_NEWCHAIN, unix.NFTA_CHAIN_NAME, name)
		if len(at) != 1 {
			return nil, fmt.Errorf("there are %d chains %s", len(at), name)
		}
		attrs := nfnetlink.Attributes(messages[at[0]])
		if err := edit(attrs); err != nil {
			return nil, fmt.Errorf("chain %s: %w", name, err)
		}
		messages[at[0]] = join(messages[at[0]], attrs)
		return messages, nil
	}
}

// hook replaces hook and priority of a chain.
func hook(name string, oldHook uint32, oldPriority int32, newHook uint32, newPriority int32) change {
	return chain(name, func(attrs []nfnetlink.Attr) error {
		form := func(hook uint32, priority int32) []byte {
			b := nfnetlink.AppendUint32(nil, unix.NFTA_HOOK_HOOKNUM, hook)
			return nfnetlink.AppendUint32(b, unix.NFTA_HOOK_PRIORITY, uint32(priority))
		}
		return set(attrs, unix.NFTA_CHAIN_HOOK, form(oldHook, oldPriority), form(newHook, newPriority))
	})
}

// policy replaces the policy of a chain.
func policy(name string, old, new uint32) change {
	return chain(name, func(attrs []nfnetlink.Attr) error {
		return set(attrs, unix.NFTA_CHAIN_POLICY, be32(old), be32(new))
	})
}

// chainType replaces the type of a chain.
func chainType(name, old, new string) change {
	return chain(name, func(attrs []nfnetlink.Attr) error {
		return set(attrs, unix.NFTA_CHAIN_TYPE, zeroed(old), zeroed(new))
	})
}

// key replaces the key of an element of a set, wherever it is.
func key(old, new []byte) change {
	return func(messages []netlink.Message) ([]netlink.Message, error) {
		hits := 0
		for i, m := range messages {
			if k, ok := nfnetlink.Kind(m); !ok || k != unix.NFT_MSG_NEWSETELEM {
				continue
			}
			attrs := nfnetlink.Attributes(m)
			for j, a := range attrs {
				if a.Type != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
					continue
				}
				elements := nfnetlink.Nested(a.Data)
				for k, e := range elements {
					parts := nfnetlink.Nested(e.Data)
					if set(parts, unix.NFTA_SET_ELEM_KEY, value(old), value(new)) == nil {
						hits++
						elements[k].Data = payload(parts)
					}
				}
				attrs[j].Data = payload(elements)
			}
			messages[i] = join(m, attrs)
		}
		if hits != 1 {
			return nil, fmt.Errorf("%d elements have the key %x", hits, old)
		}
		return messages, nil
	}
}

// tables gives every table another name, and nothing else.
func tables(name string) change {
	return func(messages []netlink.Message) ([]netlink.Message, error) {
		for i, m := range messages {
			attrs := nfnetlink.Attributes(m)
			for j, a := range attrs {
				if a.Type == unix.NFTA_TABLE_NAME { // 1 in messages of every kind
					attrs[j].Data = zeroed(name)
				}
			}
			if kind, ok := nfnetlink.Kind(m); ok && kind <= unix.NFT_MSG_DELSETELEM {
				messages[i] = join(m, attrs)
			}
		}
		return messages, nil
	}
}

func zeroed(s string) []byte { return append([]byte(s), 0) }

func be16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func be64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func host32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// device is a device name in a register.
func device(name string) []byte { return append([]byte(name), make([]byte, 16-len(name))...) }

// replace makes an edit of a text: old is there once.
func replace(text, old, new string) (string, error) {
	if n := strings.Count(text, old); n != 1 {
		return "", fmt.Errorf("%q is in the text %d times", old, n)
	}
	return strings.Replace(text, old, new, 1), nil
}
