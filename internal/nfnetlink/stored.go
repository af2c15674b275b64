package nfnetlink

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Stored compares what was sent with what the kernel gives out for it. Both
// are messages as [Normalise] returns them. An error names the first attribute
// that differs.
//
// Equal means: every attribute that was sent is there with the same bytes, and
// the kernel added only zeros and the defaults it documents. Not compared are
// the order of attributes, numbers by which a batch refers to itself, and what
// only the kernel writes.
func Stored(sent, got netlink.Message) error {
	kind, ours := Kind(sent)
	if !ours || messageSchemas[kind] == nil {
		return fmt.Errorf("message of type %#x makes nothing", sent.Header.Type)
	}
	if other, _ := Kind(got); other != kind || Family(sent) != Family(got) {
		return fmt.Errorf("message %d of family %d, want %d of family %d", other, Family(got), kind, Family(sent))
	}
	return storedLevel(Attributes(sent), Attributes(got), messageSchemas[kind], "")
}

func storedLevel(sent, got []Attr, level *schema, name string) error {
	sent, got = canonical(sent, level), canonical(got, level)
	if level.list {
		return storedList(sent, got, level)
	}
	rule := storedRules[storedKey{level, name}]
	for _, want := range sent {
		have := Find(got, want.Type)
		switch inside, insideName := level.inside(sent, want.Type); {
		case slices.Contains(rule.unread, want.Type):
		case have == nil:
			if !isZero(want.Data) && !rule.ignores(want.Type, sent) {
				return differ(name, want.Type, want.Data, nil)
			}
		case inside != nil:
			if err := storedLevel(parseAttributes(want.Data), parseAttributes(have), inside, insideName); err != nil {
				if insideName != "" {
					return fmt.Errorf("expression %s: %w", insideName, err)
				}
				return fmt.Errorf("attribute %d: %w", want.Type, err)
			}
		case !bytes.Equal(want.Data, have) && !rule.ignores(want.Type, sent) && !rule.same(want, have):
			return differ(name, want.Type, want.Data, have)
		}
	}
	for _, have := range got {
		inside, insideName := level.inside(got, have.Type)
		switch {
		case Find(sent, have.Type) != nil, slices.Contains(rule.unread, have.Type), rule.adds(have, sent):
		case inside != nil:
			if err := storedLevel(nil, parseAttributes(have.Data), inside, insideName); err != nil {
				return fmt.Errorf("attribute %d was added: %w", have.Type, err)
			}
		case !isZero(have.Data):
			return differ(name, have.Type, nil, have.Data)
		}
	}
	return nil
}

