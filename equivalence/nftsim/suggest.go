package nftsim

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

// Suggestions returns for each rule that can be reached the tests on one way of
// jumps to it, then its own, each with settings at its boundaries. A test that
// loads something packets cannot be built to have is left out.
func (m *Machine) Suggestions() []packet.Suggestion {
	var out []packet.Suggestion
	for _, t := range m.Tables {
		ways := t.ways()
		for _, c := range t.Chains {
			way, ok := ways[c]
			if !ok {
				continue
			}
			for i, r := range c.Rules {
				tests := append([]packet.Test(nil), way.tests...)
				out = append(out, packet.Suggestion{
					Rule:  fmt.Sprintf("%s rule %d", c.describe(), i+1),
					Hooks: way.hooks,
					Tests: append(tests, t.ruleTests(r)...),
				})
			}
		}
	}
	return out
}

func (c *Chain) describe() string {
	return fmt.Sprintf("table %s %s chain %s", familyNames[c.Table.Family], c.Table.Name, c.Name)
}

// A way is how a chain is reached: from which hooks, and what has to hold on
// one way of jumps.
type way struct {
	hooks []packet.Hook
	tests []packet.Test
}

func (t *Table) ways() map[*Chain]*way {
	ways := make(map[*Chain]*way)
	var queue []*Chain
	for _, c := range t.Chains {
		if c.Base != nil && c.Base.Hook <= uint32(packet.Postrouting) {
			ways[c] = &way{hooks: []packet.Hook{packet.Hook(c.Base.Hook)}}
			queue = append(queue, c)
		}
	}
	for len(queue) > 0 {
		c := queue[0]
		queue = queue[1:]
		from := ways[c]
		for _, r := range c.Rules {
			for _, to := range targets(r) {
				next := ways[to]
				if next == nil {
					tests := append([]packet.Test(nil), from.tests...)
					next = &way{tests: append(tests, t.ruleTests(r)...)}
					ways[to] = next
				}
				grown := false
				for _, h := range from.hooks {
					if !contains(next.hooks, h) {
						next.hooks = append(next.hooks, h)
						grown = true
					}
				}
				if grown {
					queue = append(queue, to)
				}
			}
		}
	}
	return ways
}

func contains(hooks []packet.Hook, h packet.Hook) bool {
	for _, at := range hooks {
		if at == h {
			return true
		}
	}
	return false
}

// targets lists the chains that a rule can jump to.
func targets(r *Rule) []*Chain {
	var out []*Chain
	for _, i := range r.Instructions {
		switch i := i.(type) {
		case *Immediate:
			if i.Verdict != nil && i.Verdict.to != nil {
				out = append(out, i.Verdict.to)
			}
		case *Lookup:
			for _, e := range i.Set.Elements {
				if e.Verdict != nil && e.Verdict.to != nil {
					out = append(out, e.Verdict.to)
				}
			}
		}
	}
	return out
}

// An origin is where the content of a register comes from.
type origin struct {
	kind   originKind
	key    uint32 // meta or ct key, payload base
	offset int
	size   int
	number bool   // in host byte order
	mask   []byte // nil for none
}

type originKind uint8

const (
	inPayload originKind = iota + 1
	inMeta
	inCt
)

// seen is what is known while the instructions of a rule are read.
type seen struct {
	table    *Table
	version  int // 0 while it is open
	protocol uint8
	regs     map[Register]origin
}

// ruleTests lists the tests of a rule.
func (t *Table) ruleTests(r *Rule) []packet.Test {
	s := &seen{table: t, regs: make(map[Register]origin)}
	switch t.Family {
	case familyIPv4:
		s.version = 4
	case familyIPv6:
		s.version = 6
	}
	var tests []packet.Test
	add := func(hold, fail []packet.Setting) {
		if len(hold)+len(fail) > 0 {
			tests = append(tests, packet.Test{Hold: hold, Fail: fail})
		}
	}
	for _, i := range r.Instructions {
		switch i := i.(type) {
		case *PayloadLoad:
			s.regs[i.To] = origin{kind: inPayload, key: uint32(i.Base), offset: i.Offset, size: i.Len}
		case *MetaLoad:
			s.regs[i.To] = origin{kind: inMeta, key: uint32(i.Key), number: !isName(uint32(i.Key))}
		case *CtLoad:
			s.regs[i.To] = origin{kind: inCt, key: uint32(i.Key), number: true}
		case *Byteorder:
			p := s.regs[i.From]
			p.number = i.ToHost
			s.regs[i.To] = p
		case *Bitwise:
			p := s.regs[i.From]
			if i.Op != MaskXor || p.mask != nil || len(bytes.Trim(i.Xor, "\x00")) > 0 {
				p = origin{}
			}
			p.mask = i.Mask
			s.regs[i.To] = p
		case *Cmp:
			s.learn(i)
			add(s.cmp(i))
		case *Range:
			hold := s.at(i.From, i.Low, i.High)
			fail := s.at(i.From, step(i.Low, -1), step(i.High, 1))
			if i.Not {
				hold, fail = fail, hold
			}
			add(hold, fail)
		case *Lookup:
			hold, fail := s.lookup(i)
			if i.Not {
				hold, fail = fail, hold
			}
			add(hold, fail)
		}
	}
	return tests
}

