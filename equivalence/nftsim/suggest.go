package nftsim

import (
	"bytes"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

// Suggestions returns for each rule that can be reached from a hook the tests
// on one way of jumps to it, then its own, with settings of packets at their
// boundaries. They are found by following what is loaded into registers.
func (m *Machine) Suggestions() []packet.Suggestion {
	var all []packet.Suggestion
	total, at := 0, 0
	for _, t := range m.Tables {
		for _, c := range t.Chains {
			total += len(c.Rules)
		}
	}
	for _, t := range m.Tables {
		for _, base := range t.Chains {
			if base.Base == nil || base.Base.Hook > uint32(packet.Postrouting) || t.Family == familyNetdev {
				continue
			}
			hooks := []packet.Hook{packet.Hook(base.Base.Hook)}
			all = append(all, packet.Suggestion{Rule: "policy of " + t.Name + " " + base.Name, Hooks: hooks})
			for _, w := range waysFrom(base) {
				for _, r := range w.chain.Rules {
					if at++; !packet.Suggested(at%max(total, 1), total) {
						continue
					}
					own, _ := testsOf(r)
					name := fmt.Sprintf("message %d %s", r.Message, r.Comment)
					all = append(all, packet.Suggestion{Rule: name, Hooks: hooks, Tests: slices.Concat(w.tests, own)})
				}
			}
		}
	}
	return all
}

// A way is a chain with the tests that lead to it.
type way struct {
	chain *Chain
	tests []packet.Test
}

// waysFrom returns the chains that a base chain leads to, itself first.
func waysFrom(base *Chain) []way {
	ways := []way{{chain: base}}
	seen := map[*Chain]bool{base: true}
	for n := 0; n < len(ways); n++ {
		for _, r := range ways[n].chain.Rules {
			own, jumps := testsOf(r)
			for _, j := range jumps {
				if seen[j.chain] {
					continue
				}
				seen[j.chain] = true
				ways = append(ways, way{chain: j.chain, tests: slices.Concat(ways[n].tests, own, j.tests)})
			}
		}
	}
	return ways
}

// follower follows the registers of a rule.
type follower struct {
	family  uint8
	version int
	proto   int // the transport protocol, -1 when not known
	regs    map[Register]content
	tests   []packet.Test
	jumps   []way
}

// content is a value in registers: a field of the packet, masked and turned.
type content struct {
	set     func(s *packet.Spec, value []byte)
	name    string
	size    int
	mask    []byte // bits of the field that are left; nil is all
	xor     []byte
	turned  bool // from host to network byte order
	protoOf bool // it is the transport protocol
	family  bool // it is the protocol family
	isName  bool // it is the name of a device
}

// testsOf returns the tests of a rule, and where it jumps to.
func testsOf(r *Rule) ([]packet.Test, []way) {
	f := &follower{family: r.Chain.Table.Family, proto: -1, regs: map[Register]content{}}
	f.version = map[uint8]int{familyIPv4: 4, familyIPv6: 6}[f.family]
	for _, i := range r.Instructions {
		f.follow(i)
	}
	return f.tests, f.jumps
}

// follow takes one instruction into account.
func (f *follower) follow(i Instruction) {
	switch i := i.(type) {
	case *Bitwise:
		c, ok := f.regs[i.From]
		if delete(f.regs, i.To); ok && i.Op == MaskXor && c.mask == nil && !c.turned && c.size == i.Len {
			c.mask, c.xor = i.Mask, i.Xor
			f.regs[i.To] = c
		}
	case *Byteorder:
		c, ok := f.regs[i.From]
		if delete(f.regs, i.To); ok && i.Size == c.size && i.Len == c.size {
			c.turned = !c.turned
			f.regs[i.To] = c
		}
	case *Cmp:
		f.compare(i)
	case *Range:
		candidates := [][]byte{i.Low, i.High, add(i.Low, -1), add(i.High, 1)}
		f.test(i.From, len(i.Low), candidates, func(v []byte) bool {
			return (bytes.Compare(v, i.Low) >= 0 && bytes.Compare(v, i.High) <= 0) != i.Not
		})
	case *Lookup:
		f.lookup(i)
	case *Immediate:
		if i.Verdict != nil && i.Verdict.to != nil {
			f.jumps = append(f.jumps, way{chain: i.Verdict.to})
		}
	default:
		if l, ok := i.(loader); ok {
			to, _ := l.loads()
			delete(f.regs, to)
			if c, ok := f.field(i); ok {
				f.regs[to] = c
			}
		}
	}
}

// add adds a number to a constant as if it were one big number.
func add(b []byte, n int) []byte {
	sum := slices.Clone(b)
	for k := len(sum) - 1; k >= 0 && n != 0; k-- {
		v := int(sum[k]) + n
		sum[k] = byte(v)
		n = v >> 8
	}
	return sum
}

// compare makes a test of a comparison. Its boundary values are the constant,
// its neighbours, and the constant with each bit turned that is compared.
func (f *follower) compare(i *Cmp) {
	c, known := f.regs[i.From]
	candidates := c.around(i.Data)
	f.test(i.From, len(i.Data), candidates, func(v []byte) bool {
		return cmpOps[i.Op].holds(bytes.Compare(v, i.Data))
	})
	if known && i.Op == unix.NFT_CMP_EQ && len(i.Data) == 1 {
		if c.protoOf {
			f.proto = int(i.Data[0])
		}
		if c.family {
			f.version = map[uint8]int{familyIPv4: 4, familyIPv6: 6}[i.Data[0]]
		}
	}
}

// around returns a constant that the field is compared with, and values next to
// it. Those next to a device name are names: a prefix comes without the rest.
func (c *content) around(data []byte) [][]byte {
	if c.isName {
		list := [][]byte{data}
		name := bytes.TrimRight(data, "\x00")
		if n := len(name); n > 0 {
			for _, other := range []string{"x" + string(name[1:]), string(name[:n-1]) + "_", string(name) + "1"} {
				if len(other) <= len(data) {
					list = append(list, append([]byte(other), make([]byte, len(data)-len(other))...))
				}
			}
		}
		return list
	}
	list := [][]byte{data, add(data, 1), add(data, -1)}
	for k := range 8 * len(data) {
		one := make([]byte, len(data))
		one[k/8] = 0x80 >> (k % 8)
		if c.mask != nil && (k/8 >= len(c.mask) || c.mask[k/8]&one[k/8] == 0) {
			continue
		}
		if c.mask == nil && k >= 8 && k%8 != 0 && k < 8*len(data)-4 {
			continue // of wide fields, the bits at the edges of bytes
		}
		flipped := slices.Clone(data)
		flipped[k/8] ^= one[k/8]
		list = append(list, flipped)
	}
	return list
}

// maxElements bounds how many elements of a set are suggested.
const maxElements = 24

// lookup makes a test of a lookup, and of each chain of a verdict map a way.
func (f *follower) lookup(i *Lookup) {
	var candidates [][]byte
	for n, e := range i.Set.Elements {
		if n == maxElements {
			break
		}
		for _, key := range [][]byte{e.Key, e.KeyEnd} {
			if key == nil {
				continue
			}
			if c := f.regs[i.From]; c.isName {
				candidates = append(candidates, c.around(key)...)
			} else {
				candidates = append(candidates, key, add(key, 1), add(key, -1))
			}
		}
	}
	holds := func(v []byte) bool { return (i.Set.lookup(v, 0) != nil) != i.Not }
	f.test(i.From, i.Set.KeyLen, candidates, holds)
	if !i.Maps {
		return
	}
	if !i.Set.Verdicts {
		delete(f.regs, i.To)
		return
	}
	for _, e := range i.Set.Elements {
		if e.Verdict != nil && e.Verdict.to != nil && e.Key != nil {
			to := e.Verdict.to
			if s, ok := f.setting(i.From, e.Key); ok {
				f.jumps = append(f.jumps, way{to, []packet.Test{{Hold: []packet.Setting{s}}}})
			}
		}
	}
}

// test sorts candidates by whether they hold, as settings.
func (f *follower) test(from Register, n int, candidates [][]byte, holds func([]byte) bool) {
	var t packet.Test
	seen := map[string]bool{}
	for _, v := range candidates {
		if seen[string(v)] || len(v) != n {
			continue
		}
		seen[string(v)] = true
		s, ok := f.setting(from, v)
		switch {
		case !ok:
		case holds(v):
			t.Hold = append(t.Hold, s)
		default:
			t.Fail = append(t.Fail, s)
		}
	}
	if len(t.Hold)+len(t.Fail) > 0 {
		f.tests = append(f.tests, t)
	}
}

// setting gives the fields in registers values, one field after the other.
func (f *follower) setting(from Register, value []byte) (packet.Setting, bool) {
	var parts []func(*packet.Spec)
	name := ""
	for at := 0; at < len(value); {
		c, ok := f.regs[from+Register(at/wordSize)]
		if !ok {
			return packet.Setting{}, false
		}
		n := min(c.size, len(value)-at)
		raw, ok := c.undo(value[at : at+n])
		if !ok {
			return packet.Setting{}, false
		}
		parts = append(parts, func(s *packet.Spec) { c.set(s, raw) })
		name += fmt.Sprintf("%s v%d %x ", c.name, f.version, raw)
		at += (c.size + wordSize - 1) / wordSize * wordSize
	}
	return packet.Setting{Name: name, Apply: func(s *packet.Spec) {
		for _, set := range parts {
			set(s)
		}
	}}, true
}

// undo finds the field's bytes that make a value in the register; what the
// mask hides is zero. ok is false when there are none.
func (c *content) undo(value []byte) (raw []byte, ok bool) {
	raw = make([]byte, c.size)
	copy(raw, value)
	if c.turned {
		slices.Reverse(raw)
	}
	for k := range raw {
		if c.mask != nil && k < len(c.mask) {
			raw[k] ^= c.xor[k]
			if raw[k]&^c.mask[k] != 0 {
				return nil, false
			}
		}
	}
	return raw, true
}
