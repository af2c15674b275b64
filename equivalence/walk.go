package equivalence

import (
	"bytes"
	"sort"

	"nftmigrate/packet"
)

// A Machine runs packets through the rules of one language.
type Machine interface {
	// Stages lists the sets of chains with their hooks and priorities.
	Stages() []packet.Stage
	// NeedsConntrack reports whether the rules make the kernel track
	// connections of an IP version. Tracking reassembles fragments before the
	// first rule.
	NeedsConntrack(version int) bool
	// Suggestions lists what the rules tell apart.
	Suggestions() []packet.Suggestion
	// Reset forgets the state of all stateful rules.
	Reset()
}

// The priorities at which the kernel's own hooks run.
//
// Kernel: include/uapi/linux/netfilter_ipv4.h, enum nf_ip_hook_priorities. The
// core of NAT hangs at fixed priorities whatever the priority of a nat chain,
// which only orders nat chains among themselves (net/netfilter/nf_nat_core.c,
// nf_nat_register_fn).
const (
	priorityConntrack = -200
	priorityNATDst    = -100
	priorityNATSrc    = 100
)

// A Walker takes packets along the hooks of a host for one machine: it tracks,
// routes and translates as the kernel's stack does between the hooks. What the
// stack does is the same for both sides of a comparison.
type Walker struct {
	host  *packet.Host
	hooks [5]hookPlan
	// natted says of the IP versions whether there is a NAT chain at any hook, which
	// makes the core of NAT look at all of them.
	natted [7]bool
	// Trace asks for the steps of each packet.
	Trace bool
	// Visit, when not nil, is told each rule that looks at a packet.
	Visit func(rule any, how packet.Look)
	// Unheard says that no program listens to queues, so that packets are dropped
	// there. Else each listener lets packets pass as they are, so that what comes
	// behind a queue takes part in a comparison.
	Unheard bool
	// Untracked says that nothing makes the kernel track connections.
	Untracked bool
	// supposed is taken for granted about packets.
	supposed packet.Supposition
}

// A hookPlan is what runs at one hook, in order.
type hookPlan struct {
	early []packet.Stage // before conntrack
	late  []packet.Stage // behind it, without NAT stages
	nat   []packet.Stage
}

// NewWalker returns a walker for a machine on a host.
func NewWalker(m Machine, host *packet.Host) *Walker {
	w := &Walker{host: host}
	stages := append([]packet.Stage(nil), m.Stages()...)
	sort.SliceStable(stages, func(i, j int) bool { return stages[i].Priority < stages[j].Priority })
	for _, s := range stages {
		h := &w.hooks[s.Hook]
		switch {
		case s.Kind == packet.NAT:
			h.nat = append(h.nat, s)
			for v := range w.natted {
				w.natted[v] = w.natted[v] || s.Version == 0 || s.Version == v
			}
		case tracks(s.Hook) && s.Priority < priorityConntrack:
			h.early = append(h.early, s)
		default:
			h.late = append(h.late, s)
		}
	}
	return w
}

func tracks(h packet.Hook) bool { return h == packet.Prerouting || h == packet.Output }

// Run takes one packet along its way and returns its fate.
func (w *Walker) Run(p *packet.Packet) packet.Fate {
	f := &packet.Flight{
		Packet: p, Host: w.host,
		Data: bytes.Clone(p.Data),
		Mark: p.Mark, Secmark: p.Secmark, Priority: p.Priority,
		Traced: w.Trace, Visit: w.Visit, Supposed: w.supposed,
	}
	verdict := w.path(f)
	fate := packet.Fate{
		Verdict: verdict, Last: f.Hook,
		Mark: f.Mark, Secmark: f.Secmark, Priority: f.Priority,
		Events: f.Events, Hotdrop: f.Hotdrop, Volatile: f.Volatile, Unsure: f.Unsure, Declared: f.Declared, Unknown: f.Unknown, Trace: f.Trace,
	}
	if verdict == packet.Accept {
		packet.FixChecksums(f.Data)
		fate.Data, fate.Out = f.Data, f.Out
	}
	device := f.In
	if device == "" {
		device = f.Out
	}
	for _, e := range f.Events {
		if answer, ok := e.(packet.RejectEvent); ok && !w.host.Answers(f.Data, device, f.Type(), answer) {
			fate.Silent = true
		}
	}
	if e := f.Tracking.Entry; e != nil {
		fate.Tracked, fate.ConnMark, fate.ConnSecmark = true, e.Mark, e.Secmark
	}
	return fate
}

