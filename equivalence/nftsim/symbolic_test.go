package nftsim_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// A compiled machine is one with the functions of its stages.
type compiled struct {
	space  *symbolic.Space
	stages []symbolic.Stage
	f      []bdd.Ref
	run    []packet.Stage
	m      *nftsim.Machine
}

func compileMachine(t testing.TB, m *nftsim.Machine, version int) *compiled {
	t.Helper()
	tests := &symbolic.NameTests{}
	instances := m.Collect(version, tests)
	slots := make([]symbolic.Slot, len(instances))
	for i := range slots {
		slots[i] = symbolic.Slot(i)
	}
	c := &compiled{m: m, space: symbolic.NewSpace(bdd.New(bdd.Options{MaxNodes: 12_000_000}), version, tests, instances)}
	c.space.Firm = true
	c.stages = m.Compile(c.space, slots).Stages
	for i := range c.stages {
		s := &c.stages[i]
		c.f = append(c.f, c.space.Function(s))
		i := slices.IndexFunc(m.Stages(), func(r packet.Stage) bool { return r.Name == s.Name })
		if i < 0 {
			t.Fatalf("there is no stage %s", s.Name)
		}
		c.run = append(c.run, m.Stages()[i])
	}
	return c
}

// point returns the values of the variables on a packet, without the answers of
// instances.
func (c *compiled) point(f *packet.Flight) func(l bdd.Level) (value, ok bool) {
	bound := c.space.Bind(f)
	types := map[symbolic.Group]uint8{}
	ends := packet.Endpoints(f.Data)
	link := f.In
	if f.Hook == packet.Postrouting {
		link = f.Out
	}
	for by, device := range []string{"", f.In, f.Out} {
		groups := [][2]symbolic.Group{
			{symbolic.SourceType, symbolic.DestinationType}, {symbolic.SourceTypeIn, symbolic.DestinationTypeIn},
			{symbolic.SourceTypeOut, symbolic.DestinationTypeOut},
		}[by]
		for i, a := range []netip.Addr{ends.Src, ends.Dst} {
			if a.IsValid() {
				types[groups[i]] = uint8(nftsim.AddressType(f.Host, a, device, link))
			}
		}
	}
	return func(l bdd.Level) (bool, bool) {
		g, bit, ok := symbolic.GroupOf(l)
		if !ok {
			return false, false
		}
		if !c.space.Knows(l) {
			return types[g]>>(g.Width()-1-bit)&1 == 1, true
		}
		return bound(l), true
	}
}

// leaves are those that a function has at a point, for some answers of the
// instances.
func (c *compiled) leaves(f bdd.Ref, point func(l bdd.Level) (bool, bool)) []symbolic.Leaf {
	seen := map[bdd.Ref]bool{}
	var list []symbolic.Leaf
	var walk func(f bdd.Ref)
	walk = func(f bdd.Ref) {
		if seen[f] {
			return
		}
		seen[f] = true
		if v, ok := c.space.Value(f); ok {
			list = append(list, c.space.LeafOf(v))
			return
		}
		v, ok := point(c.space.Level(f))
		if !ok || v {
			walk(c.space.High(f))
		}
		if !ok || !v {
			walk(c.space.Low(f))
		}
	}
	walk(f)
	return list
}

func clone(f *packet.Flight) *packet.Flight {
	own := *f
	own.Data = bytes.Clone(f.Data)
	if f.Tracking.Entry != nil {
		e := *f.Tracking.Entry
		own.Tracking.Entry = &e
	}
	return &own
}

// compare runs a packet through a stage of the machine, and returns how the
// function differs: "" when it does not. undecided says why the function or the
// machine does not decide.
func (c *compiled) compare(n int, f *packet.Flight) (difference, undecided string) {
	before := clone(f)
	point := c.point(before)
	want := c.run[n].Run(f)
	if want == packet.Undecided {
		return "", "machine: " + strings.Join(f.Unknown, ", ")
	}
	var all []string
	for _, l := range c.leaves(c.f[n], point) {
		if l.Verdict == symbolic.Undecided {
			return "", l.Why
		}
		d := c.unlike(l, point, want, before, f)
		if d == "" {
			return "", ""
		}
		all = append(all, d)
	}
	return strings.Join(all, "; or "), ""
}

