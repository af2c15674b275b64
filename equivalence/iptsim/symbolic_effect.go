package iptsim

import (
	"fmt"
	"net/netip"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// effect is the function of one effect of a target: it continues, or decides by
// itself.
func (c *compiler) effect(e predicate.Effect) bdd.Ref {
	s := c.space
	switch e := e.(type) {
	case predicate.Assign:
		return c.assign(e)
	case predicate.Label:
		set := s.Write(s.Levels(symbolic.Secmark), numberCells(uint64(packet.SecurityID(e.Context)), 32))
		told := s.Event(symbolic.Token{Kind: "label", Text: e.Context})
		return s.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Effect: s.Then(told, set)})
	case predicate.Log:
		event := packet.LogEvent{Prefix: e.Prefix, Level: e.Level, Flags: e.Flags, Group: -1}
		return c.event(symbolic.Token{Kind: "log", Text: event.String()})
	case predicate.LogGroup:
		return c.event(symbolic.Token{Kind: "log", Text: groupEvent(e).String()})
	case predicate.Reject:
		event, ok := rejections[e.With]
		if !ok {
			return c.unsure("answer " + e.With)
		}
		return c.event(symbolic.Token{Kind: "reject", Text: event.String()})
	case predicate.NAT:
		return c.nat(e)
	case predicate.Notrack:
		return c.tell(symbolic.Notrack, symbolic.Token{Kind: "notrack"}, 0)
	case predicate.Zone:
		return c.zone(e)
	case predicate.Lookup:
		return c.lookup(e)
	case predicate.Trace:
		return c.event(symbolic.Token{Kind: "trace"})
	case predicate.SynProxy:
		return c.synProxy(e)
	case predicate.Offer:
		return c.offer(e)
	case predicate.Dup:
		return c.event(symbolic.Token{Kind: "dup", Cells: addressCells(e.Gateway)})
	case predicate.Audit:
		return c.event(symbolic.Token{Kind: "audit"})
	case predicate.StripOptions:
		return c.stripOptions(e.Kinds)
	case predicate.SetTCPFlags:
		return c.setTCPFlags(e)
	case predicate.Queue:
		return c.event(symbolic.Token{Kind: "queue", Text: packet.QueueEvent(e).String()})
	case predicate.External:
		return c.event(symbolic.Token{Kind: "external", Text: e.What})
	case predicate.SetMSS:
		return c.setMSS(e)
	case predicate.SetMap:
		return c.setMap(e)
	case predicate.TranslatePrefix:
		return c.unsure("translation of prefixes without state")
	case predicate.UnmodelledEffect:
		return c.unsure(e.What)
	}
	return c.unsure("effect")
}

// tell is what tells connection tracking of a packet that nothing was told of.
// given is the number of what it says of a new connection.
func (c *compiler) tell(what symbolic.Group, t symbolic.Token, given uint64) bdd.Ref {
	s := c.space
	untracked := s.Number(s.Bits(symbolic.Tracking), uint64(packet.Untracked))
	said := s.Or(s.Or(s.Bit(symbolic.Notrack), s.HasEntry()), s.Or(s.Templated(), untracked))
	does := s.Then(s.Event(t), s.Write(s.Levels(what), []symbolic.Cell{symbolic.One}))
	if given != 0 {
		does = s.Then(does, s.Write(s.Levels(symbolic.Given), numberCells(given, symbolic.Given.Width())))
	}
	return s.ITE(said, s.Next(), s.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Effect: does}))
}

// zone tells of a zone, and what a new connection gets.
func (c *compiler) zone(e predicate.Zone) bdd.Ref {
	if e.Mark {
		return c.unsure("a zone by the mark")
	}
	n, ok := c.space.GivenNumber(given(e.Connection))
	if !ok {
		return c.unsure("so many templates")
	}
	t := symbolic.Token{Kind: "zone", Text: zoneDirections[e.Of].String(), Cells: numberCells(uint64(e.Number), 16)}
	return c.tell(symbolic.Template, t, n)
}

func (c *compiler) event(t symbolic.Token) bdd.Ref {
	return c.space.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Effect: c.space.Event(t)})
}

