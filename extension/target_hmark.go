package extension

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() {
	registerTargetFor(v4, "HMARK", func() iptables.Target { return newHMark(32) })
	registerTargetFor(v6, "HMARK", func() iptables.Target { return newHMark(128) })
}

func newHMark(width int) *hmarkTarget {
	prefix := func() iptables.Opt[hmarkPrefix] {
		return iptables.Opt[hmarkPrefix]{Value: hmarkPrefix{bits: width, width: width}}
	}
	return &hmarkTarget{Src: prefix(), Dst: prefix()}
}

var (
	_ iptsim.Doing         = (*hmarkTarget)(nil)
	_ translate.Translator = (*hmarkTarget)(nil)
	_ translate.Keeper     = (*hmarkTarget)(nil)
	_ iptables.Validator   = (*hmarkTarget)(nil)
	_ iptables.Printer     = (*hmarkTarget)(nil)
)

// hmarkTarget is "-j HMARK": the mark becomes a hash of addresses, ports and
// protocol of a flow, the same for both directions.
//
// Kernel: net/netfilter/xt_HMARK.c.
type hmarkTarget struct {
	Src, Dst         iptables.Opt[hmarkPrefix]
	SrcMask, DstMask iptables.Opt[hex16]
	SPIMask          iptables.Opt[hex32]
	SrcSet, DstSet   iptables.Opt[hex16]
	SPISet           iptables.Opt[hex32]
	Proto            iptables.Opt[hmarkProtocol]
	Seed             iptables.Opt[hex32]
	Modulus          iptables.Opt[iptables.U32]
	Offset           iptables.Opt[iptables.U32]
	Tuple            iptables.Opt[hmarkTuple]
}

func (*hmarkTarget) Name() string { return "HMARK" }

func (t *hmarkTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("hmark-src-prefix", &t.Src, 0),
		iptables.Bind("hmark-dst-prefix", &t.Dst, 0),
		iptables.Bind("hmark-sport-mask", &t.SrcMask, 0),
		iptables.Bind("hmark-dport-mask", &t.DstMask, 0),
		iptables.Bind("hmark-spi-mask", &t.SPIMask, 0),
		iptables.Bind("hmark-sport", &t.SrcSet, 0),
		iptables.Bind("hmark-dport", &t.DstSet, 0),
		iptables.Bind("hmark-spi", &t.SPISet, 0),
		iptables.Bind("hmark-proto-mask", &t.Proto, 0),
		iptables.Bind("hmark-rnd", &t.Seed, iptables.Required),
		iptables.Bind("hmark-mod", &t.Modulus, iptables.Required),
		iptables.Bind("hmark-offset", &t.Offset, 0),
		iptables.Bind("hmark-tuple", &t.Tuple, 0),
	}
}

// tupleFields are the fields that --hmark-tuple takes whole, and the options that do
// the same.
var tupleFields = []struct{ field, option string }{
	{"src", "hmark-src-prefix"}, {"dst", "hmark-dst-prefix"}, {"sport", "hmark-sport-mask"}, {"dport", "hmark-dport-mask"},
	{"spi", "hmark-spi-mask"}, {"proto", "hmark-proto-mask"},
}

// PrintOptions prints each field of --hmark-tuple as an option of its own.
func (t *hmarkTarget) PrintOptions() []iptables.Printed {
	whole := map[string]string{
		"hmark-src-prefix": fmt.Sprint(t.Src.Value.width), "hmark-dst-prefix": fmt.Sprint(t.Dst.Value.width),
		"hmark-sport-mask": "0xffff", "hmark-dport-mask": "0xffff", "hmark-spi-mask": "0xffffffff", "hmark-proto-mask": "0xffff",
	}
	given := map[string][]string{}
	for _, p := range t.Options().Print() {
		given[p.Name] = p.Args
	}
	delete(given, "hmark-tuple")
	for _, f := range tupleFields {
		if t.Tuple.Value[f.field] {
			given[f.option] = []string{whole[f.option]}
		}
	}
	if t.Tuple.Value["ct"] {
		given["hmark-tuple"] = []string{"ct"}
	}
	var list []iptables.Printed
	for _, o := range t.Options() {
		if args, ok := given[o.Name]; ok {
			list = append(list, iptables.Printed{Name: o.Name, Args: args})
		}
	}
	return list
}

