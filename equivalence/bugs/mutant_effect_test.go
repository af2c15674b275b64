package bugs_test

import (
	"slices"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// sourceRegisters are the attributes by which expressions that write read.
var sourceRegisters = map[string]uint16{"meta": unix.NFTA_META_SREG, "ct": unix.NFTA_CT_SREG, "exthdr": exthdrSource}

// exthdrSource is NFTA_EXTHDR_SREG.
const exthdrSource = 7

// writes is for expressions that write a key.
func writes(kind uint16, key uint32) func(e expr) bool {
	return func(e expr) bool {
		k, _ := number(e.data, kind)
		return has(e.data, sourceRegisters[e.name]) && k == key
	}
}

// effectMutations change what rules do besides deciding.
var effectMutations = []mutation{
	{"log lost", "", lost("log", always)},
	{"log prefix", "", inRules("log", func(_ *program, r programRule, at int) [][]expr {
		old := nfnetlink.FindString(r.exprs[at].data, unix.NFTA_LOG_PREFIX)
		if old == "" {
			return nil
		}
		return [][]expr{
			with(r.exprs, at, unix.NFTA_LOG_PREFIX, zeroed(old[:len(old)-1])),
			with(r.exprs, at, unix.NFTA_LOG_PREFIX, zeroed(old+" ")),
		}
	})},
	{"log level, flags or group", "", inRules("log", func(_ *program, r programRule, at int) [][]expr {
		level, _ := number(r.exprs[at].data, unix.NFTA_LOG_LEVEL)
		flags, _ := number(r.exprs[at].data, unix.NFTA_LOG_FLAGS)
		return [][]expr{
			withAll(r.exprs, at, nfnetlink.Attr{Type: unix.NFTA_LOG_LEVEL, Data: be32(level ^ 1)}),
			withAll(r.exprs, at, nfnetlink.Attr{Type: unix.NFTA_LOG_FLAGS, Data: be32(flags ^ 2)}),
			withoutAttrs(withAll(r.exprs, at, nfnetlink.Attr{Type: unix.NFTA_LOG_GROUP, Data: be16(1)}), at, unix.NFTA_LOG_LEVEL, unix.NFTA_LOG_FLAGS),
		}
	})},
	{"mark not set", "", lost("meta", writes(unix.NFTA_META_KEY, unix.NFT_META_MARK))},
	{"connection mark not set", "", lost("ct", writes(unix.NFTA_CT_KEY, unix.NFT_CT_MARK))},
	{"mark for connection mark", "", inAll(
		inRules("meta", func(_ *program, r programRule, at int) [][]expr {
			e := r.exprs[at]
			if !writes(unix.NFTA_META_KEY, unix.NFT_META_MARK)(e) {
				return nil
			}
			list := slices.Clone(r.exprs)
			list[at] = expr{"ct", []nfnetlink.Attr{{Type: unix.NFTA_CT_KEY, Data: be32(unix.NFT_CT_MARK)},
				{Type: unix.NFTA_CT_SREG, Data: nfnetlink.Find(e.data, unix.NFTA_META_SREG)}}}
			return [][]expr{list}
		}),
		inRules("ct", func(_ *program, r programRule, at int) [][]expr {
			e := r.exprs[at]
			if !writes(unix.NFTA_CT_KEY, unix.NFT_CT_MARK)(e) {
				return nil
			}
			list := slices.Clone(r.exprs)
			list[at] = expr{"meta", []nfnetlink.Attr{{Type: unix.NFTA_META_KEY, Data: be32(unix.NFT_META_MARK)},
				{Type: unix.NFTA_META_SREG, Data: nfnetlink.Find(e.data, unix.NFTA_CT_SREG)}}}
			return [][]expr{list}
		}),
	)},
	{"maximum segment size not set", "", lost("exthdr", func(e expr) bool { return has(e.data, exthdrSource) })},
	{"notrack lost", "", lost("notrack", always)},
	{"two statements swapped", disjoint, swappedUnits},
	{"kind of reject", sameAnswer, inRules("reject", func(p *program, r programRule, at int) [][]expr {
		kind, _ := number(r.exprs[at].data, unix.NFTA_REJECT_TYPE)
		code := nfnetlink.Find(r.exprs[at].data, unix.NFTA_REJECT_ICMP_CODE)
		port := nfnetlink.Attr{Type: unix.NFTA_REJECT_ICMP_CODE, Data: []byte{3}}
		if kind == unix.NFT_REJECT_TCP_RST {
			return [][]expr{withAll(r.exprs, at, nfnetlink.Attr{Type: unix.NFTA_REJECT_TYPE, Data: be32(unix.NFT_REJECT_ICMP_UNREACH)}, port)}
		}
		if len(code) != 1 {
			return nil
		}
		return [][]expr{
			withoutAttrs(with(r.exprs, at, unix.NFTA_REJECT_TYPE, be32(unix.NFT_REJECT_TCP_RST)), at, unix.NFTA_REJECT_ICMP_CODE),
			with(r.exprs, at, unix.NFTA_REJECT_ICMP_CODE, []byte{code[0] ^ 1}),
		}
	})},
}

// units are the parts of a rule that stand for themselves: what loads registers
// with what tests or writes them, as indices of their ends.
func units(list []expr) []int {
	var ends []int
	closed := false
	for i, e := range list {
		_, fresh := loads(e)
		fresh = fresh && e.name != "bitwise" && e.name != "byteorder" || e.name == "limit" || e.name == "log" || e.name == "notrack" || e.name == "counter"
		if _, ok := verdictIn(e); ok {
			fresh = true
		}
		if closed && fresh {
			ends, closed = append(ends, i), false
		}
		_, to := loads(e)
		closed = closed || !to
	}
	return append(ends, len(list))
}

// swappedUnits swaps neighbours in a rule that do not decide.
func swappedUnits(p *program) []place {
	var list []place
	for _, r := range p.rules {
		ends := units(r.exprs)
		from := 0
		to := place{where: r.String(), rule: r}
		for i := 0; i+1 < len(ends); i++ {
			first, second := r.exprs[from:ends[i]], r.exprs[ends[i]:ends[i+1]]
			from = ends[i]
			if decides(first) || decides(second) {
				continue
			}
			to.ways = append(to.ways, rewritten(r, slices.Concat(r.exprs[:ends[i]-len(first)], second, first, r.exprs[ends[i+1]:])))
		}
		if len(to.ways) > 0 {
			list = append(list, to)
		}
	}
	return list
}

// decides says whether expressions can end the way through the chain.
func decides(list []expr) bool {
	return slices.ContainsFunc(list, func(e expr) bool {
		_, ok := verdictIn(e)
		return ok || slices.Contains([]string{"nat", "masq", "redir", "reject"}, e.name)
	})
}

// The attributes of ports, and of flags, by expression.
var natPorts = map[string][2]uint16{
	"nat":   {unix.NFTA_NAT_REG_PROTO_MIN, unix.NFTA_NAT_REG_PROTO_MAX},
	"masq":  {unix.NFTA_MASQ_REG_PROTO_MIN, unix.NFTA_MASQ_REG_PROTO_MAX},
	"redir": {unix.NFTA_REDIR_REG_PROTO_MIN, unix.NFTA_REDIR_REG_PROTO_MAX},
}

var natFlags = map[string]uint16{"nat": unix.NFTA_NAT_FLAGS, "masq": unix.NFTA_MASQ_FLAGS, "redir": unix.NFTA_REDIR_FLAGS}

// Flags of NAT, NF_NAT_RANGE_*.
const (
	natProtoSpecified = 2
	natRandom         = 4
	natPersistent     = 8
	natFullyRandom    = 16
	natNetmap         = 64
)

// translating is for the expressions of NAT.
func translating(ways func(p *program, r programRule, at int) [][]expr) func(p *program) []place {
	return inAll(inRules("nat", ways), inRules("masq", ways), inRules("redir", ways))
}

// natMutations change translations of addresses.
var natMutations = []mutation{
	{"translation lost", "", inAll(lost("nat", always), lost("masq", always), lost("redir", always))},
	{"port of a translation lost", "", translating(func(_ *program, r programRule, at int) [][]expr {
		e := r.exprs[at]
		ports, flags := natPorts[e.name], natFlags[e.name]
		if !has(e.data, ports[0]) || e.name == "nat" && !has(e.data, unix.NFTA_NAT_REG_ADDR_MIN) {
			return nil
		}
		list := withoutAttrs(r.exprs, at, ports[0], ports[1])
		if old, ok := number(e.data, flags); ok {
			list = with(list, at, flags, be32(old&^natProtoSpecified))
		}
		return [][]expr{list}
	})},
	{"flags of a translation", "", translating(func(_ *program, r programRule, at int) [][]expr {
		kind := natFlags[r.exprs[at].name]
		old, _ := number(r.exprs[at].data, kind)
		var ways [][]expr
		for _, bit := range []uint32{natRandom, natPersistent, natFullyRandom} {
			ways = append(ways, withAll(r.exprs, at, nfnetlink.Attr{Type: kind, Data: be32(old ^ bit)}))
		}
		if old&natNetmap != 0 {
			ways = append(ways, with(r.exprs, at, kind, be32(old&^natNetmap)))
		}
		return ways
	})},
	{"range of a translation lost", "", translating(func(_ *program, r programRule, at int) [][]expr {
		e := r.exprs[at]
		var ways [][]expr
		pairs := [][2]uint16{natPorts[e.name]}
		if e.name == "nat" {
			pairs = append(pairs, [2]uint16{unix.NFTA_NAT_REG_ADDR_MIN, unix.NFTA_NAT_REG_ADDR_MAX})
		}
		for _, p := range pairs {
			low, ok := number(e.data, p[0])
			if high, both := number(e.data, p[1]); ok && both && low != high {
				ways = append(ways, with(r.exprs, at, p[1], be32(low)))
			}
		}
		return ways
	})},
	{"family of a translation", "", inRules("nat", func(p *program, r programRule, at int) [][]expr {
		family, _ := number(r.exprs[at].data, unix.NFTA_NAT_FAMILY)
		address, ok := number(r.exprs[at].data, unix.NFTA_NAT_REG_ADDR_MIN)
		if p.family != unix.NFPROTO_INET || family != unix.NFPROTO_IPV4 || !ok {
			return nil
		}
		list := with(r.exprs, at, unix.NFTA_NAT_FAMILY, be32(unix.NFPROTO_IPV6))
		for i, e := range list {
			if to, ok := loads(e); ok && e.name == "immediate" && to == address {
				list = with(list, i, unix.NFTA_IMMEDIATE_DATA, value(append(constantOf(e.data, unix.NFTA_IMMEDIATE_DATA), make([]byte, 12)...)))
			}
		}
		return [][]expr{list}
	})},
}
