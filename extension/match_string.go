package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerMatch("string", func() iptables.Match {
		return &stringMatch{To: iptables.Opt[stringEnd]{Value: stringEndDefault}}
	})
}

var (
	_ iptsim.Meaning       = (*stringMatch)(nil)
	_ translate.Translator = (*stringMatch)(nil)
	_ iptables.Validator   = (*stringMatch)(nil)
	_ iptables.Printer     = (*stringMatch)(nil)
)

// stringMatch is "-m string": bytes are in the packet, all of them from --from on
// and before --to, counted from the network header.
//
// Kernel: net/netfilter/xt_string.c; net/core/skbuff.c, skb_find_text.
type stringMatch struct {
	Text   iptables.Opt[stringPattern]
	Hex    iptables.Opt[stringHex]
	Way    iptables.Opt[stringWay]
	From   iptables.Opt[stringStart]
	To     iptables.Opt[stringEnd]
	Either iptables.Opt[iptables.Flag]
}

func (*stringMatch) Name() string { return "string" }

func (m *stringMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("string", &m.Text, iptables.Invertible),
		iptables.Bind("hex-string", &m.Hex, iptables.Invertible),
		iptables.Bind("algo", &m.Way, iptables.Required),
		iptables.Bind("from", &m.From, 0),
		iptables.Bind("to", &m.To, 0),
		iptables.Bind("icase", &m.Either, 0),
	}
}

// PrintOptions prints the pattern in the form that it needs.
func (m *stringMatch) PrintOptions() []iptables.Printed {
	pattern, negated := m.pattern()
	name := "string"
	if pattern.hex() {
		name = "hex-string"
	}
	list := []iptables.Printed{{Name: name, Negated: negated, Args: []string{pattern.String()}}}
	for _, p := range m.Options().Print() {
		if p.Name != "string" && p.Name != "hex-string" {
			list = append(list, p)
		}
	}
	return list
}

// pattern is the pattern of either option.
func (m *stringMatch) pattern() (p stringPattern, negated bool) {
	if m.Hex.Present {
		return m.Hex.Value.stringPattern, m.Hex.Negated
	}
	return m.Text.Value, m.Text.Negated
}

// Validate refuses what iptables and the kernel refuse.
func (m *stringMatch) Validate(iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	if m.Text.Present == m.Hex.Present {
		problems = append(problems, iptables.Problem{
			Code: "missing-option", Summary: "string needs exactly one pattern",
			Detail: "Give one of --string and --hex-string.",
		})
	}
	if uint16(m.From.Value) > uint16(m.To.Value) {
		problems = append(problems, iptables.Problem{
			Summary: "a search ends before it begins",
			Detail:  "--from must not be greater than --to.", Range: m.From.Range,
		})
	}
	return problems
}

func (m *stringMatch) Meaning(iptables.Context) predicate.Meaning {
	pattern, negated := m.Text.Value, m.Text.Negated
	if m.Hex.Present {
		pattern, negated = m.Hex.Value.stringPattern, m.Hex.Negated
	}
	search := predicate.Search{Pattern: string(pattern), AnyCase: m.Either.Present, From: int(m.From.Value), To: int(m.To.Value)}
	return predicate.Meaning{Match: negatedIf(negated, search.Predicate())}
}

// stringPlaces is how many places of a pattern become rules of their own.
const stringPlaces = 64