// assigned are the groups of the fields that a target can set.
var assigned = map[predicate.FieldID]symbolic.Group{
	predicate.Mark: symbolic.Mark, predicate.Priority: symbolic.Priority,
	predicate.Secmark: symbolic.Secmark, predicate.CTSecmark: symbolic.CTSecmark,
	predicate.CTMark: symbolic.CTMark, predicate.TTL: symbolic.TTL, predicate.TOS: symbolic.TOS,
}

// assign computes and sets a field, where the packet has it and the field that
// it is taken from.
func (c *compiler) assign(e predicate.Assign) bdd.Ref {
	s := c.space
	group, ok := assigned[e.Field.ID]
	if !ok {
		return c.unsure("setting " + e.Field.String())
	}
	to := c.field(e.Field)
	where := to.present
	if e.Unset {
		where = s.And(where, s.Number(to.word, 0))
	}
	from := symbolicField{word: symbolic.Constant(0, len(to.word))}
	if e.From.ID != 0 {
		from = c.field(e.From)
		if !from.known || from.scale != 0 {
			return c.unsure("reading " + e.From.String())
		}
		where = s.And(where, from.present)
	}
	value := make(symbolic.Word, len(to.word))
	for i := range value {
		place := len(value) - 1 - i
		value[i] = bdd.False
		if bitOf(e.Keep, place) {
			value[i] = to.word[i]
		}
		// The bit of From that lands here.
		if source := place - e.Shift; source >= 0 && source < len(from.word) && bitOf(e.Take, source) {
			value[i] = s.Xor(value[i], from.word[len(from.word)-1-source])
		}
		if bitOf(e.Xor, place) {
			value[i] = s.Not(value[i])
		}
	}
	levels := s.Levels(group)
	set := s.Cells(value, func(cells []symbolic.Cell) bdd.Ref {
		return s.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Effect: s.Write(levels, cells)})
	})
	return s.ITE(where, set, s.Next())
}

// lookup sets a field to what a table has for it.
func (c *compiler) lookup(e predicate.Lookup) bdd.Ref {
	s := c.space
	group, ok := assigned[e.Field.ID]
	if !ok || group.Width() != 8 {
		return c.unsure("setting " + e.Field.String())
	}
	to := c.field(e.Field)
	f := s.Next()
	for old, fresh := range e.Values {
		if int(fresh) != old {
			set := s.Write(s.Levels(group), numberCells(uint64(fresh), 8))
			f = s.ITE(s.Number(to.word, uint64(old)), s.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Effect: set}), f)
		}
	}
	return s.ITE(to.present, f, s.Next())
}

// nat is the event of a translation; what follows is the target's outcome.
func (c *compiler) nat(e predicate.NAT) bdd.Ref {
	ports := e.FromZero || e.MaxPort != 0
	kind := "snat"
	if e.Destination {
		kind = "dnat"
	}
	var cells []symbolic.Cell
	address := e.Min.IsValid()
	text := fmt.Sprintf("ports %t flags %#x", ports, e.Flags)
	switch e.Dynamic {
	case "masquerade", "redirect":
		kind = e.Dynamic
	case "netmap":
		mapped, ok := c.netmap(e)
		if !ok {
			return c.unsure("translation of an address of the other family")
		}
		cells = append(append(cells, mapped...), mapped...)
		text = fmt.Sprintf("address true ports %t flags %#x", ports, e.Flags)
	case "":
		if address {
			cells = append(append(cells, addressCells(e.Min)...), addressCells(e.Max)...)
		}
		text = fmt.Sprintf("address %t ports %t flags %#x", address, ports, e.Flags)
	default:
		return c.unsure("translation by " + e.Dynamic)
	}
	mapping := func(low, high uint16) bdd.Ref {
		all := append(append(slices.Clip(cells), numberCells(uint64(low), 16)...), numberCells(uint64(high), 16)...)
		return c.event(symbolic.Token{Kind: kind, Text: text, Cells: all})
	}
	switch {
	case e.Shifted:
		return c.shifted(e, mapping)
	case ports:
		return mapping(e.MinPort, e.MaxPort)
	}
	return c.event(symbolic.Token{Kind: kind, Text: text, Cells: cells})
}