// isName reports whether a meta key is a name, which stands in a register as
// bytes.
func isName(key uint32) bool {
	return key == unix.NFT_META_IIFNAME || key == unix.NFT_META_OIFNAME
}

// learn keeps what later loads depend on: IP version and protocol.
func (s *seen) learn(c *Cmp) {
	p := s.regs[c.From]
	if c.Op != unix.NFT_CMP_EQ || p.kind != inMeta || len(c.Data) == 0 {
		return
	}
	switch p.key {
	case unix.NFT_META_L4PROTO:
		s.protocol = c.Data[0]
	case unix.NFT_META_NFPROTO:
		s.version = map[byte]int{familyIPv4: 4, familyIPv6: 6}[c.Data[0]]
	}
}

// cmp returns settings at the boundaries of a comparison.
func (s *seen) cmp(c *Cmp) (hold, fail []packet.Setting) {
	p := s.regs[c.From]
	if isNameTest(p) {
		return s.name(c, p)
	}
	switch c.Op {
	case unix.NFT_CMP_EQ, unix.NFT_CMP_NEQ:
		mask := p.mask
		if mask == nil {
			mask = bytes.Repeat([]byte{0xff}, len(c.Data))
		}
		hold = s.at(c.From, c.Data)
		open := bytes.Clone(c.Data)
		for i := range min(len(open), len(mask)) {
			open[i] |= ^mask[i]
		}
		if !bytes.Equal(open, c.Data) {
			hold = append(hold, s.at(c.From, open)...)
		}
		for _, flipped := range flips(c.Data, mask) {
			fail = append(fail, s.at(c.From, flipped)...)
		}
		if c.Op == unix.NFT_CMP_NEQ {
			hold, fail = fail, hold
		}
	case unix.NFT_CMP_LT:
		hold, fail = s.at(c.From, step(c.Data, -1)), s.at(c.From, c.Data)
	case unix.NFT_CMP_LTE:
		hold, fail = s.at(c.From, c.Data), s.at(c.From, step(c.Data, 1))
	case unix.NFT_CMP_GT:
		hold, fail = s.at(c.From, step(c.Data, 1)), s.at(c.From, c.Data)
	case unix.NFT_CMP_GTE:
		hold, fail = s.at(c.From, c.Data), s.at(c.From, step(c.Data, -1))
	}
	return hold, fail
}

func isNameTest(p origin) bool { return p.kind == inMeta && isName(p.key) }

// name returns device names for a comparison with a whole name or with the
// beginning of one.
func (s *seen) name(c *Cmp, p origin) (hold, fail []packet.Setting) {
	name := string(bytes.TrimRight(c.Data, "\x00"))
	if name == "" {
		return nil, nil
	}
	holding, failing := []string{name}, []string{name + "1", "x" + name[1:]}
	if len(name) == len(c.Data) && len(name) < 16 {
		holding, failing = []string{name + "0", name}, []string{"x" + name, name[:len(name)-1] + "_"}
	}
	for _, n := range holding {
		hold = append(hold, s.setting(p, []byte(n))...)
	}
	for _, n := range failing {
		if len(n) < 16 {
			fail = append(fail, s.setting(p, []byte(n))...)
		}
	}
	if c.Op == unix.NFT_CMP_NEQ {
		hold, fail = fail, hold
	}
	return hold, fail
}

// lookup returns settings for the elements of a set.
func (s *seen) lookup(l *Lookup) (hold, fail []packet.Setting) {
	const most = 24
	for i, e := range l.Set.Elements {
		if i == most {
			break
		}
		switch {
		case len(l.Set.FieldLens) > 1:
			hold = append(hold, s.tuple(l, e.Key)...)
			if e.KeyEnd != nil {
				hold = append(hold, s.tuple(l, e.KeyEnd)...)
			}
		case e.End:
			hold = append(hold, s.at(l.From, step(e.Key, -1))...)
			fail = append(fail, s.at(l.From, e.Key)...)
		default:
			hold = append(hold, s.at(l.From, e.Key)...)
			fail = append(fail, s.at(l.From, step(e.Key, -1), step(e.Key, 1))...)
		}
	}
	return hold, fail
}

