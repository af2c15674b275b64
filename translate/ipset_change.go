package translate

import (
	"encoding/binary"
	"fmt"
	"time"

	"nftmigrate/diag"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
)

// A SetChange is what a rule does to an ipset with what is taken from a packet.
type SetChange struct {
	Name   string
	Range  diag.Range // of the name
	Source []bool     // of each dimension: from the source side, else from the destination side
	Delete bool
	// Exist renews an element that is there.
	Exist bool
	// Timeout is the life of an element that is added, 0 for ever; nil is the
	// default of the set.
	Timeout *time.Duration
}

type changesKey struct{ name string }

// changes are the parts of an ipset that packets add to.
type changes struct{ parts map[partKey]bool }

// NoteChange notes that a rule changes an ipset. It has to be called for all
// rules before the first test of the set is translated.
func (s *Shared) NoteChange(c iptables.Context, change SetChange) {
	set := s.ipsets.Set(change.Name)
	if set == nil {
		return
	}
	noted := Value(s, changesKey{change.Name}, func() *changes { return &changes{parts: make(map[partKey]bool)} })
	if change.Delete {
		return
	}
	key := partKey{proto: noPorts, timed: change.life(set) != 0}
	if ported(set) {
		proto, _ := c.ProtocolNumber()
		if !portProtocols[proto] {
			return // refused where the rule is translated
		}
		key.proto = int(proto)
	}
	noted.parts[key] = true
}

// life is how long an element lives that is added, 0 for ever.
func (c SetChange) life(set *ipset.Set) time.Duration {
	switch {
	case !set.Options.HasTimeout:
		return 0
	case c.Timeout != nil:
		return *c.Timeout
	}
	return time.Duration(set.Options.Timeout) * time.Second
}

func ported(set *ipset.Set) bool {
	for _, part := range set.Type.Parts {
		if part == ipset.Port {
			return true
		}
	}
	return false
}

// addressBitmap reports whether a set is a bitmap of single addresses. With a
// netmask it is one of networks.
func addressBitmap(set *ipset.Set) bool {
	return set.Type.Name == "bitmap:ip" && (set.Options.Netmask == 0 || set.Options.Netmask == 32)
}

// changing returns what packets change of an ipset, or nil.
func (s *Shared) changing(set *ipset.Set) *changes {
	c, _ := s.values[changesKey{set.Name}].(*changes)
	return c
}

