package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/apply"
	"nftmigrate/internal/nfnetlink"
)

// tableAttempts bounds how many transactions it takes; others who commit in
// between cost one each. In the first half of them the kernel refuses a transaction
// when the rules changed since they were read. When others never stop, that is given
// up: a rollback that waits for a quiet moment might wait for ever.
const tableAttempts = 40

// send is how batches get to the kernel; tests break it.
var send = nfnetlink.Send

// commit sends a batch; again says that others came in between, or that the kernel
// did not say what it did.
func (r *restoring) commit(attempt int, batch []netlink.Message, generation uint32) (again bool, err error) {
	options := nfnetlink.Options{Generation: &generation}
	pinned := attempt < tableAttempts/2
	if !pinned {
		options.Generation = nil
	}
	err = send(r.nft, batch, options)
	switch {
	case errors.Is(err, nfnetlink.ErrStale), errors.Is(err, nfnetlink.ErrNoReceipt):
		return true, nil // the next reading tells what there is to do
	case err != nil && !pinned && attempt < tableAttempts-1:
		return true, nil // others may have changed what it is about
	}
	return false, err
}

// rules reads the ruleset; again says that others kept changing it.
func (r *restoring) rules() (now *nfnetlink.Dump, again bool, err error) {
	now, err = nfnetlink.DumpRuleset(r.nft)
	if errors.Is(err, nfnetlink.ErrUnstable) {
		return nil, true, nil
	}
	return now, false, err
}

// grace is how long packets may still be under way in chains whose hooks are gone.
const grace = 10 * time.Millisecond

// ErrOwned is wrapped when a table belongs to another program that runs.
var ErrOwned = errors.New("the table belongs to a program that runs (owner flag); only that program can change it, and it goes away with it")

// comeBack makes tables of nf_tables what they were.
//
// A transaction takes effect at once for whoever lists the rules, but not for
// packets: they can meet chains without rules, and sets without elements. So, while
// the tables that are to go still decide, tables are made asleep first, without
// hooks, and then woken in a transaction of their own. When there are no such
// tables, it is done in the stages of [apply.Restore], and when these fail, in one
// transaction.
func (r *restoring) comeBack(ctx context.Context, tables, cover []nfnetlink.Table) error {
	if len(tables) == 0 {
		return nil
	}
	if r.nft == nil {
		return errors.New(r.lacks[NFTables])
	}
	wanted, err := r.wanted(tables)
	if err != nil {
		return err
	}
	var made []nfnetlink.Table
	stages, large := true, false
	var stagesErr error
	for attempt := range tableAttempts {
		if err := ctx.Err(); err != nil {
			return err
		}
		now, again, err := r.rules()
		if err != nil {
			return err
		}
		if again {
			continue
		}
		have := byTable(now.Messages)
		covered := slices.ContainsFunc(cover, func(t nfnetlink.Table) bool {
			return hasHooks(have[t]) && flagsOf(have[t])&flagDormant == 0
		})
		var batch, making []netlink.Message
		var names []string
		for _, t := range tables {
			want := wanted[t]
			switch {
			case equal(have[t], want):
				continue
			case flagsOf(have[t])&^flagsOf(want)&flagDormant != 0 && equal(have[t], withFlags(want, asleep)):
				batch = append(batch, tableMessage(unix.NFT_MSG_NEWTABLE, netlink.Create, t, flagsOf(want)))
			case flagsOf(have[t])&flagOwner != 0:
				return fmt.Errorf("%s: %w", TableName(t), ErrOwned)
			case slices.Contains(made, t):
				return fmt.Errorf("%s: what the kernel holds is not what the snapshot says", TableName(t))
			default:
				if len(have[t]) > 0 {
					batch = append(batch, tableMessage(unix.NFT_MSG_DELTABLE, 0, t, 0))
				}
				making = append(making, want...)
			}
			names = append(names, TableName(t))
		}
		if len(names) == 0 {
			r.tell(tables)
			return nil
		}
		what := strings.Join(names, ", ")
		if stages && (large || !covered) && attempt < tableAttempts/2 && len(making) > 0 {
			some := &apply.Snapshot{Namespace: r.ns.Inode(), Generation: now.Generation, Tables: tablesOf(making), Messages: making}
			onStep("commit in stages " + what)
			stagesErr = apply.Restore(ctx, r.ns, some)
			onStep("have committed in stages " + what)
			if stages = stagesErr == nil; stages {
				made, r.changed = append(made, some.Tables...), append(r.changed, some.Tables...)
			}
			continue
		}
		if covered {
			making = withFlags(making, asleep)
		}
		batch = append(batch, nfnetlink.Replay(making)...)
		onStep("commit " + what)
		again, err = r.commit(attempt, batch, now.Generation)
		if size := (*nfnetlink.SizeError)(nil); errors.As(err, &size) && !large {
			large = true // without the right to a larger send buffer; stages are smaller
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, errors.Join(stagesErr, err))
		}
		if again {
			continue
		}
		onStep("have committed " + what)
		made = append(made, tablesOf(making)...)
		r.changed = append(r.changed, tablesOf(batch)...)
	}
	return fmt.Errorf("tables of nf_tables: %w", nfnetlink.ErrUnstable)
}