var stageVerdicts = map[symbolic.Verdict]packet.Verdict{symbolic.Accept: packet.Accept, symbolic.Drop: packet.Drop}

// unlike compares a leaf with what became of a packet.
func (c *compiled) unlike(l symbolic.Leaf, point func(l bdd.Level) (bool, bool), want packet.Verdict, before, after *packet.Flight) string {
	own := slices.ContainsFunc(c.space.Events(l.Effect), func(t symbolic.Token) bool {
		return t.Kind == "masquerade" || t.Kind == "redirect"
	})
	if own && after.NAT == nil {
		// The host has no address for it: the event stands for that, too.
		return ""
	}
	if stageVerdicts[l.Verdict] != want {
		return fmt.Sprintf("%v, want %v", l.Verdict, want)
	}
	cell := func(x symbolic.Cell) bool {
		l, complement, ok := x.Variable()
		if !ok {
			return x == symbolic.One
		}
		v, _ := point(l)
		return v != complement
	}
	var events, wantEvents []string
	for _, t := range c.space.Events(l.Effect) {
		switch t.Kind {
		case "log", "reject":
			events = append(events, t.Text)
		case "notrack":
			events = append(events, "notrack")
		case "zone":
			zone := 0
			for _, x := range t.Cells {
				zone *= 2
				if cell(x) {
					zone++
				}
			}
			events = append(events, fmt.Sprintf("zone %d of %s", zone, t.Text))
		case "snat", "dnat", "masquerade", "redirect":
			events = append(events, natWords(t, before.Data[0]>>4, cell))
		case "ask", "set add", "set update", "set delete", "remember", "forget":
		default:
			return "event " + t.String()
		}
	}
	for _, e := range after.Events {
		wantEvents = append(wantEvents, e.String())
	}
	if after.NAT != nil {
		wantEvents = append(wantEvents, fmt.Sprintf("%t %s", after.NAT.Destination, *after.NAT))
		if i := len(events) - 1; i >= 0 && strings.HasPrefix(events[i], "own address") {
			// The address is the host's, and not in the proof.
			wantEvents[len(wantEvents)-1] = fmt.Sprintf("own address %t ports %d-%d flags %#x", after.NAT.Destination, after.NAT.MinPort, after.NAT.MaxPort, after.NAT.Flags)
		}
	}
	if !slices.Equal(events, wantEvents) {
		return fmt.Sprintf("events %q, want %q", events, wantEvents)
	}
	return c.unlikeWrites(l, point, cell, before, after)
}

// natWords spells the event of a translation as its packet event does.
func natWords(t symbolic.Token, version byte, cell func(symbolic.Cell) bool) string {
	var address, ports bool
	var flags uint32
	cells := t.Cells
	number := func(n int) []byte {
		b := make([]byte, n)
		for i := range 8 * n {
			if cell(cells[i]) {
				b[i/8] |= 1 << (7 - i%8)
			}
		}
		cells = cells[8*n:]
		return b
	}
	e := packet.NATEvent{Destination: t.Kind == "dnat" || t.Kind == "redirect"}
	own := t.Kind == "masquerade" || t.Kind == "redirect"
	if own {
		fmt.Sscanf(t.Text, "ports %t flags 0x%x", &ports, &flags)
	} else {
		fmt.Sscanf(t.Text, "address %t ports %t flags 0x%x", &address, &ports, &flags)
	}
	if address {
		size := map[byte]int{4: 4, 6: 16}[version]
		e.Min, _ = netip.AddrFromSlice(number(size))
		e.Max, _ = netip.AddrFromSlice(number(size))
	}
	if ports {
		e.MinPort, e.MaxPort = binary.BigEndian.Uint16(number(2)), binary.BigEndian.Uint16(number(2))
	}
	e.Flags = flags
	if own {
		return fmt.Sprintf("own address %t ports %d-%d flags %#x", e.Destination, e.MinPort, e.MaxPort, e.Flags)
	}
	return fmt.Sprintf("%t %s", e.Destination, e)
}

