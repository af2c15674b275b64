package translate

import (
	"fmt"

	"nftmigrate/diag"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
)

// A SetTest is a test whether an ipset holds what is taken from a packet.
type SetTest struct {
	Name   string
	Range  diag.Range // of the name
	Source []bool     // of each dimension: from the source side, else from the destination side
	Not    bool
	// ReturnNomatch asks for the exceptions instead.
	ReturnNomatch bool
	// Uncounted leaves the counters of elements alone.
	Uncounted bool
}

// TestSet adds the test of an ipset, whose nftables sets are made when a rule
// first needs them.
//
// A test with fewer directions than the set has dimensions never holds, nor one
// of a set of the other family; more directions are not looked at.
func (r *Rule) TestSet(q SetTest) error {
	set := r.Shared.ipsets.Set(q.Name)
	if set == nil {
		return r.unknownSet(q)
	}
	if o := &set.Options; o.Family != 0 && o.Family != r.ipVersion() {
		return r.wrongFamily(set, q.Range)
	}
	rows, err := r.setRows(set, q)
	if err != nil {
		return err
	}
	then, otherwise := Match, Fail
	if q.Not {
		then, otherwise = Fail, Match
	}
	if len(rows) == 1 && !q.Not {
		r.Add(rows[0]...)
		return nil
	}
	if len(rows) == 1 && len(rows[0]) == 1 {
		if in, ok := rows[0][0].(nftgen.InSet); ok && q.Not && always(in) {
			in.Not = true
			r.Add(in)
			return nil
		}
	}
	b := Branch{Otherwise: otherwise}
	for _, row := range rows {
		b.Rows = append(b.Rows, Row{Stmts: row, Then: then})
	}
	r.Branch(b)
	return nil
}

func (r *Rule) wrongFamily(set *ipset.Set, where diag.Range) error {
	return &Untranslatable{
		Code:    "wrong-set-family",
		Summary: fmt.Sprintf("set %q is of the other family", set.Name),
		Detail:  fmt.Sprintf("%s refuses it. Make a set of its family, or move the rule to the other ruleset.", r.Context.Family),
		Range:   where,
	}
}

// ipVersion is the IP version of the rule's packets.
func (r *Rule) ipVersion() uint8 {
	if r.Context.Family == iptables.IPv6 {
		return 6
	}
	return 4
}

// always reports whether all packets of the rule's family have what a lookup
// reads, so that its negation is that of the test.
func always(in nftgen.InSet) bool {
	for _, f := range in.Fields {
		switch f.Text {
		case nftgen.IPSaddr.Text, nftgen.IPDaddr.Text, nftgen.IP6Saddr.Text, nftgen.IP6Daddr.Text,
			nftgen.MetaMark.Text, nftgen.MetaIifname.Text, nftgen.MetaOifname.Text:
		default:
			return false
		}
	}
	return true
}

// unknownSet says that no file gives a set.
func (r *Rule) unknownSet(q SetTest) error {
	u := &Untranslatable{
		Code:    "unknown-set",
		Summary: fmt.Sprintf("there is no ipset %q", q.Name),
		Detail:  "Give the sets, too: run \"ipset save > sets.ipset\" on the host of the rules, and name the file by --ipset.",
		Range:   q.Range,
	}
	if r.Shared.ipsets == nil {
		return u
	}
	var names []string
	for _, s := range r.Shared.ipsets.List {
		names = append(names, s.Name)
	}
	source := "The file"
	if r.Shared.ipsets.Source != nil {
		source = r.Shared.ipsets.Source.Name
	}
	u.Detail = fmt.Sprintf("%s has no set of that name; iptables refuses such a rule.", source)
	if near := diag.Nearest(q.Name, names); near != "" {
		u.Detail += fmt.Sprintf(" Did you mean %q?", near)
	}
	return u
}

// setRows returns the alternatives under which an ipset holds what is taken from
// a packet: in each row all statements hold.
func (r *Rule) setRows(set *ipset.Set, q SetTest) ([][]nftgen.Stmt, error) {
	if set.Type.IsList() {
		return r.listRows(set, q)
	}
	o, own := &set.Options, r.ipVersion()
	if len(q.Source) < len(set.Type.Parts) || o.Family != 0 && o.Family != own ||
		set.Type.Bitmap && set.Type.Parts[0] == ipset.IP && own != 4 {
		return nil, nil
	}
	parts, err := r.Shared.setParts(set, q.Range)
	if err != nil {
		return nil, err
	}
	exceptions := q.ReturnNomatch && set.Type.Nomatch()
	var rows [][]nftgen.Stmt
	for _, p := range parts.list {
		if p.exceptions != exceptions || !r.meets(p.proto) {
			continue
		}
		in := nftgen.InSet{Set: p.named(r.Shared, q.Uncounted)}
		in.Fields, in.Masks = r.setKey(set, p, q.Source)
		rows = append(rows, r.guarded(p, q.Source, set, in)...)
	}
	return rows, nil
}

// listRows are the alternatives of a list: those of each of its sets.
//
// Kernel: net/netfilter/ipset/ip_set_list_set.c, list_set_ktest.
func (r *Rule) listRows(list *ipset.Set, q SetTest) (rows [][]nftgen.Stmt, err error) {
	list.Elements(func(_ int, e *ipset.Element) bool {
		if e.Extra != nil && list.Options.HasTimeout && e.Extra.Timeout != 0 {
			err = setLeaves(list, e, q.Range)
			return false
		}
		var more [][]nftgen.Stmt
		more, err = r.setRows(e.Member, q)
		rows = append(rows, more...)
		return err == nil
	})
	return rows, err
}

