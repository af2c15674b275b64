package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/xtables"
)

// What says what to restore.
type What struct {
	// Parts are the names of what to put back, as in [Part]. Tables of nf_tables
	// that the snapshot does not have are removed, legacy tables emptied; sets that
	// it does not have stay.
	Parts []string
	// Left is what the migration left behind, when that is known: what is different
	// now was changed by others, and is told in the report.
	Left *Snapshot
	// Lock is the lock of iptables. When another program keeps it, the restoring
	// goes on without it: the kernel replaces tables as a whole in any case.
	Lock xtables.LockOptions

	unlocked bool // nobody else is there
}

// A Report says what a restoring did, in names of parts.
type Report struct {
	Restored, Removed, Unchanged []string
	// Overwritten are changes of others that are gone now, in words.
	Overwritten []string
	// Notes are for people.
	Notes []string
}

// Restore puts parts of a snapshot back: first sets, then legacy tables and tables
// of nf_tables, complete and with their counters; only when all of them are there,
// tables that the snapshot does not have go. So there is no time at which packets
// meet no rules, or only a part of them. Everything else stays, whatever happened
// to it since.
//
// What is as it was is left alone. So it can be called again after it was cut off
// anywhere, by any process, and ends with the same state. When one part cannot be
// restored, the others are all the same; the error names each.
//
// A snapshot of another namespace of the same boot is refused. After another boot
// there is no telling; tables of nf_tables whose rules mean devices by numbers are
// refused when the devices have others now.
func (s *Snapshot) Restore(ctx context.Context, ns *netns.NS, what What) (*Report, error) {
	r := &Report{}
	if err := s.restore(ctx, ns, what, r); err != nil {
		return r, fmt.Errorf("restore a snapshot: %w", err)
	}
	return r, nil
}

// onStep is called before and after everything that changes the kernel; tests
// break off there.
var onStep = func(string) {}

// A restoring is one run of Restore.
type restoring struct {
	*kernel
	snapshot *Snapshot
	report   *Report
	changed  []nfnetlink.Table // by what was committed so far
}

func (s *Snapshot) restore(ctx context.Context, ns *netns.NS, what What, report *Report) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var refs []reference
	for _, name := range what.Parts {
		r, err := parsePart(name)
		if err != nil {
			return err
		}
		refs = append(refs, r)
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	if boot == s.BootID && s.Namespace != ns.Inode() {
		return fmt.Errorf("it is of network namespace %d, this is %d", s.Namespace, ns.Inode())
	}
	k, err := dial(ns)
	if err != nil {
		return err
	}
	defer k.close()
	r := &restoring{kernel: k, snapshot: s, report: report}
	if what.Left != nil {
		r.tellOverwritten(what)
	}
	unlock := r.lock(ctx, what, refs)
	defer unlock()

	// What comes back, in the order in which one needs the other.
	var errs []error
	for _, set := range s.Sets {
		if slices.ContainsFunc(refs, func(x reference) bool { return x.set == set.Name }) {
			if err := r.set(set.Name); err != nil {
				errs = append(errs, err)
			}
		}
	}
	for _, x := range refs {
		if x.set != "" && s.set(x.set) == nil {
			report.Notes = append(report.Notes, SetName(x.set)+" was made later, and stays")
		}
	}
	for _, x := range refs {
		if x.legacy != "" {
			if err := r.legacy(x); err != nil {
				errs = append(errs, err)
			}
		}
	}
	old, new := r.split(refs)
	errs = append(errs, r.comeBack(ctx, old, new))
	if err := errors.Join(errs...); err != nil {
		if len(new) > 0 {
			err = fmt.Errorf("%w\nthe new tables stay, because the old rules are not complete", err)
		}
		return err
	}
	if err := r.remove(ctx, new); err != nil {
		return err
	}
	return r.check(what.Parts)
}

// lock takes the lock of iptables when legacy tables are to be restored.
func (r *restoring) lock(ctx context.Context, what What, refs []reference) (unlock func()) {
	if what.unlocked || !slices.ContainsFunc(refs, func(x reference) bool { return x.legacy != "" }) {
		return func() {}
	}
	unlock, err := what.Lock.Take(ctx)
	if err != nil {
		r.report.Notes = append(r.report.Notes, fmt.Sprintf("went on without the lock: %v", err))
		return func() {}
	}
	return unlock
}

