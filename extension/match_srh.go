package extension

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v6, "srh", func() iptables.Match { return new(srhMatch) }) }

var (
	_ iptsim.Meaning       = (*srhMatch)(nil)
	_ translate.Translator = (*srhMatch)(nil)
	_ iptables.Printer     = (*srhMatch)(nil)
)

// srhMatch is "-m srh": fields of the segment routing header of IPv6, which is the
// routing header of type 4, and the segments that are the previous one, the next
// one and the last one. The three comparisons of a field share one number, the one
// that was given last. The tag is compared in the byte order of the machine.
//
// Kernel: net/ipv6/netfilter/ip6t_srh.c.
type srhMatch struct {
	Next                   iptables.Opt[iptables.U8]
	Length, Segments, Last [3]iptables.Opt[iptables.U8] // equal, greater, less
	Tag                    iptables.Opt[iptables.U16]
	Previous, Coming, End  iptables.Opt[srhAddress]
}

// A srhAddress is an address and a number of bits that are compared.
type srhAddress struct{ iptables.HostAddress }

// String writes the address with the number of bits, whatever it is.
func (a *srhAddress) String() string {
	n := 0
	for _, b := range a.Mask.AsSlice() {
		n += bits.OnesCount8(b)
	}
	return fmt.Sprintf("%s/%d", a.Addr, n)
}

// Set reads an address of IPv6.
func (a *srhAddress) Set(arg string) error {
	if err := a.HostAddress.Set(arg); err != nil {
		return err
	}
	if !a.Addr.Is6() {
		return fmt.Errorf("%q is not an address of IPv6", arg)
	}
	return nil
}

func (*srhMatch) Name() string { return "srh" }

func (m *srhMatch) Options() iptables.Options {
	list := iptables.Options{iptables.Bind("srh-next-hdr", &m.Next, iptables.Invertible)}
	for _, f := range []struct {
		name string
		opts *[3]iptables.Opt[iptables.U8]
	}{{"srh-hdr-len", &m.Length}, {"srh-segs-left", &m.Segments}, {"srh-last-entry", &m.Last}} {
		for i, how := range []string{"eq", "gt", "lt"} {
			list = append(list, iptables.Bind(f.name+"-"+how, &f.opts[i], iptables.Invertible))
		}
	}
	return append(list,
		iptables.Bind("srh-tag", &m.Tag, iptables.Invertible), iptables.Bind("srh-psid", &m.Previous, iptables.Invertible),
		iptables.Bind("srh-nsid", &m.Coming, iptables.Invertible), iptables.Bind("srh-lsid", &m.End, iptables.Invertible))
}

// PrintOptions prints the number that the comparisons of a field share.
func (m *srhMatch) PrintOptions() []iptables.Printed {
	shared := *m
	for _, opts := range []*[3]iptables.Opt[iptables.U8]{&shared.Length, &shared.Segments, &shared.Last} {
		var value iptables.U8
		var at int32 = -1
		for _, o := range opts {
			if o.Present && o.Range.Start > at {
				value, at = o.Value, o.Range.Start
			}
		}
		for i := range opts {
			opts[i].Value = value
		}
	}
	return shared.Options().Print()
}