// shifted is the mapping to the port of the span that the packet's own says.
func (c *compiler) shifted(e predicate.NAT, mapping func(low, high uint16) bdd.Ref) bdd.Ref {
	port := c.field(predicate.Field{ID: predicate.DstPort})
	if !port.known || len(port.word) != 16 {
		return c.unsure("shifting ports")
	}
	to := map[uint16]bdd.Ref{}
	var build func(bit int, value uint16) bdd.Ref
	build = func(bit int, value uint16) bdd.Ref {
		if bit == len(port.word) {
			fresh := shifted(e, value)
			f, ok := to[fresh]
			if !ok {
				f = mapping(fresh, fresh)
				to[fresh] = f
			}
			return f
		}
		one := build(bit+1, value|1<<(len(port.word)-1-bit))
		return c.space.ITE(port.word[bit], one, build(bit+1, value))
	}
	return build(0, 0)
}

// netmap is the network of Min before the host part of the packet's address.
func (c *compiler) netmap(e predicate.NAT) ([]symbolic.Cell, bool) {
	p, err := e.Min.Prefix(e.Bits)
	group := symbolic.Source
	if e.Destination {
		group = symbolic.Destination
	}
	levels := c.space.Levels(group)
	if err != nil || p.Addr().BitLen() != len(levels) {
		return nil, false
	}
	cells := addressCells(p.Addr())
	for i := e.Bits; i < len(cells); i++ {
		cells[i] = symbolic.Old(levels[i], false)
	}
	return cells, true
}

func addressCells(a netip.Addr) []symbolic.Cell {
	var cells []symbolic.Cell
	for _, b := range a.AsSlice() {
		cells = append(cells, numberCells(uint64(b), 8)...)
	}
	return cells
}

func numberCells(n uint64, width int) []symbolic.Cell {
	cells := make([]symbolic.Cell, width)
	for i := range cells {
		cells[i] = symbolic.Cell(n >> (width - 1 - i) & 1)
	}
	return cells
}

// setMSS lowers the MSS option of a whole TCP header, or adds one to a segment
// without data, which nf_tables cannot. The MTU is taken to be large enough.
//
// Kernel: net/netfilter/xt_TCPMSS.c.
func (c *compiler) setMSS(e predicate.SetMSS) bdd.Ref {
	s := c.space
	to, most := "path", s.Bits(symbolic.PathMSS)
	if e.MSS != 0 || e.Zero {
		to, most = fmt.Sprint(e.MSS), symbolic.Constant(uint64(e.MSS), 16)
	}
	has := s.Var(symbolic.TCPOption.Level(optionMSS))
	// Neither data behind the header nor a header that is full.
	offset := c.field(predicate.Field{ID: predicate.TCPDataOffset})
	bytes, room := s.Bits(symbolic.TransportBytes), bdd.False
	for words := uint64(5); words < 15; words++ {
		room = s.Or(room, s.And(s.Number(offset.word, words), s.Number(bytes, 4*words)))
	}
	lower := s.ITE(greater(s, s.Bits(symbolic.MSS), most), c.segment(symbolic.NoEffect, most), s.Next())
	least := symbolic.Constant(uint64(defaultMSS(s.Version)), 16)
	added := s.Event(symbolic.Token{Kind: "mss", Text: "add, " + to, Deviation: "tcpmss-adds-option"})
	added = s.Then(added, s.Write([]bdd.Level{symbolic.TCPOption.Level(optionMSS)}, []symbolic.Cell{symbolic.One}))
	add := s.ITE(greater(s, most, least), c.segment(added, least), c.segment(added, most))
	whole := s.ITE(has, lower, s.ITE(room, add, s.Next()))
	cut := s.Leaf(symbolic.Leaf{Verdict: symbolic.Drop, Why: hotdropCode})
	first := s.Number(s.Bits(symbolic.Fragment), 0)
	return s.ITE(first, s.ITE(c.tcpHeader(), whole, cut), s.Next())
}

// segment continues behind an effect and the setting of the maximum segment size.
func (c *compiler) segment(e symbolic.Effect, size symbolic.Word) bdd.Ref {
	s := c.space
	return s.Cells(size, func(cells []symbolic.Cell) bdd.Ref {
		set := s.Write(s.Levels(symbolic.MSS), cells)
		return s.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Effect: s.Then(e, set)})
	})
}

// greater holds where a number is greater than another of the same width.
func greater(s *symbolic.Space, a, b symbolic.Word) bdd.Ref {
	f := bdd.False
	for i := len(a) - 1; i >= 0; i-- {
		f = s.ITE(s.Xor(a[i], b[i]), a[i], f)
	}
	return f
}