func (t *hmarkTarget) Validate(iptables.Context) []iptables.Problem {
	both := func(what string) []iptables.Problem {
		return []iptables.Problem{{
			Summary: "HMARK takes an index or ports, not both",
			Detail:  fmt.Sprintf("The index of IPsec stands where ports do. Give %s.", what),
		}}
	}
	tuple := t.Tuple.Value
	ports := t.SrcMask.Present || t.DstMask.Present || tuple["sport"] || tuple["dport"]
	switch {
	case t.Modulus.Value == 0:
		return []iptables.Problem{{Code: "out-of-range", Summary: "a modulus of 0 has no marks", Detail: "Give one from 1.", Range: t.Modulus.Range}}
	case ports && (t.SPIMask.Present || tuple["spi"]):
		return both("a mask of one of them")
	case t.SPISet.Present && (t.SrcSet.Present || t.DstSet.Present):
		return both("one of --hmark-spi, and --hmark-sport and --hmark-dport")
	case len(tuple) == 0 && !ports && !t.Src.Present && !t.Dst.Present && !t.SPIMask.Present && !t.Proto.Present &&
		!t.SrcSet.Present && !t.DstSet.Present && !t.SPISet.Present:
		return []iptables.Problem{{Code: "missing-option", Summary: "HMARK needs to know what is hashed", Detail: "Give --hmark-tuple."}}
	}
	for _, o := range []struct {
		field string
		given bool
		at    int32
	}{
		{"src", t.Src.Present, t.Src.Range.Start}, {"dst", t.Dst.Present, t.Dst.Range.Start},
		{"sport", t.SrcMask.Present, t.SrcMask.Range.Start}, {"dport", t.DstMask.Present, t.DstMask.Range.Start},
		{"spi", t.SPIMask.Present, t.SPIMask.Range.Start}, {"proto", t.Proto.Present, t.Proto.Range.Start},
	} {
		if o.given && tuple[o.field] && o.at > t.Tuple.Range.Start {
			return []iptables.Problem{{
				Code: "repeated-option", Summary: fmt.Sprintf("HMARK has %s twice", o.field),
				Detail: fmt.Sprintf("--hmark-tuple takes all of it. Take %s out of it, or the other option.", o.field), Range: t.Tuple.Range,
			}}
		}
	}
	return nil
}

func (t *hmarkTarget) Action(c iptables.Context) predicate.Action {
	tuple := t.Tuple.Value
	mask := func(given bool, p hmarkPrefix, whole bool) predicate.Bits {
		switch {
		case whole:
			return predicate.Ones(p.width)
		case given:
			return predicate.Ones(p.width).And(predicate.Ones(p.width - p.bits).Not())
		}
		return predicate.Bits{}
	}
	hash := predicate.HashMark{
		Source:      mask(t.Src.Present, t.Src.Value, tuple["src"]),
		Destination: mask(t.Dst.Present, t.Dst.Value, tuple["dst"]),
		Keep:        uint32(t.SrcMask.Value)<<16 | uint32(t.DstMask.Value) | uint32(t.SPIMask.Value),
		Set:         uint32(t.SrcSet.Value)<<16 | uint32(t.DstSet.Value) | uint32(t.SPISet.Value),
		Protocol:    uint8(t.Proto.Value),
		Seed:        uint32(t.Seed.Value), Modulus: uint32(t.Modulus.Value), Offset: uint32(t.Offset.Value),
		Connection: tuple["ct"], IPv6: c.Family == iptables.IPv6,
	}
	for field, bits := range map[string]uint32{"sport": 0xffff0000, "dport": 0xffff, "spi": 0xffffffff} {
		if tuple[field] {
			hash.Keep |= bits
		}
	}
	if tuple["proto"] {
		hash.Protocol = 0xff
	}
	return predicate.Action{Effects: []predicate.Effect{hash}, Then: predicate.Continue}
}

// Translate has no form: of two addresses the lower comes first, as numbers of the
// host, and in errors of ICMP those of the packet that is quoted.
func (*hmarkTarget) Translate(*translate.Rule) error {
	return &translate.Untranslatable{
		Code:    "untranslatable-target",
		Summary: "target HMARK has no nftables counterpart",
		Detail: "jhash of nftables gives other marks, and those of the two directions of a flow differ. Where any even distribution will do, " +
			"write meta mark set jhash ip saddr . ip daddr mod N seed S offset O by hand.",
	}
}