// checksums are the places of checksums in transport headers: byte and bytes.
var checksums = map[byte][2]int{1: {2, 2}, 6: {16, 2}, 17: {6, 2}, 58: {2, 2}, 136: {6, 2}}

// unlikeWrites compares what a leaf writes with what the packet has behind the
// stage. Checksums are not written in the proof.
func (c *compiled) unlikeWrites(l symbolic.Leaf, point func(l bdd.Level) (bool, bool), cell func(symbolic.Cell) bool, before, after *packet.Flight) string {
	s := c.space
	now := c.point(after)
	proto := 0
	for _, bit := range s.Levels(symbolic.Protocol) {
		v, _ := point(bit)
		proto = proto<<1 | map[bool]int{true: 1}[v]
	}
	sum := checksums[byte(proto)]
	levels := map[bdd.Level]bool{}
	changes := func(changed bool, groups ...symbolic.Group) {
		for _, g := range groups {
			for _, l := range s.Levels(g) {
				levels[l] = levels[l] || changed
			}
		}
	}
	changes(before.Mark != after.Mark, symbolic.Mark)
	changes(before.Priority != after.Priority, symbolic.Priority)
	changes(before.Notrack != after.Notrack, symbolic.Notrack)
	changes(before.Template != after.Template, symbolic.Template)
	if e := before.Tracking.Entry; e != nil {
		changes(*e != *after.Tracking.Entry, symbolic.CTMark, symbolic.CTLabels)
	}
	if !bytes.Equal(before.Data, after.Data) {
		changes(true, symbolic.TCPOption, symbolic.MSS, symbolic.Transport, symbolic.Protocol)
		head, _ := s.NetworkLevels(0, map[int]int{4: 20, 6: 40}[s.Version])
		for at, l := range head {
			if s.Version == 6 || at/8 != 10 && at/8 != 11 {
				levels[l] = true
			}
		}
	}
	options := false
	for _, w := range s.WrittenLevels(l.Effect) {
		levels[w] = true
		g, _, _ := symbolic.GroupOf(w)
		options = options || g == symbolic.MSS || g == symbolic.TCPOption
	}
	for _, w := range slices.Sorted(mapKeys(levels)) {
		g, bit, ok := symbolic.GroupOf(w)
		switch at := bit / 8; {
		case !ok || !levels[w]:
			continue
		case g == symbolic.Transport && at >= sum[0] && at < sum[0]+sum[1]:
			continue
		case g == symbolic.Transport && at >= 20 && options:
			continue // which are named one by one
		}
		got, _ := point(w)
		if x, ok := s.Written(l.Effect, w); ok {
			if from, _, ok := x.Variable(); ok {
				if _, known := point(from); !known {
					continue // what a state answers
				}
			}
			got = cell(x)
		}
		if want, _ := now(w); got != want {
			return fmt.Sprintf("bit %d of %v is %t, want %t", bit, g, got, want)
		}
	}
	return ""
}

func mapKeys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// flightAt puts a packet before a stage.
func flightAt(r *rand.Rand, host *packet.Host, p *packet.Packet, s *packet.Stage) *packet.Flight {
	f := &packet.Flight{
		Packet: p, Host: host, Hook: s.Hook, Data: bytes.Clone(p.Data), In: p.In, Mark: p.Mark, Priority: p.Priority,
		Tracking: p.Tracking,
	}
	switch s.Hook {
	case packet.Forward, packet.Output, packet.Postrouting:
		f.Out = pick(r, "eth0", "eth1", "tun0", "lo")
	}
	if s.Hook == packet.Output || s.Hook == packet.Postrouting && r.IntN(2) == 0 {
		f.In = ""
	} else if f.In == "" {
		f.In = pick(r, "eth0", "lo")
	}
	f.Notrack = f.Tracking.State == 0 && r.IntN(3) == 0
	if e := f.Tracking.Entry; e != nil {
		own := *e
		own.Helper = pick(r, "", "", "ftp")
		own.Labels[r.IntN(16)] = byte(r.Uint32())
		own.Zone, own.Expires = pick[uint16](r, 0, 5), pick[uint32](r, 0, 12)
		f.Tracking.Entry = &own
		if r.IntN(4) == 0 {
			f.Tracking.State = packet.Related
		}
	} else if f.Tracking.State == 0 {
		f.Tracking.State = pick(r, 0, packet.Invalid, packet.Untracked)
	}
	return f
}