// Translate compares the bytes at each place where the pattern can stand.
func (m *stringMatch) Translate(r *translate.Rule) error {
	wanted, negated, where := []byte(m.Text.Value), m.Text.Negated, m.Text.Range
	if m.Hex.Present {
		wanted, negated, where = []byte(m.Hex.Value.stringPattern), m.Hex.Negated, m.Hex.Range
	}
	first, last := int(m.From.Value), int(m.To.Value)-len(wanted)
	var mask []byte
	var sharp []int
	if m.Either.Present {
		wanted, mask, sharp = eitherCase(wanted)
	}
	compare := func(at int) []nftgen.Stmt {
		list := rawCompare(r, at, wanted, mask)
		for _, i := range sharp {
			for _, other := range []byte{sharpMask, 0xff} {
				list = append(list, nftgen.Compare{Field: nftgen.NetworkBytes(r.NFProto(), at+i, 1), Op: nftgen.Ne, Value: nftgen.Value{other}})
			}
		}
		return list
	}
	switch {
	case last < first && negated:
		return nil
	case last < first:
		r.Never()
		return nil
	case last-first >= stringPlaces, last+len(wanted) > rawReach:
		return &translate.Untranslatable{
			Code: "untranslatable-option", Summary: "nftables does not search in packets",
			Detail: fmt.Sprintf("Bytes can be compared where they stand, within the first %d of a packet: the pattern can be at %d places, and at most %d become "+
				"comparisons. Give --from and --to that leave fewer, as in --from %d --to %d for one.", rawReach, last-first+1, stringPlaces, min(first, 40), min(first, 40)+len(wanted)),
			Range: where,
		}
	}
	if first == last && (!negated || len(wanted) <= rawWidth) {
		// A packet that is too short has it not: a negated comparison would not see it.
		if !negated {
			r.Add(compare(first)...)
			return nil
		}
	}
	hit, miss := translate.Match, translate.Fail
	if negated {
		hit, miss = miss, hit
	}
	branch := translate.Branch{Otherwise: miss}
	for at := first; at <= last; at++ {
		branch.Rows = append(branch.Rows, translate.Row{Stmts: compare(at), Then: hit})
	}
	r.Branch(branch)
	return nil
}

// eitherCase returns the bytes of a pattern in capitals, and a mask that takes
// small letters for them. Letters are those of Latin-1. To the kernel the sharp s
// is the small form of 0xbf; a mask for the two takes 0x9f and 0xff as well, and
// sharp are the places where these have to be excluded. The small form of the
// sharp s is 0xff, which is a capital of nothing.
//
// Kernel: include/linux/ctype.h, toupper; lib/ctype.c.
func eitherCase(pattern []byte) (capitals, mask []byte, sharp []int) {
	const sharpS, sharpCapital, last = 0xdf, 0xbf, 0xff
	for i, c := range pattern {
		switch {
		case c == sharpS || c == sharpCapital:
			capitals, mask, sharp = append(capitals, sharpMask), append(mask, sharpMask), append(sharp, i)
		case c|0x20 >= 'a' && c|0x20 <= 'z', c >= 0xc0 && c != last && c&0x1f != 0x17:
			capitals, mask = append(capitals, c&^0x20), append(mask, 0xdf)
		default:
			capitals, mask = append(capitals, c), append(mask, 0xff)
		}
	}
	return capitals, mask, sharp
}

// sharpMask are the bits that both cases of the sharp s have.
const sharpMask = 0xdf & 0xbf

const (
	// rawWidth is how many bytes nft compares at once.
	rawWidth = 16
	// rawReach is how many bytes from the network header on can be loaded.
	rawReach = 256
)

// rawCompare are comparisons of bytes at a place from the network header on. mask
// is nil for none.
func rawCompare(r *translate.Rule, at int, wanted, mask []byte) []nftgen.Stmt {
	var list []nftgen.Stmt
	for len(wanted) > 0 {
		n := min(len(wanted), rawWidth)
		c := nftgen.Compare{Field: nftgen.NetworkBytes(r.NFProto(), at, n), Op: nftgen.Eq, Value: nftgen.Value(wanted[:n])}
		if mask != nil {
			for _, b := range mask[:n] {
				if b != 0xff {
					c.Mask = nftgen.Value(mask[:n])
				}
			}
			mask = mask[n:]
		}
		list = append(list, c)
		wanted, at = wanted[n:], at+n
	}
	return list
}