// Keep writes the structure.
//
// Kernel: include/uapi/linux/netfilter/xt_HMARK.h, struct xt_hmark_info.
func (t *hmarkTarget) Keep(*translate.Rule) (translate.Kept, error) {
	tuple := t.Tuple.Value
	var info xtLayout
	address := func(given, whole bool, p hmarkPrefix) {
		switch {
		case whole:
			info.text(strings.Repeat("\xff", 16), 16)
		case given:
			prefix, _ := allOnes(128).Prefix(p.bits)
			info.text(string(prefix.Addr().AsSlice()), 16)
		default:
			info.text("", 16)
		}
	}
	address(t.Src.Present, tuple["src"], t.Src.Value)
	address(t.Dst.Present, tuple["dst"], t.Dst.Value)
	wire := func(bytes ...uint8) {
		for _, b := range bytes {
			info.u8(b)
		}
	}
	index := func(n hex32) { wire(uint8(n>>24), uint8(n>>16), uint8(n>>8), uint8(n)) }
	whole := func(field string, n hex16) hex16 {
		if tuple[field] {
			return 0xffff
		}
		return n
	}
	switch {
	case tuple["spi"]:
		index(0xffffffff)
	case t.SPIMask.Present:
		index(t.SPIMask.Value)
	default:
		src, dst := whole("sport", t.SrcMask.Value), whole("dport", t.DstMask.Value)
		wire(uint8(src>>8), uint8(src), uint8(dst>>8), uint8(dst))
	}
	if t.SPISet.Present {
		index(t.SPISet.Value)
	} else {
		wire(uint8(t.SrcSet.Value>>8), uint8(t.SrcSet.Value), uint8(t.DstSet.Value>>8), uint8(t.DstSet.Value))
	}
	var flags uint32
	for bit, given := range []bool{
		t.Src.Present || tuple["src"], t.Dst.Present || tuple["dst"], t.SPISet.Present, t.SPIMask.Present || tuple["spi"],
		t.SrcSet.Present, t.DstSet.Present, t.SrcMask.Present || tuple["sport"], t.DstMask.Present || tuple["dport"],
		t.Proto.Present || tuple["proto"], t.Seed.Present, t.Modulus.Present, t.Offset.Present, tuple["ct"],
	} {
		if given {
			flags |= 1 << bit
		}
	}
	info.u32(flags)
	proto := uint16(t.Proto.Value)
	if tuple["proto"] {
		proto = 0xffff
	}
	info.u16(proto)
	info.u32(uint32(t.Seed.Value))
	info.u32(uint32(t.Modulus.Value))
	info.u32(uint32(t.Offset.Value))
	return translate.Kept{Name: "HMARK", Info: info.data}, nil
}

// An hmarkPrefix is how many bits of an address count.
type hmarkPrefix struct{ bits, width int }

// Set reads a number of bits, or a mask of such.
func (p *hmarkPrefix) Set(arg string) error {
	any := netip.IPv4Unspecified()
	if p.width == 128 {
		any = netip.IPv6Unspecified()
	}
	n, err := ctPrefix(arg, any)
	p.bits = n
	return err
}

// String writes the number.
func (p *hmarkPrefix) String() string { return fmt.Sprint(p.bits) }

// An hmarkTuple are the fields that are hashed altogether.
type hmarkTuple map[string]bool

// Set reads names with commas between them. A beginning will do, of the first in
// this order that has it.
func (t *hmarkTuple) Set(arg string) error {
	*t = hmarkTuple{}
	for word := range strings.SplitSeq(arg, ",") {
		if word == "" {
			return errors.New("there is an empty field, expected names as in src,dst,sport,dport,proto")
		}
		found := false
		for _, name := range []string{"ct", "src", "dst", "sport", "dport", "proto", "spi"} {
			if strings.HasPrefix(name, strings.ToLower(word)) {
				(*t)[name], found = true, true
				break
			}
		}
		if !found {
			return fmt.Errorf("%q is none of ct, src, dst, sport, dport, proto and spi", word)
		}
	}
	return nil
}

// String writes the names; iptables-save prints other options instead.
func (t *hmarkTuple) String() string {
	var names []string
	for _, name := range []string{"ct", "src", "dst", "sport", "dport", "proto", "spi"} {
		if (*t)[name] {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// A hex16 is a number of 16 bits that is printed hexadecimal, with all its digits.
type hex16 uint16

// Set reads a number.
func (h *hex16) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, 0xffff)
	*h = hex16(n)
	return err
}

// String writes four digits.
func (h *hex16) String() string { return fmt.Sprintf("0x%04x", uint16(*h)) }

// An hmarkProtocol is a mask of a protocol's number, of which the kernel uses eight
// bits.
type hmarkProtocol uint16

// Set reads a number.
func (p *hmarkProtocol) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, 0xffff)
	*p = hmarkProtocol(n)
	return err
}

// String writes two digits or more.
func (p *hmarkProtocol) String() string { return fmt.Sprintf("0x%02x", uint16(*p)) }