func (m *srhMatch) Meaning(iptables.Context) predicate.Meaning {
	field := func(at int) predicate.Field { return headerByte(headerRouting, at) }
	const nextAt, lengthAt, typeAt, leftAt, lastAt, tagAt, segmentRouting = 0, 1, 2, 3, 4, 6, 4
	whole := predicate.Present{Field: predicate.Field{ID: predicate.HeaderWhole, Arg: predicate.Header(headerRouting, 0)}}
	tests := predicate.All{whole, predicate.Equal(field(typeAt), predicate.Number(segmentRouting))}
	const most = 255
	tests = append(tests, predicate.Stateful{Instance: predicate.SegmentsLeft{}})
	if m.Next.Present {
		tests = append(tests, negatedIf(m.Next.Negated, predicate.Equal(field(nextAt), predicate.Number(uint64(m.Next.Value)))))
	}
	for _, f := range []struct {
		at   int
		opts [3]iptables.Opt[iptables.U8]
	}{{lengthAt, m.Length}, {leftAt, m.Segments}, {lastAt, m.Last}} {
		var n uint64
		at := int32(-1)
		for _, o := range f.opts {
			if o.Present && o.Range.Start > at {
				n, at = uint64(o.Value), o.Range.Start
			}
		}
		for i, span := range [][2]uint64{{n, n}, {n + 1, most}, {0, n - 1}} {
			if !f.opts[i].Present {
				continue
			}
			var is predicate.Predicate = predicate.Const(false)
			if span[0] <= span[1] && span[1] <= most {
				is = predicate.Between{Field: field(f.at), Low: predicate.Number(span[0]), High: predicate.Number(span[1])}
			}
			tests = append(tests, negatedIf(f.opts[i].Negated, is))
		}
	}
	if m.Tag.Present {
		var b [2]byte
		binary.NativeEndian.PutUint16(b[:], uint16(m.Tag.Value))
		tests = append(tests, negatedIf(m.Tag.Negated, predicate.All{
			predicate.Equal(field(tagAt), predicate.Number(uint64(b[0]))), predicate.Equal(field(tagAt+1), predicate.Number(uint64(b[1]))),
		}))
	}
	for _, o := range []struct {
		opt  iptables.Opt[srhAddress]
		step int // from the number of segments left to the place; 0 is the first place
	}{{m.Previous, 1}, {m.Coming, -1}, {m.End, 0}} {
		if o.opt.Present {
			tests = append(tests, predicate.Stateful{Instance: predicate.Segment{
				Step: o.step, Addr: o.opt.Value.Addr, Mask: o.opt.Value.Mask, Negate: o.opt.Negated,
			}})
		}
	}
	meaning := predicate.Meaning{Match: tests, Unproven: nothingBehind()}
	if m.Previous.Present || m.Coming.Present {
		return wholeMeaning(m.words(), meaning)
	}
	return meaning
}

// last is the number that the comparisons of a field share.
func (*srhMatch) last(opts [3]iptables.Opt[iptables.U8]) byte {
	var given iptables.Opt[iptables.U8]
	for _, o := range opts {
		if o.Present && (!given.Present || o.Range.Start > given.Range.Start) {
			given = o
		}
	}
	return byte(given.Value)
}

// srhHolds reports whether a number passes the comparisons of a field with another.
func srhHolds(opts [3]iptables.Opt[iptables.U8], number, with byte) bool {
	for i, holds := range []bool{number == with, number > with, number < with} {
		if opts[i].Present && holds == opts[i].Negated {
			return false
		}
	}
	return true
}

// places are the numbers of segments left for which a segment is looked at, with
// the place of it, from 1.
func (m *srhMatch) places(step int) map[byte]int {
	list := map[byte]int{}
	for left := range 256 {
		place := left + step + 1
		room := 256 // entries, by what the rule says of the last one
		for room > 0 && !srhHolds(m.Last, byte(room-1), m.last(m.Last)) {
			room--
		}
		if place >= 1 && place <= room && srhHolds(m.Segments, byte(left), m.last(m.Segments)) {
			list[byte(left)] = place
		}
	}
	return list
}

