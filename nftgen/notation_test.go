package nftgen

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// notation writes the rules and sets of a batch in the manner of
// nft --debug=netlink: values as words of the host in the order of memory.
// It reads the bytes; it shares nothing with the encoder.
func notation(batch []netlink.Message) string {
	var b strings.Builder
	for _, m := range batch {
		kind, ok := nfnetlink.Kind(m)
		if !ok {
			continue
		}
		attrs := nfnetlink.Attributes(m)
		switch kind {
		case unix.NFT_MSG_NEWSET:
			desc := nfnetlink.Nested(nfnetlink.Find(attrs, unix.NFTA_SET_DESC))
			fmt.Fprintf(&b, "set %s flags %x type %#x len %d size %d timeout %d\n", nfnetlink.FindString(attrs, unix.NFTA_SET_NAME),
				be(attrs, unix.NFTA_SET_FLAGS), be(attrs, unix.NFTA_SET_KEY_TYPE), be(attrs, unix.NFTA_SET_KEY_LEN),
				be(desc, unix.NFTA_SET_DESC_SIZE), be(attrs, unix.NFTA_SET_TIMEOUT))
		case unix.NFT_MSG_NEWOBJ:
			fmt.Fprintf(&b, "object type %d %s\n", be(attrs, unix.NFTA_OBJ_TYPE), nfnetlink.FindString(attrs, unix.NFTA_OBJ_NAME))
		case unix.NFT_MSG_NEWSETELEM:
			for _, e := range nfnetlink.Nested(nfnetlink.Find(attrs, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
				writeElement(&b, nfnetlink.Nested(e.Data))
			}
		case unix.NFT_MSG_NEWRULE:
			for _, e := range nfnetlink.Nested(nfnetlink.Find(attrs, unix.NFTA_RULE_EXPRESSIONS)) {
				b.WriteString("  " + expressionNotation(nfnetlink.Nested(e.Data)) + "\n")
			}
		}
	}
	return b.String()
}

func writeElement(b *strings.Builder, attrs []nfnetlink.Attr) {
	fmt.Fprintf(b, "  element %s", data(attrs, unix.NFTA_SET_ELEM_KEY))
	if nfnetlink.Find(attrs, elementKeyEnd) != nil {
		fmt.Fprintf(b, " - %s", data(attrs, elementKeyEnd))
	}
	if be(attrs, unix.NFTA_SET_ELEM_FLAGS) != 0 {
		b.WriteString(" end")
	}
	if u := nfnetlink.Find(attrs, unix.NFTA_SET_ELEM_USERDATA); u != nil {
		fmt.Fprintf(b, " userdata %x", u)
	}
	b.WriteByte('\n')
}

// be reads a number in network order, of whatever length it was sent.
func be(attrs []nfnetlink.Attr, kind uint16) uint64 {
	var n uint64
	for _, c := range nfnetlink.Find(attrs, kind) {
		n = n<<8 | uint64(c)
	}
	return n
}

// data reads the value in a nested attribute.
func data(attrs []nfnetlink.Attr, kind uint16) string {
	v := nfnetlink.Find(nfnetlink.Nested(nfnetlink.Find(attrs, kind)), unix.NFTA_DATA_VALUE)
	var words []string
	for len(v) > 0 {
		n := min(4, len(v))
		var w [4]byte
		copy(w[:], v[:n])
		words = append(words, fmt.Sprintf("0x%08x", binary.LittleEndian.Uint32(w[:])))
		v = v[n:]
	}
	return strings.Join(words, " ")
}

func expressionNotation(attrs []nfnetlink.Attr) string {
	name := nfnetlink.FindString(attrs, unix.NFTA_EXPR_NAME)
	write, ok := notations[name]
	if !ok {
		return "[ " + name + " ]"
	}
	return "[ " + name + " " + write(nfnetlink.Nested(nfnetlink.Find(attrs, unix.NFTA_EXPR_DATA))) + " ]"
}

var notations map[string]func(a []nfnetlink.Attr) string

// Words of the notation, by the kernel's numbers.
var (
	metaWords = map[uint64]string{
		0: "len", 2: "priority", 3: "mark", 12: "nftrace", 6: "iifname", 7: "oifname", 8: "iiftype", 10: "skuid", 11: "skgid", 15: "nfproto", 16: "l4proto",
		13: "rtclassid", 19: "pkttype", 20: "cpu", 21: "iifgroup", 22: "oifgroup", 24: "prandom", 18: "cgroup", 25: "secpath", 30: "time", 31: "day", 32: "hour",
	}
	ctWords = map[uint64]string{
		0: "state", 1: "direction", 2: "status", 3: "mark", 5: "expiration", 10: "protocol", 11: "proto_src", 12: "proto_dst",
		14: "packets", 15: "bytes", 16: "avgpkt", 19: "src_ip", 20: "dst_ip", 21: "src_ip6", 22: "dst_ip6",
	}
	cmpWords     = []string{"eq", "neq", "lt", "lte", "gt", "gte"}
	headerWords  = []string{"link", "network", "transport"}
	verdictWords = map[int32]string{-5: "return", -4: "goto", -3: "jump", -1: "continue", 0: "drop", 1: "accept"}
	dynsetWords  = []string{"add", "update", "delete"}
)

func init() {
	reg := func(a []nfnetlink.Attr, kind uint16) string { return fmt.Sprintf("reg %d", be(a, kind)) }
	notations = map[string]func(a []nfnetlink.Attr) string{
		"meta": func(a []nfnetlink.Attr) string {
			key := metaWords[be(a, unix.NFTA_META_KEY)]
			if nfnetlink.Find(a, unix.NFTA_META_SREG) != nil {
				return "set " + key + " with " + reg(a, unix.NFTA_META_SREG)
			}
			return "load " + key + " => " + reg(a, unix.NFTA_META_DREG)
		},
		"ct": func(a []nfnetlink.Attr) string {
			key := ctWords[be(a, unix.NFTA_CT_KEY)]
			if nfnetlink.Find(a, unix.NFTA_CT_SREG) != nil {
				return "set " + key + " with " + reg(a, unix.NFTA_CT_SREG)
			}
			s := "load " + key + " => " + reg(a, unix.NFTA_CT_DREG)
			if d := nfnetlink.Find(a, unix.NFTA_CT_DIRECTION); d != nil {
				s += fmt.Sprintf(" , dir %x", d)
			}
			return s
		},
		"payload": func(a []nfnetlink.Attr) string {
			if nfnetlink.Find(a, unix.NFTA_PAYLOAD_SREG) != nil {
				return fmt.Sprintf("write %s => %db @ %s header + %d checksum %d at %d", reg(a, unix.NFTA_PAYLOAD_SREG), be(a, unix.NFTA_PAYLOAD_LEN),
					headerWords[be(a, unix.NFTA_PAYLOAD_BASE)], be(a, unix.NFTA_PAYLOAD_OFFSET), be(a, unix.NFTA_PAYLOAD_CSUM_TYPE), be(a, unix.NFTA_PAYLOAD_CSUM_OFFSET))
			}
			return fmt.Sprintf("load %db @ %s header + %d => %s", be(a, unix.NFTA_PAYLOAD_LEN),
				headerWords[be(a, unix.NFTA_PAYLOAD_BASE)], be(a, unix.NFTA_PAYLOAD_OFFSET), reg(a, unix.NFTA_PAYLOAD_DREG))
		},
		"cmp": func(a []nfnetlink.Attr) string {
			return cmpWords[be(a, unix.NFTA_CMP_OP)] + " " + reg(a, unix.NFTA_CMP_SREG) + " " + data(a, unix.NFTA_CMP_DATA)
		},
		"range": func(a []nfnetlink.Attr) string {
			return cmpWords[be(a, unix.NFTA_RANGE_OP)] + " " + reg(a, unix.NFTA_RANGE_SREG) + " " +
				data(a, unix.NFTA_RANGE_FROM_DATA) + " " + data(a, unix.NFTA_RANGE_TO_DATA)
		},
		"bitwise": func(a []nfnetlink.Attr) string {
			s, d := reg(a, unix.NFTA_BITWISE_SREG), reg(a, unix.NFTA_BITWISE_DREG)
			if op := be(a, bitwiseOp); op != 0 {
				return fmt.Sprintf("%s = ( %s %s %s )", d, s, []string{"", "<<", ">>"}[op], data(a, bitwiseData))
			}
			return fmt.Sprintf("%s = ( %s & %s ) ^ %s", d, s, data(a, unix.NFTA_BITWISE_MASK), data(a, unix.NFTA_BITWISE_XOR))
		},
		"byteorder": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("%s = hton(%s, %d, %d)", reg(a, unix.NFTA_BYTEORDER_DREG), reg(a, unix.NFTA_BYTEORDER_SREG),
				be(a, unix.NFTA_BYTEORDER_SIZE), be(a, unix.NFTA_BYTEORDER_LEN))
		},
		"lookup": func(a []nfnetlink.Attr) string {
			s := reg(a, unix.NFTA_LOOKUP_SREG) + " set " + nfnetlink.FindString(a, unix.NFTA_LOOKUP_SET)
			if be(a, unix.NFTA_LOOKUP_FLAGS) != 0 {
				s += " 0x1"
			}
			return s
		},
		"immediate": func(a []nfnetlink.Attr) string {
			s := reg(a, unix.NFTA_IMMEDIATE_DREG)
			inner := nfnetlink.Nested(nfnetlink.Find(a, unix.NFTA_IMMEDIATE_DATA))
			v := nfnetlink.Find(inner, unix.NFTA_DATA_VERDICT)
			if v == nil {
				return s + " " + data(a, unix.NFTA_IMMEDIATE_DATA)
			}
			verdict := nfnetlink.Nested(v)
			s += " " + verdictWords[int32(be(verdict, unix.NFTA_VERDICT_CODE))]
			if chain := nfnetlink.FindString(verdict, unix.NFTA_VERDICT_CHAIN); chain != "" {
				s += " -> " + chain
			}
			return s
		},
		"counter": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("pkts %d bytes %d", be(a, unix.NFTA_COUNTER_PACKETS), be(a, unix.NFTA_COUNTER_BYTES))
		},
		"limit": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("rate %d/%ds burst %d type %d flags %#x", be(a, unix.NFTA_LIMIT_RATE), be(a, unix.NFTA_LIMIT_UNIT),
				be(a, unix.NFTA_LIMIT_BURST), be(a, unix.NFTA_LIMIT_TYPE), be(a, unix.NFTA_LIMIT_FLAGS))
		},
		"quota": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("bytes %d flags %d", be(a, unix.NFTA_QUOTA_BYTES), be(a, unix.NFTA_QUOTA_FLAGS))
		},
		"connlimit": func(a []nfnetlink.Attr) string { return fmt.Sprintf("count %d flags %d", be(a, 1), be(a, 2)) },
		"log": func(a []nfnetlink.Attr) string {
			s := fmt.Sprintf("prefix %q", nfnetlink.FindString(a, unix.NFTA_LOG_PREFIX))
			if nfnetlink.Find(a, unix.NFTA_LOG_LEVEL) != nil {
				s += fmt.Sprintf(" level %d", be(a, unix.NFTA_LOG_LEVEL))
			}
			for _, n := range []struct {
				kind uint16
				name string
			}{{unix.NFTA_LOG_GROUP, "group"}, {unix.NFTA_LOG_SNAPLEN, "snaplen"}, {unix.NFTA_LOG_QTHRESHOLD, "qthreshold"}} {
				if nfnetlink.Find(a, n.kind) != nil {
					s += fmt.Sprintf(" %s %d", n.name, be(a, n.kind))
				}
			}
			return s + fmt.Sprintf(" flags %#x", be(a, unix.NFTA_LOG_FLAGS))
		},
		"reject": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("type %d code %d", be(a, unix.NFTA_REJECT_TYPE), be(a, unix.NFTA_REJECT_ICMP_CODE))
		},
		"nat": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("%s family %d addr %d-%d proto %d-%d flags %#x", []string{"snat", "dnat"}[be(a, unix.NFTA_NAT_TYPE)],
				be(a, unix.NFTA_NAT_FAMILY), be(a, unix.NFTA_NAT_REG_ADDR_MIN), be(a, unix.NFTA_NAT_REG_ADDR_MAX),
				be(a, unix.NFTA_NAT_REG_PROTO_MIN), be(a, unix.NFTA_NAT_REG_PROTO_MAX), be(a, unix.NFTA_NAT_FLAGS))
		},
		"masq": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("proto %d-%d flags %#x", be(a, unix.NFTA_MASQ_REG_PROTO_MIN), be(a, unix.NFTA_MASQ_REG_PROTO_MAX),
				be(a, unix.NFTA_MASQ_FLAGS))
		},
		"redir": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("proto %d-%d flags %#x", be(a, unix.NFTA_REDIR_REG_PROTO_MIN), be(a, unix.NFTA_REDIR_REG_PROTO_MAX),
				be(a, unix.NFTA_REDIR_FLAGS))
		},
		"exthdr": func(a []nfnetlink.Attr) string {
			place := fmt.Sprintf("%db @ %d + %d", be(a, unix.NFTA_EXTHDR_LEN), be(a, unix.NFTA_EXTHDR_TYPE), be(a, unix.NFTA_EXTHDR_OFFSET))
			if nfnetlink.Find(a, unix.NFTA_EXTHDR_SREG) != nil {
				return "write tcpopt " + reg(a, unix.NFTA_EXTHDR_SREG) + " => " + place
			}
			return fmt.Sprintf("load tcpopt %s flags %#x => %s", place, be(a, unix.NFTA_EXTHDR_FLAGS), reg(a, unix.NFTA_EXTHDR_DREG))
		},
		"fib": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("flags %#x result %d => %s", be(a, unix.NFTA_FIB_FLAGS), be(a, unix.NFTA_FIB_RESULT), reg(a, unix.NFTA_FIB_DREG))
		},
		"numgen": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("%s = type %d mod %d offset %d", reg(a, unix.NFTA_NG_DREG), be(a, unix.NFTA_NG_TYPE),
				be(a, unix.NFTA_NG_MODULUS), be(a, unix.NFTA_NG_OFFSET))
		},
		"rt": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("load %d => %s", be(a, unix.NFTA_RT_KEY), reg(a, unix.NFTA_RT_DREG))
		},
		"objref": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("type %d name %s", be(a, unix.NFTA_OBJREF_IMM_TYPE), nfnetlink.FindString(a, unix.NFTA_OBJREF_IMM_NAME))
		},
		"socket": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("load %s => reg %d", []string{"transparent", "mark", "wildcard"}[be(a, 1)], be(a, 2))
		},
		"xfrm": func(a []nfnetlink.Attr) string {
			return fmt.Sprintf("load %s %d %s => reg %d", []string{"in", "out"}[be(a, 3)], be(a, 4), map[uint64]string{5: "reqid", 6: "spi"}[be(a, 2)], be(a, 1))
		},
		"dynset": func(a []nfnetlink.Attr) string {
			s := fmt.Sprintf("%s reg_key %d set %s timeout %dms", dynsetWords[be(a, unix.NFTA_DYNSET_OP)], be(a, unix.NFTA_DYNSET_SREG_KEY),
				nfnetlink.FindString(a, unix.NFTA_DYNSET_SET_NAME), be(a, unix.NFTA_DYNSET_TIMEOUT))
			if e := nfnetlink.Find(a, unix.NFTA_DYNSET_EXPR); e != nil {
				s += " expr " + expressionNotation(nfnetlink.Nested(e))
			}
			for _, e := range nfnetlink.Nested(nfnetlink.Find(a, 10)) {
				s += " expr " + expressionNotation(nfnetlink.Nested(e.Data))
			}
			return s
		},
	}
}