// ChangeSets adds changes of ipsets as the end of a rule, which goes on whatever
// becomes of them.
func (r *Rule) ChangeSets(list []SetChange) error {
	var rows []Row
	for _, c := range list {
		more, err := r.changeRows(c)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	r.Branch(Branch{Rows: rows, Otherwise: Match})
	return nil
}

// changeRows are the steps of a change.
func (r *Rule) changeRows(c SetChange) ([]Row, error) {
	set := r.Shared.ipsets.Set(c.Name)
	if set == nil {
		return nil, r.unknownSet(SetTest{Name: c.Name, Range: c.Range})
	}
	o := &set.Options
	refuse := func(why, remedy string) error {
		return &Untranslatable{Summary: fmt.Sprintf("changes of set %q by packets are not translated", c.Name), Detail: why + " " + remedy, Range: c.Range}
	}
	switch {
	case set.Type.IsList():
		return nil, refuse("The kernel changes the first set of the list that takes the element, which depends on all that they hold.", "Name the set that should change.")
	case set.Type.Nomatch():
		return nil, refuse(fmt.Sprintf("The kernel adds a network as long as the longest that the set holds at the time, or an address when it holds none, and this is a %s.", set.Type.Name), "Where it is addresses that are added, use a hash:ip beside it, and test both.")
	case set.Type.Bitmap && !addressBitmap(set):
		return nil, refuse(fmt.Sprintf("It is a %s, whose elements stand for ports of several protocols at once.", set.Type.Name), "Use a hash:ip,port and a rule for each protocol.")
	case o.ForceAdd:
		return nil, refuse("With forceadd, the kernel throws out an element at random when the set is full, which nf_tables cannot.", "Create the set without it.")
	case o.Family != 0 && o.Family != r.ipVersion() || set.Type.Bitmap && r.ipVersion() != 4 || len(c.Source) < len(set.Type.Parts):
		return nil, nil
	}
	key := partKey{proto: noPorts}
	if ported(set) {
		proto, _ := r.ProtocolNumber()
		if !portProtocols[proto] {
			return nil, refuse("The rule is for packets of any protocol, of which the set has parts of their own.", "Write a rule for each protocol: -p tcp, -p udp.")
		}
		key.proto = int(proto)
	}
	parts, err := r.Shared.setParts(set, c.Range)
	if err != nil {
		return nil, err
	}
	lasting, timed := parts.byKey[key], parts.byKey[partKey{proto: key.proto, timed: true}]
	update := func(p *setPart, op nftgen.UpdateOp, life time.Duration) nftgen.Update {
		u := nftgen.Update{Op: op, Set: p.named(r.Shared, false)}
		u.Fields, u.Masks = r.setKey(set, p, c.Source)
		if op != nftgen.OpDelete && p.timed && life != time.Duration(o.Timeout)*time.Second {
			u.Timeout = life
		}
		return u
	}
	some := lasting
	if some == nil {
		some = timed
	}
	if some == nil { // nothing to delete, and no rule adds
		return nil, nil
	}
	// Tests of [Rule.guarded] before the change: the lookup itself is left out.
	var guards [][]nftgen.Stmt
	for _, row := range r.guarded(some, c.Source, set, nftgen.InSet{}) {
		guards = append(guards, append([]nftgen.Stmt(nil), row[1:]...))
	}
	if set.Type.Name == "hash:ip" {
		fields, masks := r.setKey(set, some, c.Source)
		none := nftgen.Compare{Field: fields[0], Op: nftgen.Ne, Value: make(nftgen.Value, fields[0].Type.Bytes)}
		if masks != nil {
			none.Mask = masks[0]
		}
		guards[0] = append(guards[0], none)
	}
	if set.Type.Bitmap { // addresses outside of its range are left alone
		fields, _ := r.setKey(set, some, c.Source)
		guards[0] = append(guards[0], nftgen.InSpan{
			Field: fields[0], Low: binary.BigEndian.AppendUint32(nil, o.Low), High: binary.BigEndian.AppendUint32(nil, o.High),
		})
	}
	var steps [][]nftgen.Stmt
	if c.Delete {
		for _, p := range []*setPart{lasting, timed} {
			if p != nil {
				steps = append(steps, []nftgen.Stmt{update(p, nftgen.OpDelete, 0)})
			}
		}
		return rowsOf(guards, steps), nil
	}
	if lasting != nil && timed != nil && !parts.declared && !set.Type.Bitmap {
		parts.declared = true
		r.Declare(Deviation{
			Code: "ipset-size",
			Detail: fmt.Sprintf("ipset %s holds %d elements, those that expire and others together. nftables has a set for each kind, "+
				"and each holds as many.", c.Name, o.MaxElem),
		})
	}
	life := c.life(set)
	switch {
	case life == 0 && timed != nil && !c.Exist:
		// One that expires goes on to expire.
		in := nftgen.InSet{Set: timed.named(r.Shared, false), Not: true}
		in.Fields, in.Masks = r.setKey(set, timed, c.Source)
		steps = [][]nftgen.Stmt{{in, update(lasting, nftgen.OpAdd, 0)}}
	case life == 0:
		steps = [][]nftgen.Stmt{{update(lasting, nftgen.OpAdd, 0)}}
	case c.Exist:
		if lasting != nil {
			steps = append(steps, []nftgen.Stmt{update(lasting, nftgen.OpDelete, 0)})
		}
		steps = append(steps, []nftgen.Stmt{update(timed, nftgen.OpUpdate, life)})
	default:
		steps = [][]nftgen.Stmt{{update(timed, nftgen.OpAdd, life)}}
	}
	return rowsOf(guards, steps), nil
}

// rowsOf puts each of several guards before each step.
func rowsOf(guards, steps [][]nftgen.Stmt) (rows []Row) {
	for _, step := range steps {
		for _, guard := range guards {
			rows = append(rows, Row{Stmts: append(guard[:len(guard):len(guard)], step...), Then: Next})
		}
	}
	return rows
}
