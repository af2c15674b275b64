package extension

import (
	"encoding/binary"
	"fmt"
	"strings"

	"nftmigrate/iptables"
	"nftmigrate/translate"
)

var _ translate.Keeper = (*srhMatch)(nil)

// words are what the match asks.
func (m *srhMatch) words() string {
	words := []string{"segment routing header"}
	say := func(negated bool, format string, values ...any) {
		text := fmt.Sprintf(format, values...)
		if negated {
			text = "not " + text
		}
		words = append(words, text)
	}
	if m.Next.Present {
		say(m.Next.Negated, "next header = %d", m.Next.Value)
	}
	for _, f := range []struct {
		name string
		opts [3]iptables.Opt[iptables.U8]
	}{{"length", m.Length}, {"segments left", m.Segments}, {"last entry", m.Last}} {
		var number iptables.U8
		at := int32(-1)
		for _, o := range f.opts {
			if o.Present && o.Range.Start > at {
				number, at = o.Value, o.Range.Start
			}
		}
		for i, sign := range []string{"=", ">", "<"} {
			if f.opts[i].Present {
				say(f.opts[i].Negated, "%s %s %d", f.name, sign, number)
			}
		}
	}
	if m.Tag.Present {
		say(m.Tag.Negated, "tag = %x", binary.NativeEndian.AppendUint16(nil, uint16(m.Tag.Value)))
	}
	for _, s := range []struct {
		name string
		opt  iptables.Opt[srhAddress]
	}{{"previous", m.Previous}, {"next", m.Coming}, {"last", m.End}} {
		if s.opt.Present {
			say(s.opt.Negated, "%s segment = %v under %v", s.name, s.opt.Value.Addr, s.opt.Value.Mask)
		}
	}
	return strings.Join(words, ", ")
}

// Keep writes the structure of revision 1.
//
// Kernel: include/uapi/linux/netfilter_ipv6/ip6t_srh.h, struct ip6t_srh1.
func (m *srhMatch) Keep(*translate.Rule) (translate.Kept, error) {
	var flags, invert uint16
	bit := 0
	flag := func(given, negated bool) {
		if given {
			flags |= 1 << bit
		}
		if negated {
			invert |= 1 << bit
		}
		bit++
	}
	flag(m.Next.Present, m.Next.Negated)
	var info xtLayout
	info.u8(uint8(m.Next.Value))
	for _, opts := range [][3]iptables.Opt[iptables.U8]{m.Length, m.Segments, m.Last} {
		info.u8(m.last(opts))
		for _, o := range opts {
			flag(o.Present, o.Negated)
		}
	}
	info.u16(uint16(m.Tag.Value))
	info.align(4)
	flag(m.Tag.Present, m.Tag.Negated)
	segments := []iptables.Opt[srhAddress]{m.Previous, m.Coming, m.End}
	var masks []byte
	for _, s := range segments {
		var address, mask [16]byte
		if s.Present {
			address, mask = s.Value.Addr.As16(), s.Value.Mask.As16()
		}
		info.data, masks = append(info.data, address[:]...), append(masks, mask[:]...)
		flag(s.Present, s.Negated)
	}
	info.data = append(info.data, masks...)
	info.u16(flags)
	info.u16(invert)
	return translate.Kept{Name: "srh", Revision: 1, Info: info.data}, nil
}