func storedList(sent, got []Attr, level *schema) error {
	if len(sent) != len(got) {
		return fmt.Errorf("%d entries, want %d", len(got), len(sent))
	}
	for i := range sent {
		if err := storedLevel(parseAttributes(sent[i].Data), parseAttributes(got[i].Data), level.nested[listElem], ""); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return nil
}

func differ(name string, kind uint16, want, have []byte) error {
	where := ""
	if name != "" {
		where = name + " "
	}
	show := func(b []byte) string {
		if b == nil {
			return "nothing"
		}
		return fmt.Sprintf("%x", b[:min(len(b), 64)])
	}
	return fmt.Errorf("%sattribute %d is %s, want %s", where, kind, show(have), show(want))
}

// canonical returns attributes in order of their types, with the short form of
// one expression in its long form: a list of one.
func canonical(attrs []Attr, level *schema) []Attr {
	attrs = slices.Clone(attrs)
	if short, long, ok := level.expressions(); ok {
		for i, a := range attrs {
			if a.Type == short {
				attrs[i] = Attr{long, AppendAttr(nil, listElem, a.Data)}
			}
		}
	}
	if !level.list {
		slices.SortStableFunc(attrs, func(a, b Attr) int { return cmp.Compare(a.Type, b.Type) })
	}
	return attrs
}

// expressions returns the attributes of a level that hold one expression and
// several.
func (s *schema) expressions() (short, long uint16, ok bool) {
	for kind, inside := range s.nested {
		switch inside {
		case expressionSchema:
			short = kind
		case expressionList:
			long = kind
		}
	}
	return short, long, short != 0 && long != 0
}

type storedKey struct {
	level *schema
	name  string
}

// A storedRule is how the kernel's account of one level differs from what it
// was given.
type storedRule struct {
	// unread are attributes that are not compared: they number things inside
	// a batch, or the kernel does not give them out.
	unread []uint16
	// defaults are added when they were not sent.
	defaults map[uint16][]byte
	// copies are added with the value of another attribute.
	copies map[uint16]uint16
	// bits are flags that the kernel adds to a big-endian number, which may
	// have been sent or not.
	bits map[uint16]uint32
	// ignored are attributes that the kernel does not take over when another
	// attribute has a value.
	ignored map[uint16]Attr
	// added are attributes that the kernel works out when they were not sent.
	added []uint16
	// strings are attributes whose zero byte at the end may have been left out.
	strings []uint16
	// cleared are bytes of which the kernel keeps a part to itself and gives
	// out zeros.
	cleared []uint16
}

func (r storedRule) adds(have Attr, sent []Attr) bool {
	if b, ok := r.defaults[have.Type]; ok && bytes.Equal(b, have.Data) {
		return true
	}
	if slices.Contains(r.added, have.Type) {
		return true
	}
	if from, ok := r.copies[have.Type]; ok && bytes.Equal(Find(sent, from), have.Data) {
		return true
	}
	bits, ok := r.bits[have.Type]
	return ok && len(have.Data) == 4 && number([]Attr{have}, have.Type)&^bits == 0
}

func (r storedRule) same(want Attr, have []byte) bool {
	if slices.Contains(r.cleared, want.Type) && len(want.Data) == len(have) {
		for i, b := range have {
			if b != 0 && b != want.Data[i] {
				return false
			}
		}
		return true
	}
	if slices.Contains(r.strings, want.Type) {
		return bytes.Equal(append(bytes.Clone(want.Data), 0), have)
	}
	bits, ok := r.bits[want.Type]
	return ok && len(want.Data) == 4 && len(have) == 4 &&
		number([]Attr{want}, want.Type)|bits == number([]Attr{{want.Type, have}}, want.Type)|bits
}

func (r storedRule) ignores(kind uint16, sent []Attr) bool {
	when, ok := r.ignored[kind]
	return ok && bytes.Equal(Find(sent, when.Type), when.Data)
}

func be32(v uint32) []byte { return []byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)} }