// path takes a packet through its hooks.
//
// Kernel: net/ipv4/ip_input.c, ip_forward.c, ip_output.c and their IPv6 kin.
func (w *Walker) path(f *packet.Flight) packet.Verdict {
	if f.Packet.Path == packet.Leaving {
		f.Out, _ = w.host.Output(packet.Endpoints(f.Data).Dst)
		if v := w.hook(f, packet.Output); v != packet.Accept {
			return v
		}
		f.Out = w.departure(f)
		if w.stays(f) {
			f.Step(packet.Step{Stage: "routing", Text: "a TTL of 0 does not leave for many hosts", Result: "drop"})
			return packet.Drop
		}
		return w.hook(f, packet.Postrouting)
	}
	f.In = f.Packet.In
	if refusal := w.refused(f); refusal != "" {
		f.Step(packet.Step{Stage: "receiving", Text: refusal, Result: "drop"})
		return packet.Drop
	}
	if v := w.hook(f, packet.Prerouting); v != packet.Accept {
		return v
	}
	route, refusal := w.route(f)
	if refusal != "" {
		f.Step(packet.Step{Stage: "routing", Text: refusal, Result: "drop"})
		return packet.Drop
	}
	if route.Type != packet.Unicast {
		return w.hook(f, packet.Input)
	}
	f.Out = route.Device
	if f.Data[0]>>4 == 4 {
		f.Priority = tosPriority[f.Data[1]&0x1e>>1]
	}
	if v := w.hook(f, packet.Forward); v != packet.Accept {
		return v
	}
	return w.hook(f, packet.Postrouting)
}

func (w *Walker) loopback(device string) bool {
	d := w.host.Device(device)
	return d != nil && d.Loopback
}

// hook runs what hangs at a hook.
func (w *Walker) hook(f *packet.Flight, h packet.Hook) packet.Verdict {
	f.Hook = h
	plan := &w.hooks[h]
	for i := range plan.early {
		if v := w.stage(f, &plan.early[i]); v != packet.Accept {
			return v
		}
	}
	if tracks(h) && !w.Untracked {
		w.track(f)
	}
	natPriority, pending := int32(priorityNATSrc), true
	if tracks(h) {
		natPriority = priorityNATDst
	}
	if h == packet.Forward {
		pending = false
	}
	for i := range plan.late {
		// A chain of the same priority hangs before the core of NAT when it
		// was registered later, as chains of rules are.
		if pending && plan.late[i].Priority > natPriority {
			pending = false
			if v := w.nat(f, plan.nat); v != packet.Accept {
				return v
			}
		}
		if v := w.stage(f, &plan.late[i]); v != packet.Accept {
			return v
		}
	}
	if pending {
		return w.nat(f, plan.nat)
	}
	return packet.Accept
}

// stage runs one stage. Behind a stage of kind Reroute a local packet is routed
// again when mark, addresses or TOS changed; the chains that are left at the
// hook see the old device all the same.
//
// Kernel: net/netfilter/nft_chain_route.c; net/ipv4/netfilter/iptable_mangle.c.
func (w *Walker) stage(f *packet.Flight, s *packet.Stage) packet.Verdict {
	if s.Kind != packet.Reroute {
		v, _ := w.rules(f, s)
		return v
	}
	before := routingKey(f)
	v, _ := w.rules(f, s)
	if v != packet.Accept || routingKey(f) == before {
		return v
	}
	f.Emit(packet.RerouteEvent{})
	if w.astray(f) {
		f.Step(packet.Step{Stage: "routing", Text: "no route to many hosts from an address that is not ours", Result: "drop"})
		return packet.Drop
	}
	return v
}

// rules runs the rules of a stage. queued says that they handed the packet over to
// a queue, from which it goes on behind the stage.
//
// Kernel: net/netfilter/nf_queue.c, nf_queue; net/netfilter/nfnetlink_queue.c.
func (w *Walker) rules(f *packet.Flight, s *packet.Stage) (v packet.Verdict, queued bool) {
	f.Queued = false
	v = s.Run(f)
	if v != packet.Accept || !f.Queued {
		return v, false
	}
	if e, ok := f.Events[len(f.Events)-1].(packet.QueueEvent); ok && w.Unheard && !e.Bypass {
		f.Step(packet.Step{Stage: "queueing", Text: "no program listens", Result: "drop"})
		return packet.Drop, true
	}
	return v, true
}

// track is connection tracking's look at a packet.
func (w *Walker) track(f *packet.Flight) {
	if f.Notrack {
		f.Tracking = packet.Tracking{State: packet.Untracked}
		return
	}
	f.Tracking = f.Packet.Tracking
	if e := f.Tracking.Entry; e != nil {
		own := *e
		f.Tracking.Entry = &own
		given := packet.Given{}
		switch {
		case own.Status&packet.StatusConfirmed != 0: // it is there already
		case f.Tracking.State == packet.New:
			given = f.Given
		case f.Tracking.State == packet.Related:
			given = f.Given.Expected()
		}
		for _, e := range given.Events() {
			f.Emit(e)
		}
	}
}