func (m *srhMatch) Translate(r *translate.Rule) error {
	r.Declare(translate.Deviation{
		Code:   "ipv6-header-end",
		Detail: "A segment routing header that claims more bytes than the packet has is none to iptables; nftables reads what there is of it.",
	})
	r.Declare(translate.Deviation{
		Code: "srh-segments-left",
		Detail: "A segment routing header with more segments left than it has, which routers drop (RFC 8754, section 4.3.1.1), is none to iptables. " +
			"nftables cannot compare two fields, and reads it.",
	})
	const segmentRouting = 4
	r.Add(nftgen.Compare{Field: nftgen.IP6RoutingType, Op: nftgen.Eq, Value: nftgen.Value{segmentRouting}})
	if m.Next.Present {
		r.Add(nftgen.Compare{Field: nftgen.IP6RoutingNext, Op: comparison(m.Next.Negated), Value: nftgen.Value{byte(m.Next.Value)}})
	}
	for _, f := range []struct {
		field nftgen.Field
		opts  [3]iptables.Opt[iptables.U8]
	}{{nftgen.IP6RoutingLength, m.Length}, {nftgen.IP6SegmentsLeft, m.Segments}, {nftgen.IP6SegmentLastEntry, m.Last}} {
		n := int(m.last(f.opts))
		for i, span := range [][2]int{{n, n}, {n + 1, 255}, {0, n - 1}} {
			if o := f.opts[i]; o.Present {
				srhSpan(r, f.field, span, o.Negated)
			}
		}
	}
	if m.Tag.Present {
		r.Add(nftgen.Compare{Field: nftgen.IP6SegmentTag, Op: comparison(m.Tag.Negated), Value: binary.NativeEndian.AppendUint16(nil, uint16(m.Tag.Value))})
	}
	for _, o := range []struct {
		name string
		opt  iptables.Opt[srhAddress]
		step int
	}{{"--srh-psid", m.Previous, 1}, {"--srh-nsid", m.Coming, -1}} {
		if !o.opt.Present {
			continue
		}
		branch := translate.Branch{Otherwise: translate.Fail}
		places := m.places(o.step)
		for left := range 256 {
			place, ok := places[byte(left)]
			if !ok {
				continue
			}
			if place > nftgen.MostSegments {
				return &translate.Untranslatable{
					Summary: o.name + " can be any of many segments",
					Detail: fmt.Sprintf("Which segment it is follows from the number of segments left, and nft has names for the first %d. Give --srh-segs-left or "+
						"--srh-last-entry that leave no others.", nftgen.MostSegments),
					Range: o.opt.Range,
				}
			}
			row := []nftgen.Stmt{nftgen.Compare{Field: nftgen.IP6SegmentsLeft, Op: nftgen.Eq, Value: nftgen.Value{byte(left)}}}
			if o.step > 0 {
				row = append(row, nftgen.Compare{Field: nftgen.IP6SegmentLastEntry, Op: nftgen.Gt, Value: nftgen.Value{byte(left)}})
			}
			branch.Rows = append(branch.Rows, translate.Row{Stmts: append(row, srhSegment(place, o.opt)), Then: translate.Match})
		}
		r.Branch(branch)
	}
	if m.End.Present {
		r.Add(srhSegment(1, m.End))
	}
	return nil
}

// srhSpan adds the test that a byte lies in a span, which can be empty. nft 1.0.6
// lists two bounds of different fields as one span, so that there are only whole
// ones.
func srhSpan(r *translate.Rule, f nftgen.Field, span [2]int, negated bool) {
	const most = 255
	switch none, all := span[0] > span[1], span[0] == 0 && span[1] == most; {
	case none && !negated, all && negated:
		r.Never()
	case none, all:
	default:
		r.Add(spanTest(f, nftgen.Value{byte(span[0])}, nftgen.Value{byte(span[1])}, negated))
	}
}

// srhSegment is the comparison of a segment.
func srhSegment(place int, o iptables.Opt[srhAddress]) nftgen.Stmt {
	addr, mask := o.Value.Addr.As16(), o.Value.Mask.As16()
	for i := range addr {
		addr[i] &= mask[i]
	}
	c := nftgen.Compare{Field: nftgen.IP6Segment(place), Op: comparison(o.Negated), Value: nftgen.Value(addr[:])}
	if o.Value.Mask != netip.AddrFrom16([16]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}) {
		c.Mask = nftgen.Value(mask[:])
	}
	return c
}