// storedRules is found by level and, for the data of an expression, its name.
var storedRules = map[storedKey]storedRule{
	{messageSchemas[unix.NFT_MSG_NEWCHAIN], ""}: {
		unread:   []uint16{chainID},
		defaults: map[uint16][]byte{unix.NFTA_CHAIN_POLICY: be32(1), unix.NFTA_CHAIN_TYPE: []byte("filter\x00")}, // accept
		bits:     map[uint16]uint32{chainFlags: 1},                                                               // NFT_CHAIN_BASE
	},
	{messageSchemas[unix.NFT_MSG_NEWSET], ""}: {
		unread: []uint16{unix.NFTA_SET_ID},
		// The size of a verdict is the kernel's own affair.
		ignored: map[uint16]Attr{unix.NFTA_SET_DATA_LEN: {unix.NFTA_SET_DATA_TYPE, be32(unix.NFT_DATA_VERDICT)}},
	},
	{objectSchemas[objectHelper], ""}:             {strings: []uint16{helperName}, added: []uint16{helperL3}},
	{messageSchemas[unix.NFT_MSG_NEWSETELEM], ""}: {unread: []uint16{unix.NFTA_SET_ELEM_LIST_SET_ID}},
	{messageSchemas[unix.NFT_MSG_NEWRULE], ""}: {
		unread: []uint16{unix.NFTA_RULE_COMPAT, unix.NFTA_RULE_ID, ruleChainID, rulePositionID},
	},
	{verdictSchema, ""}:               {unread: []uint16{verdictChainID}},
	{dataSchemas["dynset"], "dynset"}: {unread: []uint16{unix.NFTA_DYNSET_SET_ID}, bits: map[uint16]uint32{unix.NFTA_DYNSET_FLAGS: dynsetFlagExpr}},
	{dataSchemas["lookup"], "lookup"}: {unread: []uint16{unix.NFTA_LOOKUP_SET_ID}},
	{dataSchemas["objref"], "objref"}: {unread: []uint16{unix.NFTA_OBJREF_SET_ID}, strings: []uint16{unix.NFTA_OBJREF_IMM_NAME, unix.NFTA_OBJREF_SET_NAME}},
	// Every element gets the expressions of its set.
	{elementSchema, ""}: {added: []uint16{elemExpressions}, strings: []uint16{unix.NFTA_SET_ELEM_OBJREF}},
	// Five packets more than the rate, when nothing was said.
	{dataSchemas["limit"], "limit"}: {defaults: map[uint16][]byte{unix.NFTA_LIMIT_BURST: be32(5)}},
	{dataSchemas["log"], "log"}:     {defaults: map[uint16][]byte{unix.NFTA_LOG_LEVEL: be32(4)}}, // warning
	// One address or port is a span of one; the flags say what is mapped.
	{dataSchemas["nat"], "nat"}: {
		copies: map[uint16]uint16{unix.NFTA_NAT_REG_ADDR_MAX: unix.NFTA_NAT_REG_ADDR_MIN, unix.NFTA_NAT_REG_PROTO_MAX: unix.NFTA_NAT_REG_PROTO_MIN},
		bits:   map[uint16]uint32{unix.NFTA_NAT_FLAGS: 3},
	},
	{dataSchemas["masq"], "masq"}: {
		copies: map[uint16]uint16{unix.NFTA_MASQ_REG_PROTO_MAX: unix.NFTA_MASQ_REG_PROTO_MIN},
		bits:   map[uint16]uint32{unix.NFTA_MASQ_FLAGS: 2},
	},
	{dataSchemas["redir"], "redir"}: {
		copies: map[uint16]uint16{unix.NFTA_REDIR_REG_PROTO_MAX: unix.NFTA_REDIR_REG_PROTO_MIN},
		bits:   map[uint16]uint32{unix.NFTA_REDIR_FLAGS: 2},
	},
	// A reset has no code.
	{dataSchemas["reject"], "reject"}: {
		ignored: map[uint16]Attr{unix.NFTA_REJECT_ICMP_CODE: {unix.NFTA_REJECT_TYPE, be32(unix.NFT_REJECT_TCP_RST)}},
	},
	{dataSchemas["match"], "match"}:   {cleared: []uint16{unix.NFTA_MATCH_INFO}},
	{dataSchemas["target"], "target"}: {cleared: []uint16{unix.NFTA_TARGET_INFO}},
}

// Locate returns the name of the expression at an offset of a message, as
// [Failure] gives it, "" when the offset is not inside an expression.
func Locate(m netlink.Message, offset int) string {
	at := offset - unix.NLMSG_HDRLEN - headerLen
	if at < 0 || len(m.Data) < headerLen {
		return ""
	}
	kind, _ := Kind(m)
	return locate(m.Data[headerLen:], at, messageSchemas[kind], "")
}

func locate(b []byte, at int, level *schema, name string) string {
	if level == nil {
		return name
	}
	attrs := parseAttributes(b)
	if level.expression {
		name = FindString(attrs, unix.NFTA_EXPR_NAME)
	}
	start := 0
	for _, a := range attrs {
		end := start + unix.SizeofNlAttr + align(len(a.Data))
		if at >= start && at < end {
			inside, _ := level.inside(attrs, a.Type)
			return locate(a.Data, at-start-unix.SizeofNlAttr, inside, name)
		}
		start = end
	}
	return name
}
