package nftgen

import (
	"fmt"
	"strings"
)

// actionText returns a statement that acts.
func actionText(s Stmt, table Family) string {
	switch s := s.(type) {
	case Counter:
		if s == (Counter{}) {
			return "counter"
		}
		return fmt.Sprintf("counter packets %d bytes %d", s.Packets, s.Bytes)
	case Limit:
		over := ""
		if s.Over {
			over = "over "
		}
		if s.Bytes {
			return fmt.Sprintf("limit rate %s%d bytes/%s burst %d bytes", over, s.Rate, limitUnits[s.Unit].word, s.Burst)
		}
		return fmt.Sprintf("limit rate %s%d/%s burst %d packets", over, s.Rate, limitUnits[s.Unit].word, s.Burst)
	case Quota:
		if s.Over {
			return fmt.Sprintf("quota over %d bytes", s.Bytes)
		}
		return fmt.Sprintf("quota %d bytes", s.Bytes)
	case ConnLimit:
		if s.Over {
			return fmt.Sprintf("ct count over %d", s.Count)
		}
		return fmt.Sprintf("ct count %d", s.Count)
	case Assign:
		return s.String()
	case SetField:
		return s.Field.Text + " set " + s.Field.Type.Format(s.Value)
	case Trace:
		return "meta nftrace set 1"
	case NAT:
		return s.text(table)
	case Masquerade:
		return natText("masquerade", "", s.ports().text(), s.Flags)
	case Redirect:
		return natText("redirect", "", s.ports().text(), s.Flags)
	case HasLabel:
		return fmt.Sprintf("ct label %d", s.Bit)
	case SetLabel:
		return fmt.Sprintf("ct label set %d", s.Bit)
	case Use:
		return s.Object.Kind.use(s.Object.Name)
	case Notrack:
		return "notrack"
	case SetMSS:
		if s.MSS == 0 && !s.Zero {
			return "tcp option maxseg size set rt mtu"
		}
		return fmt.Sprintf("tcp option maxseg size set %d", s.MSS)
	case Update:
		return s.String()
	case action:
		return s.text(table)
	}
	return ""
}

// text writes the statement with a prefix that can be the name of a variable.
func (s Log) text(prefix string) string {
	words := []string{"log"}
	if prefix != "" {
		words = append(words, `prefix "`+prefix+`"`)
	}
	if s.Level != defaultLevel {
		words = append(words, "level "+logLevels[s.Level])
	}
	rest := s.Flags
	for _, f := range logFlags {
		if rest&f.bit == f.bit {
			words = append(words, f.text)
			rest &^= f.bit
		}
	}
	return strings.Join(words, " ")
}

// text writes the statement likewise.
func (s LogGroup) text(prefix string) string {
	words := "log"
	if prefix != "" {
		words += ` prefix "` + prefix + `"`
	}
	words += fmt.Sprintf(" group %d", s.Group)
	if s.Snaps {
		words += fmt.Sprintf(" snaplen %d", s.SnapLen)
	}
	if s.Threshold != 0 {
		words += fmt.Sprintf(" queue-threshold %d", s.Threshold)
	}
	return words
}

// The codes of ICMP and ICMPv6 unreachable messages that nft has words for.
//
// Source: RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1; RFC 4443
// section 3.1.
var (
	icmpCodeNames = []symbol{
		{"net-unreachable", 0}, {"host-unreachable", 1}, {"prot-unreachable", 2}, {"port-unreachable", 3},
		{"net-prohibited", 9}, {"host-prohibited", 10}, {"admin-prohibited", 13},
	}
	icmpv6CodeNames = []symbol{
		{"no-route", 0}, {"admin-prohibited", 1}, {"addr-unreachable", 3}, {"port-unreachable", 4},
		{"policy-fail", 5}, {"reject-route", 6},
	}
)

// anyCodeNames are the codes of "unreachable" that both families have.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_reject_inet_code.
var anyCodeNames = []string{"no-route", "port-unreachable", "host-unreachable", "admin-prohibited"}

