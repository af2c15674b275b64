package nftsim

import (
	"fmt"
	"slices"
	"strings"
)

func init() {
	for name, header := range map[string]uint8{"hbh": 0, "dst": 60} {
		registerXtMatch(name, 0, func(info []byte) (xtMatch, error) { return decodeXtOptions(header, info) })
	}
}

// xtOptions asks with which options an IPv6 header begins, and how long it is. A
// packet that ends before it can be said whether there is such a header is dropped.
//
// Kernel: net/ipv6/netfilter/ip6t_hbh.c; include/uapi/linux/netfilter_ipv6/ip6t_opts.h,
// struct ip6t_opts.
type xtOptions struct {
	header         uint8
	length         uint32
	sized, unequal bool
	list           []uint16 // type above length
}

func decodeXtOptions(header uint8, info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	m := &xtOptions{header: header, length: r.u32()}
	flags, invert := r.u8(), r.u8()
	var all [16]uint16
	for i := range all {
		all[i] = r.u16()
	}
	n := r.u8()
	r.align(4)
	if err := r.end(); err != nil {
		return nil, err
	}
	const lengthFlag, optionsFlag = 1, 2
	if flags&^(lengthFlag|optionsFlag) != 0 || invert&^lengthFlag != 0 || int(n) > len(all) || flags&optionsFlag == 0 && n != 0 ||
		flags&lengthFlag == 0 && (invert != 0 || m.length != 0) || slices.Max(append(all[n:], 0)) != 0 {
		return nil, notModelled{fmt.Sprintf("options of header %d by the flags %#x and %#x", header, flags, invert)}
	}
	m.sized, m.unequal, m.list = flags&lengthFlag != 0, invert != 0, all[:n]
	return m, nil
}

func (m *xtOptions) String() string {
	words := []string{fmt.Sprintf("header %d", m.header)}
	switch {
	case m.unequal:
		words = append(words, fmt.Sprintf("not %d bytes long", m.length))
	case m.sized:
		words = append(words, fmt.Sprintf("%d bytes long", m.length))
	}
	for _, o := range m.list {
		words = append(words, fmt.Sprintf("option %d:%d", o>>8, o&0xff))
	}
	return strings.Join(words, ", ")
}

func (*xtOptions) negated() bool { return false }

// holds knows the answer for packets that have no extension headers.
func (*xtOptions) holds(x *execution) (match, known bool) {
	data := x.flight.Data
	if len(data) < 40 || data[0]>>4 != 6 {
		return false, false
	}
	return false, !slices.Contains([]uint8{0, 43, 44, 51, 60}, data[6])
}