// tell notes in the report what became of tables.
func (r *restoring) tell(tables []nfnetlink.Table) {
	for _, t := range tables {
		if slices.Contains(r.changed, t) {
			r.report.Restored = append(r.report.Restored, TableName(t))
		} else {
			r.report.Unchanged = append(r.report.Unchanged, TableName(t))
		}
	}
}

// wanted returns the messages of tables, in which sets of ipset have the numbers
// that they have now.
func (r *restoring) wanted(tables []nfnetlink.Table) (map[nfnetlink.Table][]netlink.Message, error) {
	all := byTable(r.snapshot.Ruleset)
	wanted := map[nfnetlink.Table][]netlink.Message{}
	for _, t := range tables {
		if flagsOf(all[t])&flagOwner != 0 {
			return nil, fmt.Errorf("%s: it belonged to a program, which must make it again: restart that program", TableName(t))
		}
		if name := r.movedDevice(all[t]); name != "" {
			return nil, fmt.Errorf("%s: its rules mean device %s by a number that is another one now", TableName(t), name)
		}
		messages := clone(all[t])
		var err error
		eachSetNumber(messages, func(number []byte, _ bool) {
			n, indexErr := r.xt.SetIndex(r.snapshot.numbered[byteOrder.Uint16(number)])
			if err = errors.Join(err, indexErr); indexErr == nil {
				byteOrder.PutUint16(number, n)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", TableName(t), err)
		}
		wanted[t] = messages
	}
	return wanted, nil
}

// movedDevice returns the name of a device that rules mean by its number, when the
// snapshot is of another boot and the device has another number now.
func (r *restoring) movedDevice(messages []netlink.Message) string {
	if boot, err := bootID(); err == nil && boot == r.snapshot.BootID {
		return ""
	}
	now, err := devices(r.ns)
	if err != nil {
		return ""
	}
	for _, index := range deviceNumbers(messages) {
		if was := r.snapshot.Devices[index]; was != "" && now[index] != was {
			return was
		}
	}
	return ""
}

// equal reports whether two readings of a table do the same with packets.
func equal(a, b []netlink.Message) bool {
	return len(a) > 0 && len(b) > 0 && nfnetlink.Equal(a, b, 0)
}

// remove removes tables. A table is put to sleep first: its hooks go, its rules
// stay whole for packets that are under way. Only then it is deleted, because the
// elements of its sets and maps are gone for packets before its rules are.
func (r *restoring) remove(ctx context.Context, tables []nfnetlink.Table) error {
	if r.nft == nil || len(tables) == 0 {
		return nil
	}
	for attempt := range tableAttempts {
		if err := ctx.Err(); err != nil {
			return err
		}
		now, again, err := r.rules()
		if err != nil {
			return err
		}
		if again {
			continue
		}
		have := byTable(now.Messages)
		var sleep, gone []netlink.Message
		var names []string
		for _, t := range tables {
			flags := flagsOf(have[t])
			switch {
			case len(have[t]) == 0:
				continue
			case flags&flagOwner != 0:
				return fmt.Errorf("%s: %w", TableName(t), ErrOwned)
			case flags&flagDormant == 0 && hasHooks(have[t]):
				sleep = append(sleep, tableMessage(unix.NFT_MSG_NEWTABLE, netlink.Create, t, asleep(flags)))
			default:
				gone = append(gone, tableMessage(unix.NFT_MSG_DELTABLE, 0, t, 0))
			}
			names = append(names, TableName(t))
		}
		if len(names) == 0 {
			for _, t := range tables {
				if slices.Contains(r.changed, t) {
					r.report.Removed = append(r.report.Removed, TableName(t))
				} else {
					r.report.Unchanged = append(r.report.Unchanged, TableName(t))
				}
			}
			return nil
		}
		batch := sleep
		if len(sleep) == 0 {
			time.Sleep(grace)
			batch = gone
		}
		what := strings.Join(names, ", ")
		onStep("remove " + what)
		if again, err = r.commit(attempt, batch, now.Generation); err != nil {
			return fmt.Errorf("remove %s: %w", what, err)
		}
		if again {
			continue
		}
		onStep("have removed " + what)
		for _, m := range batch {
			r.changed = append(r.changed, nfnetlink.TableOf(m))
		}
	}
	return fmt.Errorf("remove tables of nf_tables: %w", nfnetlink.ErrUnstable)
}

// tableMessage returns a message about a table.
func tableMessage(kind int, flags netlink.HeaderFlags, t nfnetlink.Table, tableFlags uint32) netlink.Message {
	attrs := nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, t.Name)
	if kind == unix.NFT_MSG_NEWTABLE {
		attrs = nfnetlink.AppendUint32(attrs, unix.NFTA_TABLE_FLAGS, tableFlags)
	}
	return nfnetlink.Message(kind, flags, t.Family, attrs)
}

// deviceNumbers returns the devices that rules mean by numbers.
//
// Kernel: net/netfilter/nft_meta.c, NFT_META_IIF and NFT_META_OIF.
func deviceNumbers(messages []netlink.Message) []int {
	var numbers []int
	for _, m := range messages {
		if kind, _ := nfnetlink.Kind(m); kind != unix.NFT_MSG_NEWRULE {
			continue
		}
		holds := map[uint32]bool{} // registers
		for _, e := range nfnetlink.Nested(nfnetlink.Find(nfnetlink.Attributes(m), unix.NFTA_RULE_EXPRESSIONS)) {
			expression := nfnetlink.Nested(e.Data)
			data := nfnetlink.Nested(nfnetlink.Find(expression, unix.NFTA_EXPR_DATA))
			switch nfnetlink.FindString(expression, unix.NFTA_EXPR_NAME) {
			case "meta":
				key := nfnetlink.Number(data, unix.NFTA_META_KEY)
				holds[nfnetlink.Number(data, unix.NFTA_META_DREG)] = key == unix.NFT_META_IIF || key == unix.NFT_META_OIF
			case "cmp":
				value := nfnetlink.Find(nfnetlink.Nested(nfnetlink.Find(data, unix.NFTA_CMP_DATA)), unix.NFTA_DATA_VALUE)
				if holds[nfnetlink.Number(data, unix.NFTA_CMP_SREG)] && len(value) == 4 {
					numbers = append(numbers, int(byteOrder.Uint32(value)))
				}
			}
		}
	}
	return numbers
}