// text writes the statement in a rule of the family.
func (s Reject) text(family Family) string {
	if s.Reset {
		return "reject with tcp reset"
	}
	if s.Any {
		return "reject with icmpx type " + anyCodeNames[s.Code]
	}
	if family == IP6 {
		return "reject with icmpv6 type " + string(named(icmpv6CodeNames, decimal)(nil, Value{s.Code}))
	}
	return "reject with icmp type " + string(named(icmpCodeNames, decimal)(nil, Value{s.Code}))
}

func (s Assign) String() string {
	t := s.Field.Type
	xor := s.Xor
	if xor == nil {
		xor = make(Value, t.Bytes)
	}
	var right string
	switch {
	case s.From != nil:
		right = masked(s.From.Text, s.Take, t)
		switch {
		case s.Shift == 0:
		case s.Shift > 0:
			right = fmt.Sprintf("%s << %d", grouped(right), s.Shift)
		default:
			right = fmt.Sprintf("%s >> %d", grouped(right), -s.Shift)
		}
	case s.keepsNothing():
		return s.Field.Text + " set " + t.Format(xor)
	default:
		right = masked(s.Field.Text, s.Keep, t)
	}
	switch {
	case filled(xor, 0):
	case s.From == nil && disjoint(s.Keep, xor):
		right += " | " + t.Format(xor)
	default:
		right += " ^ " + t.Format(xor)
	}
	return s.Field.Text + " set " + right
}

func masked(field string, mask Value, t *Datatype) string {
	if mask == nil || filled(mask, 0xff) {
		return field
	}
	return string(t.mask([]byte(field+" & "), mask))
}

func grouped(s string) string {
	if strings.Contains(s, "&") {
		return "(" + s + ")"
	}
	return s
}

func natText(word, address, ports string, f NATFlags) string {
	if address+ports != "" {
		word += " to " + address + ports
	}
	var list []string
	for _, flag := range []struct {
		on   bool
		word string
	}{{f.Random, "random"}, {f.FullyRandom, "fully-random"}, {f.Persistent, "persistent"}} {
		if flag.on {
			list = append(list, flag.word)
		}
	}
	return strings.TrimSpace(word + " " + strings.Join(list, ","))
}

func (s NAT) text(table Family) string {
	word := "snat"
	if s.Destination {
		word = "dnat"
	}
	if table == Inet && s.Low != nil {
		word += " " + s.family().String()
	}
	if s.Prefix != 0 {
		return natText(word+" prefix", string(InPrefix{Field: Field{Type: addressType(s.Low)}, Addr: s.Low, Bits: s.Prefix}.appendValue(nil)), "", s.Flags)
	}
	ports := s.ports().text()
	if s.Map != nil {
		ports = ":" + s.Map.String()
	}
	bracket := func(v Value) string {
		if len(v) == 16 && ports != "" {
			return "[" + addressText(v) + "]"
		}
		return addressText(v)
	}
	span := ""
	if s.Low != nil {
		span = bracket(s.Low)
		if s.High != nil && !equal(s.Low, s.High) {
			span += "-" + bracket(s.High)
		}
	}
	return natText(word, span, ports, s.Flags)
}

func addressText(v Value) string { return string(address(nil, v)) }

func addressType(v Value) *Datatype {
	if len(v) == 16 {
		return ipv6Addr
	}
	return ipv4Addr
}

var updateWords = []string{OpAdd: "add", OpUpdate: "update", OpDelete: "delete"}

func (s Update) String() string {
	words := []string{keyText(s.Fields, s.Masks)}
	if s.Timeout != 0 {
		words = append(words, "timeout "+durationText(s.Timeout))
	}
	for _, inner := range s.Stmts {
		words = append(words, actionText(inner, 0))
	}
	return fmt.Sprintf("%s @%s { %s }", updateWords[s.Op], s.Set.Name, strings.Join(words, " "))
}