// A tally counts how packets compared.
type tally struct {
	ran, undecided, wrong int
	why                   map[string]int // undecided
}

// compareStages runs random packets through all stages of a batch, and counts by
// the name of the stage.
func compareStages(t *testing.T, batch []netlink.Message, r *rand.Rand, packets int) map[string]*tally {
	t.Helper()
	host := differentialHost()
	tallies := map[string]*tally{}
	machines := map[int]*compiled{}
	for _, version := range []int{4, 6} {
		machines[version] = compileMachine(t, mustDecode(t, batch), version)
	}
	suggestions := mustDecode(t, batch).Suggestions()
	for k := range packets {
		p, out := randomPacket(r, true), ""
		if k%2 == 0 && len(suggestions) > 0 {
			p, out = suggestedPacket(r, pick(r, suggestions...))
		}
		c := machines[p.Version()]
		if odd(p) {
			continue
		}
		for i := range c.stages {
			n := tallies[c.stages[i].Name]
			if n == nil {
				n = &tally{why: map[string]int{}}
				tallies[c.stages[i].Name] = n
			}
			f := flightAt(r, host, p, &c.run[i])
			if out != "" && f.Out != "" {
				f.Out = out
			}
			for _, name := range []string{f.In, f.Out} {
				if name != "" && host.Device(name) == nil {
					host.Devices = append(host.Devices, packet.Device{Name: name, Index: uint32(50 + len(host.Devices)), MTU: 1500})
				}
			}
			d, undecided := c.compare(i, f)
			n.ran++
			if undecided != "" {
				n.undecided++
				n.why[undecided]++
			}
			if d != "" {
				if n.wrong++; n.wrong <= 3 {
					t.Errorf("%s: %s for %v at %v in %q out %q\n%x", c.stages[i].Name, d, p, f.Hook, f.In, f.Out, p.Data)
				}
			}
		}
	}
	return tallies
}

// suggestedPacket makes a packet that comes as far as a rule, or fails a test or
// two of it. out is the device by which it should leave.
func suggestedPacket(r *rand.Rand, suggestion packet.Suggestion) (p *packet.Packet, out string) {
	for {
		s := packet.Spec{
			Version: pick(r, 4, 6), Proto: pick[uint8](r, 6, 17, 1, 58, 50), In: pick(r, "eth0", "eth1", "tun0", ""),
			SrcPort: uint16(r.Uint32()), DstPort: pick[uint16](r, 22, 53, 80), TCPFlags: pick[uint8](r, packet.SYN, packet.ACK),
			Type: pick[uint8](r, 8, 0, 128, 3), State: pick(r, 0, packet.New, packet.Established, packet.Invalid), Mark: pick[uint32](r, 0, 5),
		}
		for _, t := range suggestion.Tests {
			list := t.Hold
			if r.IntN(8) == 0 {
				list = t.Fail
			}
			if len(list) > 0 {
				pick(r, list...).Apply(&s)
			}
		}
		if s.Src.IsValid() && s.Src.Is4() || s.Dst.IsValid() && s.Dst.Is4() {
			s.Version = 4
		} else if s.Src.IsValid() || s.Dst.IsValid() {
			s.Version = 6
		}
		if p, err := s.Packet(); err == nil {
			return p, s.Out
		}
		suggestion.Tests = suggestion.Tests[:max(len(suggestion.Tests)-1, 0)] // they contradict each other
	}
}

// odd tells packets apart of which the proof assumes that there are none:
// malformed TCP options, types that are none.
func odd(p *packet.Packet) bool {
	if p.Type > 7 {
		return true
	}
	for _, o := range [][]byte{{5, 40}, {4, 0}} {
		if bytes.Contains(p.Data, o) {
			return true
		}
	}
	return false
}