// setLeaves says that an element of a list expires.
func setLeaves(list *ipset.Set, e *ipset.Element, where diag.Range) error {
	return &Untranslatable{
		Summary: fmt.Sprintf("set %q leaves the list %q after some time", e.Member.Name, list.Name),
		Detail:  "An element of a set of nftables can expire, a rule that looks into a set cannot. Take the set out of the list, or make it a lasting element.",
		Range:   where,
	}
}

// meets reports whether packets of the rule can have a protocol that a part of a
// set is about.
func (r *Rule) meets(proto int) bool {
	own, told := r.ProtocolNumber()
	switch {
	case !told || proto == noPorts:
		return true
	case proto == otherProtocols:
		return !portProtocols[own]
	}
	return int(own) == proto
}

// setKey returns what is looked up in a part of a set.
func (r *Rule) setKey(set *ipset.Set, p *setPart, source []bool) (fields []nftgen.Field, masks []nftgen.Value) {
	masked := false
	for i, part := range set.Type.Parts {
		var mask nftgen.Value
		switch part {
		case ipset.IP, ipset.Net:
			field := addressField(r.NFProto(), source[i])
			if part == ipset.IP {
				mask = addressMask(set)
			}
			fields = append(fields, field)
		case ipset.Port:
			fields = append(fields, portFields(p.proto, source[i])...)
		case ipset.MAC:
			fields = append(fields, pick(source[i], nftgen.EtherSaddr, nftgen.EtherDaddr))
		case ipset.Mark:
			fields = append(fields, nftgen.MetaMark)
			if m := set.Options.MarkMask; m != nil && *m != 0xffffffff {
				mask = nftgen.Value{byte(*m >> 24), byte(*m >> 16), byte(*m >> 8), byte(*m)}
			}
		case ipset.Iface:
			if p.prefix == "" {
				fields = append(fields, pick(source[i], nftgen.MetaIifname, nftgen.MetaOifname))
			}
		}
		for len(masks) < len(fields) {
			masks = append(masks, nil)
		}
		if mask != nil {
			masks[len(masks)-1], masked = mask, true
		}
	}
	if !masked {
		return fields, nil
	}
	return fields, masks
}

func pick(source bool, src, dst nftgen.Field) nftgen.Field {
	if source {
		return src
	}
	return dst
}

func addressField(family nftgen.Family, source bool) nftgen.Field {
	if family == nftgen.IP6 {
		return pick(source, nftgen.IP6Saddr, nftgen.IP6Daddr)
	}
	return pick(source, nftgen.IPSaddr, nftgen.IPDaddr)
}

// addressMask is what netmask or bitmask leaves of an address, nil for all.
func addressMask(set *ipset.Set) nftgen.Value {
	o := &set.Options
	size := 4
	if o.Family == 6 {
		size = 16
	}
	switch {
	case o.Bitmask.IsValid():
		return o.Bitmask.AsSlice()
	case o.Netmask == 0 || int(o.Netmask) == 8*size:
		return nil
	}
	mask := make(nftgen.Value, size)
	for i := range int(o.Netmask) {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return mask
}

// portFields are the fields of a protocol that make a port: of ICMP the type and
// the code, of protocols without ports the protocol itself.
func portFields(proto int, source bool) []nftgen.Field {
	switch proto {
	case otherProtocols:
		return []nftgen.Field{nftgen.MetaL4Proto}
	case icmpProtocol:
		return []nftgen.Field{nftgen.ICMPType, nftgen.ICMPCode}
	case icmpv6Protocol:
		return []nftgen.Field{nftgen.ICMPv6Type, nftgen.ICMPv6Code}
	}
	return []nftgen.Field{pick(source, nftgen.Sport(uint8(proto)), nftgen.Dport(uint8(proto)))}
}

// guarded returns the rows of a lookup. ipset reads ports only of packets that
// are no later fragments, and whose transport header is whole; so behind the
// lookup stands a load of its last byte, which is any number.
//
// Kernel: net/netfilter/ipset/ip_set_getport.c.
func (r *Rule) guarded(p *setPart, source []bool, set *ipset.Set, in nftgen.InSet) [][]nftgen.Stmt {
	row := []nftgen.Stmt{in}
	if p.prefix != "" {
		field := pick(source[len(set.Type.Parts)-1], nftgen.MetaIifname, nftgen.MetaOifname)
		row = []nftgen.Stmt{nftgen.IfName{Field: field, Name: p.prefix, Wildcard: true}, in}
	}
	if p.proto == noPorts {
		return [][]nftgen.Stmt{row}
	}
	if p.proto != otherProtocols {
		last := nftgen.TransportByte7
		switch p.proto {
		case tcpProtocol:
			last = nftgen.TCPUrgent
		case sctpProtocol:
			last = nftgen.TransportByte11
		}
		row = append(row, nftgen.Compare{Field: last, Op: nftgen.Ge, Value: make(nftgen.Value, last.Type.Bytes)})
	} else if r.Context.Family == iptables.IPv4 {
		return [][]nftgen.Stmt{row}
	}
	var rows [][]nftgen.Stmt
	for _, tests := range r.firstFragmentRows() {
		rows = append(rows, append(row[:len(row):len(row)], tests...))
	}
	return rows
}