// nat is the core of NAT at one hook, behind which a local packet for somebody
// else is routed again: to a link-local address by the device that was found for
// the old one.
//
// Kernel: net/netfilter/nf_nat_proto.c, nf_nat_ipv6_local_fn;
// net/ipv6/netfilter.c, ip6_route_me_harder.
func (w *Walker) nat(f *packet.Flight, chains []packet.Stage) packet.Verdict {
	before := packet.Endpoints(f.Data).Dst
	v := w.translate(f, chains)
	after := packet.Endpoints(f.Data).Dst
	if v != packet.Accept || f.Hook != packet.Output || after == before || !after.Is6() || !after.IsLinkLocalUnicast() {
		return v
	}
	if _, ok := w.host.LookupBy(after, f.Out); !ok {
		f.Step(packet.Step{Stage: "routing", Text: "no route to " + after.String() + " by " + f.Out, Result: "drop"})
		return packet.Drop
	}
	return v
}

// translate is the core of NAT at one hook: the first packet of a connection
// asks the nat chains, the others follow what was decided.
//
// Kernel: net/netfilter/nf_nat_core.c, nf_nat_inet_fn.
func (w *Walker) translate(f *packet.Flight, chains []packet.Stage) packet.Verdict {
	e := f.Tracking.Entry
	if e == nil {
		return packet.Accept
	}
	dst := tracks(f.Hook)
	done := uint32(packet.StatusSrcNATDone)
	if dst {
		done = packet.StatusDstNATDone
	}
	if !starts(f) || e.Status&done != 0 {
		return follow(f, dst)
	}
	for i := range chains {
		f.NAT = nil
		v, queued := w.rules(f, &chains[i])
		if v != packet.Accept || queued {
			return v
		}
		if f.NAT != nil {
			break
		}
	}
	if v := f.Packet.Version(); w.natted[v] {
		e.Status |= done
	}
	if f.NAT != nil {
		f.Emit(*f.NAT)
		n := *f.NAT
		f.NAT = nil
		return bind(f, n, dst)
	}
	return packet.Accept
}

// starts reports whether nat chains are asked about a packet: the first of a
// connection, or of one that was expected; an ICMP error follows the connection
// that it is about.
func starts(f *packet.Flight) bool {
	switch f.Tracking.State {
	case packet.New:
		return true
	case packet.Related:
		p := f.Tracking.Entry.Protocol
		return p != packet.ICMP && p != packet.ICMPv6 && !packet.IsICMPError(f.Data)
	}
	return false
}

// bind applies a translation to the first packet of a connection. Of a range
// the packet's own value is kept when it is inside, else the lowest is taken:
// the kernel chooses by a hash, and the comparison is of the ranges.
//
// Kernel: net/netfilter/nf_nat_core.c, get_unique_tuple and nf_nat_setup_info;
// nf_nat_proto.c, icmp_manip_pkt.
func bind(f *packet.Flight, n packet.NATEvent, dst bool) packet.Verdict {
	e := f.Tracking.Entry
	now := packet.Endpoints(f.Data)
	pings := e.Protocol == packet.ICMP || e.Protocol == packet.ICMPv6
	addr, port := now.Src, now.SrcPort
	if dst {
		addr = now.Dst
		if !pings {
			port = now.DstPort
		}
	}
	newAddr, newPort := addr, port
	if n.Min.IsValid() && (addr.Less(n.Min) || n.Max.Less(addr)) {
		newAddr = n.Min
	}
	if n.MapsPorts() && (port < n.MinPort || port > n.MaxPort) {
		newPort = n.MinPort
	}
	if f.Supposed.Place != 0 && n.Ranges() {
		newAddr, newPort = n.Place(f.Supposed.Place, addr, port)
	}
	if newAddr == addr && newPort == port {
		return packet.Accept
	}
	if !packet.Translatable(f.Data) {
		return packet.Drop
	}
	if newAddr != addr {
		packet.RewriteAddr(f.Data, dst, newAddr)
	}
	if newPort != port {
		packet.RewritePort(f.Data, dst, newPort)
	}
	// What a reply calls its ports; both directions of ICMP have one identifier,
	// and behind it their type and code.
	own := &e.Reply.SrcPort
	if dst {
		e.Status |= packet.StatusDstNAT
		e.Reply.Src = newAddr
	} else {
		e.Status |= packet.StatusSrcNAT
		e.Reply.Dst = newAddr
		if !pings {
			own = &e.Reply.DstPort
		}
	}
	*own = newPort
	return packet.Accept
}

// follow translates a later packet of a connection as its entry says.
func follow(f *packet.Flight, dst bool) packet.Verdict {
	e := f.Tracking.Entry
	if e.Status&(packet.StatusSrcNAT|packet.StatusDstNAT) == 0 || f.Tracking.State == packet.Related {
		return packet.Accept
	}
	// What the packet should look like behind this hook is the inverse of the
	// other direction's tuple.
	other := e.Reply
	if f.Tracking.Reply {
		other = e.Original
	}
	addr, port := other.Dst, other.DstPort
	if dst || e.Protocol == packet.ICMP || e.Protocol == packet.ICMPv6 {
		port = other.SrcPort // the identifier of ICMP, whatever is translated
	}
	if dst {
		addr = other.Src
	}
	if addr.IsValid() {
		packet.RewriteAddr(f.Data, dst, addr)
		packet.RewritePort(f.Data, dst, port)
	}
	return packet.Accept
}