// tuple sets all fields of a concatenation.
func (s *seen) tuple(l *Lookup, key []byte) []packet.Setting {
	var all []packet.Setting
	at := 0
	for _, size := range l.Set.FieldLens {
		padded := (size + wordSize - 1) / wordSize * wordSize
		if at+size > len(key) {
			return nil
		}
		one := s.at(l.From+Register(at/wordSize), key[at:at+size])
		all = append(all, one...)
		at += padded
	}
	if len(all) == 0 {
		return nil
	}
	name := ""
	for _, set := range all {
		name += set.Name + ", "
	}
	return []packet.Setting{{Name: name, Apply: func(spec *packet.Spec) {
		for _, set := range all {
			set.Apply(spec)
		}
	}}}
}

// at makes settings that bring values into a register.
func (s *seen) at(r Register, values ...[]byte) []packet.Setting {
	p, ok := s.regs[r]
	if !ok {
		return nil
	}
	var out []packet.Setting
	for _, v := range values {
		if p.number {
			v = reversed(v)
		}
		out = append(out, s.setting(p, v)...)
	}
	return out
}

// setting makes a setting that gives an origin a value, first byte first.
func (s *seen) setting(p origin, value []byte) []packet.Setting {
	set := s.property(p)
	if set == nil {
		return nil
	}
	v := bytes.Clone(value)
	return []packet.Setting{{
		Name:  fmt.Sprintf("nft %d/%d/%d v%d p%d %s", p.kind, p.key, p.offset, s.version, s.protocol, hex.EncodeToString(v)),
		Apply: func(spec *packet.Spec) { set(spec, v) },
	}}
}

// flips returns the value with bits of the mask flipped one at a time: all of a
// narrow mask, those at the edges of a wide one.
func flips(value, mask []byte) [][]byte {
	var at []int
	for i := 0; i < 8*min(len(value), len(mask)); i++ {
		if mask[i/8]&(0x80>>(i%8)) != 0 {
			at = append(at, i)
		}
	}
	const most = 10
	var out [][]byte
	for n, i := range at {
		if len(at) > most && n >= 2 && n < len(at)-2 && n%8 != 0 {
			continue
		}
		v := bytes.Clone(value)
		v[i/8] ^= 0x80 >> (i % 8)
		out = append(out, v)
	}
	return out
}

// step adds 1 or -1 to a number whose first byte weighs most, wrapping around.
func step(value []byte, by int) []byte {
	v := bytes.Clone(value)
	for i := len(v) - 1; i >= 0; i-- {
		old := v[i]
		v[i] = byte(int(old) + by)
		if by > 0 && v[i] != 0 || by < 0 && old != 0 {
			break
		}
	}
	return v
}

func reversed(b []byte) []byte {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		return b
	}
	out := make([]byte, len(b))
	for i := range b {
		out[len(b)-1-i] = b[i]
	}
	return out
}

// number reads up to eight bytes as a number.
func number(b []byte) uint64 {
	var n uint64
	for _, c := range b[max(0, len(b)-8):] {
		n = n<<8 | uint64(c)
	}
	return n
}

// property returns what gives a packet to be built the content of an origin, or
// nil.
func (s *seen) property(p origin) func(*packet.Spec, []byte) {
	switch p.kind {
	case inMeta:
		return metaProperties[p.key]
	case inCt:
		return ctProperties[p.key]
	case inPayload:
		switch p.key {
		case unix.NFT_PAYLOAD_LL_HEADER:
			if p.offset == 6 {
				return func(spec *packet.Spec, v []byte) {
					l := packet.Link{Dst: [6]byte{2, 0, 0, 0, 0, 1}}
					copy(l.Src[:], v)
					spec.Link = &l
				}
			}
		case unix.NFT_PAYLOAD_NETWORK_HEADER:
			return s.networkProperty(p)
		case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
			return s.transportProperty(p)
		}
	}
	return nil
}

// networkProperty is a part of an IP header. Addresses can be loaded in part.
func (s *seen) networkProperty(p origin) func(*packet.Spec, []byte) {
	version := s.version
	if version == 0 && p.size == 16 {
		version = 6
	}
	addr := func(start, size int, set func(*packet.Spec, netip.Addr)) func(*packet.Spec, []byte) {
		return func(spec *packet.Spec, v []byte) {
			raw := make([]byte, size)
			copy(raw[p.offset-start:], v)
			a, _ := netip.AddrFromSlice(raw)
			set(spec, a)
			spec.Version = version
		}
	}
	src := func(spec *packet.Spec, a netip.Addr) { spec.Src = a }
	dst := func(spec *packet.Spec, a netip.Addr) { spec.Dst = a }
	switch at := p.offset; {
	case version == 4 && at >= 12 && at < 16:
		return addr(12, 4, src)
	case version == 4 && at >= 16 && at < 20:
		return addr(16, 4, dst)
	case version == 6 && at >= 8 && at < 24:
		return addr(8, 16, src)
	case version == 6 && at >= 24 && at < 40:
		return addr(24, 16, dst)
	case version == 4 && at == 8 || version == 6 && at == 7:
		return func(spec *packet.Spec, v []byte) {
			if spec.TTL = int(v[0]); v[0] == 0 {
				spec.TTL = -1
			}
		}
	case version == 4 && at == 9:
		return func(spec *packet.Spec, v []byte) { spec.Proto = v[0] }
	case version == 4 && at == 1:
		return func(spec *packet.Spec, v []byte) { spec.TOS = v[0] }
	case version == 4 && at == 6:
		return func(spec *packet.Spec, v []byte) {
			n := uint16(number(v))
			spec.FragmentOffset, spec.MoreFragments = n&0x1fff, n&0x2000 != 0
			spec.Fragmented = spec.FragmentOffset != 0 || spec.MoreFragments
			if spec.Fragmented && len(spec.Payload) < 32 {
				spec.Payload = make([]byte, 32)
			}
		}
	}
	return nil
}