// tellOverwritten notes what others changed since in the parts to restore.
func (r *restoring) tellOverwritten(what What) {
	now, err := r.read()
	if err != nil {
		r.report.Notes = append(r.report.Notes, fmt.Sprintf("what others changed is not known: %v", err))
		return
	}
	moving := movingIn(r.snapshot, what.Left, now)
	was, left, is := r.snapshot.hashes(moving), what.Left.hashes(moving), now.hashes(moving)
	for _, name := range what.Parts {
		if is[name] != left[name] && is[name] != was[name] {
			word := name + " was removed"
			switch {
			case is[name] != "" && left[name] == "":
				word = name + " was made"
			case is[name] != "":
				for _, d := range details(what.Left, now, name) {
					r.report.Overwritten = append(r.report.Overwritten, name+": "+d)
				}
				continue
			}
			r.report.Overwritten = append(r.report.Overwritten, word)
		}
	}
}

// set puts a set back. A set whose elements others change is left alone when it is
// there: what they added since is theirs.
func (r *restoring) set(name string) error {
	want, part := r.snapshot.set(name), SetName(name)
	if r.sets == nil {
		return fmt.Errorf("%s: %s", part, r.lacks[IPSet])
	}
	now, err := r.sets.Read()
	if err != nil {
		return fmt.Errorf("%s: %w", part, err)
	}
	moving := r.snapshot.moving()[name]
	for _, set := range now {
		if set.Name == name && set.Fingerprint(moving) == want.Fingerprint(moving) {
			r.report.Unchanged = append(r.report.Unchanged, part)
			return nil
		}
	}
	onStep("put " + part)
	if err := r.sets.Put(want); err != nil {
		return fmt.Errorf("%s: %w", part, err)
	}
	onStep("have put " + part)
	r.report.Restored = append(r.report.Restored, part)
	return nil
}

// legacyAttempts bounds how often a legacy table is replaced again because others
// did at the same time.
const legacyAttempts = 10

func (r *restoring) legacy(x reference) error {
	part := LegacyName(x.family, x.legacy)
	for range legacyAttempts {
		err := r.legacyOnce(x, part)
		if errors.Is(err, xtables.ErrChanged) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		return nil
	}
	return fmt.Errorf("%s: %w", part, xtables.ErrChanged)
}

func (r *restoring) legacyOnce(x reference, part string) error {
	now, err := r.xt.Read(x.family, x.legacy)
	if err != nil && !errors.Is(err, xtables.ErrNoTable) && !errors.Is(err, xtables.ErrUnsupported) {
		return err
	}
	want := r.snapshot.legacy(x.family, x.legacy)
	switch {
	case want == nil && now == nil:
		r.report.Unchanged = append(r.report.Unchanged, part)
		return nil
	case want == nil:
		want = xtables.Empty(now) // a table cannot be removed
	case now != nil && now.Equal(want) && now.CountsLess(want):
		// It was replaced, and then something broke off.
		onStep("count " + part)
		err := r.xt.AddCounters(want)
		onStep("have counted " + part)
		r.report.Restored = append(r.report.Restored, part)
		return err
	}
	if now != nil && now.Equal(want) {
		r.report.Unchanged = append(r.report.Unchanged, part)
		return nil
	}
	onStep("replace " + part)
	if err := r.xt.Replace(want, now); err != nil {
		return err
	}
	onStep("have replaced " + part)
	r.report.Restored = append(r.report.Restored, part)
	return nil
}

// split says which tables of nf_tables are to come back, and which are to go.
func (r *restoring) split(refs []reference) (old, new []nfnetlink.Table) {
	had := tablesOf(r.snapshot.Ruleset)
	for _, x := range refs {
		switch {
		case x.table == nfnetlink.Table{}:
		case slices.Contains(had, x.table):
			old = append(old, x.table)
		default:
			new = append(new, x.table)
		}
	}
	return old, new
}

// check reads everything again and compares the parts.
func (r *restoring) check(parts []string) error {
	var now *Snapshot
	var err error
	for attempt := range takeAttempts {
		if now, err = r.read(); err == nil || !passing(err) {
			break
		}
		time.Sleep(time.Duration(attempt) * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	moving := movingIn(r.snapshot, now)
	was, is := r.snapshot.hashes(moving), now.hashes(moving)
	var errs []error
	for _, name := range parts {
		x, _ := parsePart(name)
		switch {
		case was[name] == is[name]:
		case was[name] == "" && x.set != "":
		case was[name] == "" && x.legacy != "" && now.legacy(x.family, x.legacy).Idle():
		case is[name] == "":
			errs = append(errs, fmt.Errorf("read back: %s is not there", name))
		case was[name] == "":
			errs = append(errs, fmt.Errorf("read back: %s is there again", name))
		default:
			errs = append(errs, fmt.Errorf("read back: %s is not what it was: %v", name, details(r.snapshot, now, name)))
		}
	}
	return errors.Join(errs...)
}