// transportProperty is a part of a transport header, by its protocol.
func (s *seen) transportProperty(p origin) func(*packet.Spec, []byte) {
	icmp := s.protocol == packet.ICMP || s.protocol == packet.ICMPv6
	switch at := p.offset; {
	case icmp && at == 0:
		return func(spec *packet.Spec, v []byte) {
			spec.Type = v[0]
			if len(v) > 1 {
				spec.Code = v[1]
			}
		}
	case icmp && at == 1:
		return func(spec *packet.Spec, v []byte) { spec.Code = v[0] }
	case at == 0 && p.size == 4:
		return func(spec *packet.Spec, v []byte) {
			spec.SrcPort, spec.DstPort = uint16(number(v[:2])), uint16(number(v[2:]))
		}
	case at == 0:
		return func(spec *packet.Spec, v []byte) { spec.SrcPort = uint16(number(v)) }
	case at == 2:
		return func(spec *packet.Spec, v []byte) { spec.DstPort = uint16(number(v)) }
	case at == 13:
		return func(spec *packet.Spec, v []byte) { spec.TCPFlags = v[0] }
	}
	return nil
}

var metaProperties = map[uint32]func(*packet.Spec, []byte){
	unix.NFT_META_MARK:    func(s *packet.Spec, v []byte) { s.Mark = uint32(number(v)) },
	unix.NFT_META_L4PROTO: func(s *packet.Spec, v []byte) { s.Proto = v[0] },
	unix.NFT_META_NFPROTO: func(s *packet.Spec, v []byte) {
		switch v[0] {
		case familyIPv4:
			s.Version = 4
		case familyIPv6:
			s.Version = 6
		}
	},
	unix.NFT_META_IIFNAME: func(s *packet.Spec, v []byte) { s.In = string(bytes.TrimRight(v, "\x00")) },
	unix.NFT_META_OIFNAME: func(s *packet.Spec, v []byte) { s.Out = string(bytes.TrimRight(v, "\x00")) },
	unix.NFT_META_PKTTYPE: func(s *packet.Spec, v []byte) { s.PktType = v[0] & 7 },
	unix.NFT_META_LEN:     func(s *packet.Spec, v []byte) { s.Length = int(number(v) & 0xffff) },
	unix.NFT_META_SKUID:   func(s *packet.Spec, v []byte) { owned(s).UID = uint32(number(v)) },
	unix.NFT_META_SKGID:   func(s *packet.Spec, v []byte) { owned(s).GID = uint32(number(v)) },
	unix.NFT_META_PRANDOM: func(s *packet.Spec, v []byte) { s.Random = []uint32{uint32(number(v))} },
}

var ctProperties = map[uint32]func(*packet.Spec, []byte){
	unix.NFT_CT_STATE: func(s *packet.Spec, v []byte) {
		// The bits are those of nft: invalid, established, related, new, untracked.
		for _, b := range []struct {
			bit   uint64
			state packet.State
		}{{1, packet.Invalid}, {2, packet.Established}, {4, packet.Related}, {8, packet.New}, {64, packet.Untracked}} {
			if number(v)&b.bit != 0 {
				s.State = b.state
			}
		}
	},
	unix.NFT_CT_STATUS:    func(s *packet.Spec, v []byte) { s.Status = uint32(number(v)) },
	unix.NFT_CT_MARK:      func(s *packet.Spec, v []byte) { s.ConnMark = uint32(number(v)) },
	unix.NFT_CT_DIRECTION: func(s *packet.Spec, v []byte) { s.State, s.Reply = packet.Established, number(v) == 1 },
}

// owned gives the packet a socket of its own and makes it a local one.
func owned(s *packet.Spec) *packet.Socket {
	s.In = ""
	own := packet.Socket{}
	if s.Socket != nil {
		own = *s.Socket
	}
	s.Socket = &own
	return s.Socket
}
