package packet

import (
	"fmt"
	"net/netip"
	"strings"
)

// A Verdict is how a stage, a hook or the whole path ended for a packet.
type Verdict uint8

// The verdicts. The zero value is invalid.
const (
	Accept Verdict = iota + 1
	Drop
	Undecided // something on the way was not modelled
)

func (v Verdict) String() string {
	if v >= Accept && v <= Undecided {
		return [...]string{"accept", "drop", "undecided"}[v-1]
	}
	return "invalid verdict"
}

// An Event is something that a rule did besides deciding: a log message, an
// answer to the sender, a translation. Events are comparable with ==.
type Event interface {
	fmt.Stringer
	event()
}

type (
	// LogEvent is a message to the log. Group is -1 for the kernel log.
	LogEvent struct {
		Prefix string
		Level  uint8
		Flags  uint8
		Group  int
		// Of a message to a group: SnapLen is how many bytes of the packet are
		// sent along, -1 for the whole packet and 0 for the kernel log; Threshold
		// is how many messages are collected, 0 for the listener's choice.
		SnapLen   int64
		Threshold uint16
	}

	// RejectEvent is an answer to the sender: a TCP reset, or an ICMP or
	// ICMPv6 error of a type and code.
	RejectEvent struct {
		Reset      bool
		Type, Code uint8
	}

	// NATEvent is the translation that was asked for a new connection.
	NATEvent struct {
		Destination      bool
		Min, Max         netip.Addr // invalid when no address is mapped
		MinPort, MaxPort uint16     // 0 when no port is mapped
		FromZero         bool       // MinPort is the port 0
		Flags            uint32     // random, persistent, fully random
	}

	// NotrackEvent is the exemption from tracking.
	NotrackEvent struct{}

	// ZoneEvent is the zone in which connection tracking will look for the packet,
	// or for packets of one direction.
	ZoneEvent struct {
		Zone uint16
		Of   ZoneDirection
	}

	// HelperEvent is the helper that a new connection is given, of a transport
	// protocol.
	HelperEvent struct {
		Name     string
		Protocol uint8
	}

	// EventMaskEvent is the choice of which events of a new connection listeners are
	// told: bits 1 << IPCT_* of include/uapi/linux/netfilter/nf_conntrack_common.h.
	EventMaskEvent struct{ Events uint32 }

	// LabelEvent is a security context that the packet is given, of which the kernel
	// keeps a number.
	LabelEvent struct{ Context string }

	// SynProxyEvent is a segment of a handshake that the host answers in place of the
	// server. Options are NF_SYNPROXY_OPT_* of
	// include/uapi/linux/netfilter/nf_SYNPROXY.h.
	SynProxyEvent struct {
		Options uint32
		MSS     uint16
		WScale  uint8
	}

	// OfferEvent is a packet that is offered to a transparent socket at an address,
	// which is the device's where there is none, and a port, which is the packet's
	// where it is 0.
	OfferEvent struct {
		Address netip.Addr
		Port    uint16
	}

	// DupEvent is a copy of the packet that goes to a gateway.
	DupEvent struct{ Gateway netip.Addr }

	// AuditEvent is a record of the packet to the audit system.
	AuditEvent struct{}

	// TraceEvent is the start of reports about the packet's way to listeners.
	TraceEvent struct{}

	// QueueEvent is the handing over of the packet to a program that listens to one
	// of several queues. Where nobody listens, the packet is dropped, or goes on
	// with Bypass. Fanout chooses the queue by the processor, else a hash does.
	QueueEvent struct {
		First, Last    uint16
		Bypass, Fanout bool
	}

	// ExternalEvent is something that a target did outside of the packet's way
	// and of all rules: an estimator fed, a timer restarted.
	ExternalEvent struct{ What string }

	// RerouteEvent is a second routing decision of a local packet, because a
	// chain of type route changed what routing depends on.
	RerouteEvent struct{}

	// StateEvent is an update of a stateful instance that other rules can see.
	StateEvent struct{ What string }
)

func (LogEvent) event()       {}
func (RejectEvent) event()    {}
func (NATEvent) event()       {}
func (NotrackEvent) event()   {}
func (TraceEvent) event()     {}
func (QueueEvent) event()     {}
func (RerouteEvent) event()   {}
func (StateEvent) event()     {}
func (ExternalEvent) event()  {}
func (ZoneEvent) event()      {}
func (LabelEvent) event()     {}
func (HelperEvent) event()    {}
func (EventMaskEvent) event() {}
func (SynProxyEvent) event()  {}
func (OfferEvent) event()     {}
func (DupEvent) event()       {}
func (AuditEvent) event()     {}

func (e LogEvent) String() string {
	s := fmt.Sprintf("log prefix %q level %d flags %#x", e.Prefix, e.Level, e.Flags)
	if e.Group >= 0 {
		s += fmt.Sprintf(" group %d", e.Group)
	}
	if e.Group >= 0 && e.SnapLen >= 0 {
		s += fmt.Sprintf(" snaplen %d", e.SnapLen)
	}
	if e.Threshold != 0 {
		s += fmt.Sprintf(" threshold %d", e.Threshold)
	}
	return s
}

func (e RejectEvent) String() string {
	if e.Reset {
		return "reject with tcp reset"
	}
	return fmt.Sprintf("reject with icmp type %d code %d", e.Type, e.Code)
}

// MapsPorts reports whether the translation is one of ports, too.
func (e NATEvent) MapsPorts() bool { return e.FromZero || e.MaxPort != 0 }

// Ranges reports whether the kernel chooses among several addresses or ports.
func (e NATEvent) Ranges() bool { return e.Min != e.Max || e.MinPort != e.MaxPort || e.Flags != 0 }

// Places is the number of combinations of an address and a port in the range, as
// far as it is small.
func (e NATEvent) Places(most uint32) uint32 {
	n := uint32(1)
	for a := e.Min; e.Min.IsValid() && a != e.Max && n < most; a = a.Next() {
		n++
	}
	if e.MapsPorts() && e.MinPort <= e.MaxPort {
		n *= min(uint32(e.MaxPort-e.MinPort)+1, most)
	}
	return min(n, most)
}

// Place returns the n-th combination, from 1, of the addresses and ports in the range.
// What is not translated is as given.
func (e NATEvent) Place(n uint32, addr netip.Addr, port uint16) (netip.Addr, uint16) {
	n--
	if e.MapsPorts() && e.MinPort <= e.MaxPort {
		size := uint32(e.MaxPort-e.MinPort) + 1
		port = e.MinPort + uint16(n%size)
		n /= size
	}
	if e.Min.IsValid() {
		for addr = e.Min; n > 0 && addr != e.Max; n-- {
			addr = addr.Next()
		}
	}
	return addr, port
}

func (e NATEvent) String() string {
	var b strings.Builder
	b.WriteString("snat to ")
	if e.Destination {
		b.Reset()
		b.WriteString("dnat to ")
	}
	if e.Min.IsValid() {
		b.WriteString(e.Min.String())
		if e.Max != e.Min {
			b.WriteString("-" + e.Max.String())
		}
	}
	if e.MapsPorts() {
		fmt.Fprintf(&b, " ports %d-%d", e.MinPort, e.MaxPort)
	}
	if e.Flags != 0 {
		fmt.Fprintf(&b, " flags %#x", e.Flags)
	}
	return b.String()
}

// A ZoneDirection is the direction that a zone counts for.
type ZoneDirection uint8

// The directions. In the other one, packets are looked for in zone 0.
const (
	ZoneBoth ZoneDirection = iota
	ZoneOriginal
	ZoneReply
)

func (d ZoneDirection) String() string {
	if d <= ZoneReply {
		return [...]string{"both", "original", "reply"}[d]
	}
	return "invalid direction"
}

func (e ZoneEvent) String() string { return fmt.Sprintf("zone %d of %v", e.Zone, e.Of) }

func (e LabelEvent) String() string { return fmt.Sprintf("security context %q", e.Context) }

func (e HelperEvent) String() string {
	return fmt.Sprintf("helper %q of protocol %d", e.Name, e.Protocol)
}

func (e EventMaskEvent) String() string { return fmt.Sprintf("events %#x", e.Events) }

// Given is what a template says of a new connection.
type Given struct {
	Helper   string // "" for none
	Protocol uint8  // of the helper
	// Mask is whether listeners are told only some events, which are those of Told.
	Mask bool
	Told uint32
}

// Expected is what of it a connection gets that another one expected: the choice of
// events. Its helper is that of the expectation, or none.
//
// Kernel: net/netfilter/nf_conntrack_core.c, init_conntrack.
func (g Given) Expected() Given { return Given{Mask: g.Mask, Told: g.Told} }

// Events are those of a connection that gets it.
func (g Given) Events() (list []Event) {
	if g.Helper != "" {
		list = append(list, HelperEvent{g.Helper, g.Protocol})
	}
	if g.Mask {
		list = append(list, EventMaskEvent{g.Told})
	}
	return list
}

func (e QueueEvent) String() string {
	s := fmt.Sprintf("queue %d-%d", e.First, e.Last)
	if e.Bypass {
		s += " bypass"
	}
	if e.Fanout {
		s += " fanout"
	}
	return s
}

func (NotrackEvent) String() string    { return "notrack" }
func (TraceEvent) String() string      { return "trace" }
func (RerouteEvent) String() string    { return "reroute" }
func (e StateEvent) String() string    { return e.What }
func (e ExternalEvent) String() string { return e.What }
func (e SynProxyEvent) String() string {
	return fmt.Sprintf("synproxy options %#x mss %d wscale %d", e.Options, e.MSS, e.WScale)
}

func (e OfferEvent) String() string {
	at, port := "the address of the device", "the packet's port"
	if e.Address.IsValid() {
		at = e.Address.String()
	}
	if e.Port != 0 {
		port = fmt.Sprintf("port %d", e.Port)
	}
	return "transparent socket at " + at + ", " + port
}

func (e DupEvent) String() string { return "copy to " + e.Gateway.String() }
func (AuditEvent) String() string { return "audit" }

// A Fate is what became of a packet.
type Fate struct {
	Verdict Verdict
	// Last is the last hook that the packet entered: with Accept, Input means
	// delivered and Postrouting means sent by device Out.
	Last Hook
	Out  string
	Data []byte // as delivered or sent; nil when dropped
	Mark uint32
	// ConnMark is the mark of the connection afterwards; Tracked is false when
	// the packet has no connection.
	ConnMark uint32
	// Secmark and ConnSecmark are the security marks of the packet and of the
	// connection afterwards.
	Secmark, ConnSecmark uint32
	Tracked              bool
	Priority             uint32
	Events               []Event

	// Hotdrop says that a match, or a target of another purpose, dropped the
	// packet by itself, because a header is truncated or malformed.
	Hotdrop bool
	// Silent says that a rule asked for an answer which the stack does not send
	// (see [Host.Answers]), so that nobody can observe it.
	Silent bool
	// Volatile says that a rule asked the clock, a random number or what
	// earlier packets left behind, so that the fate can be another next time.
	Volatile bool
	// Unsure says that the fate followed from a random number, or from a clock
	// or a memory so near the moment at which their answer changes that the
	// kernel, whose clock is another, may have answered otherwise.
	Unsure bool
	// Declared lists codes of differences that translations may declare, where
	// one had a part in the fate.
	Declared []string
	// Unknown lists what was not modelled; not empty exactly when Verdict is
	// Undecided.
	Unknown []string
	// Trace tells the way, when it was asked for.
	Trace []Step
	// Observed is what connection tracking found, as the kernel tells it, so
	// that a simulator can be given the same. Its State is 0 when nobody
	// looked; simulators leave it alone.
	Observed Tracking
	// Announced says that the kernel told listeners of the connection that the packet
	// began. Simulators leave it alone: they emit an [EventMaskEvent] instead.
	Announced bool
	// Expects says that the kernel told listeners of a connection that this one's
	// helper expects. Simulators, which have no helpers, leave it alone.
	Expects bool
}

// A Step is one rule, or one decision, on the way of a packet.
type Step struct {
	Stage  string // "filter INPUT", "table ip firewall chain input"
	Place  string // "rules.v4:17", or ""
	Text   string // the rule as its language spells it
	Result string // "no match at -s", "accept", ...
}

// A Look is how a rule went for a packet.
type Look uint8

// The looks. Missed is also for packets that a test dropped or could not decide.
const (
	Missed  Look = iota + 1 // some test did not hold
	Matched                 // all tests held, and the packet goes on
	Decided                 // all tests held, and the rule accepted or dropped the packet
)

// A Stage is one set of chains at one hook with one priority: a table's
// built-in chain in iptables, a base chain in nftables.
type Stage struct {
	Name     string
	Hook     Hook
	Priority int32
	Kind     StageKind
	// Version is the IP version of the packets that the stage looks at, 0 for
	// several; others pass it untouched.
	Version int
	// Run sends a packet in flight through the stage.
	Run func(f *Flight) Verdict
}

// A StageKind is the type of a chain.
type StageKind uint8

// The kinds. NAT stages see only packets that start a connection; Reroute
// stages, of the output hook, are followed by a new routing decision when mark,
// addresses or TOS changed.
const (
	Filter StageKind = iota
	NAT
	Reroute
)

// A Flight is a packet on its way. The machine changes it as the kernel would.
type Flight struct {
	Packet   *Packet
	Host     *Host
	Hook     Hook
	Data     []byte // own copy
	In, Out  string // devices that the hook sees, "" for none
	ForHost  bool   // a match made it a packet for the host; see [Flight.Type]
	Mark     uint32
	Priority uint32
	Secmark  uint32
	Tracking Tracking // zero State before conntrack has looked (priority -200)
	// Entry of Tracking is an own copy.
	Notrack bool // a stage exempted the packet
	// Template says that a stage told connection tracking how to treat the packet.
	// Before tracking has looked, rules take the template for its connection.
	Template bool
	// Given is what the template says of a new connection.
	Given Given
	// Queued is set by a stage that hands the packet over to a queue, beside the
	// event and the verdict Accept: what becomes of it the listener decides.
	Queued  bool
	Events  []Event
	Hotdrop bool
	// Volatile is set by who asks the clock, a random number or a state.
	Volatile bool
	Unsure   bool // see [Fate]
	Declared []string
	Unknown  []string
	// Unanswered says that what Unknown lists last is the answer to a question that
	// is itself known, and that a proof compares: the fingerprints of the kernel.
	Unanswered bool
	Traced     bool
	Trace      []Step
	// Visit, when not nil, is told of each rule that looks at the packet, by the
	// machine's own name for the rule.
	Visit func(rule any, how Look)
	// NAT is the translation that the NAT stages of this hook asked for.
	NAT *NATEvent
	// Supposed is what is taken for granted about the packet.
	Supposed Supposition
	draws    int
	answers  int
}

// Type is the type of the packet as the rules see it.
func (f *Flight) Type() uint8 {
	if f.ForHost {
		return TypeHost
	}
	return f.Packet.Type
}

// A Supposition is a guess at what nobody can compute from a packet.
type Supposition struct {
	// Answers are those of the matches that a machine does not decide, in the order
	// in which the packet meets them.
	Answers []bool
	// Place is where in the range of a translation the packet lands, from 1; 0 leaves
	// it where it is or takes the lowest.
	Place uint32
}

// Answer returns what is supposed of the next match that the machine does not
// decide. ok is false when nothing is.
func (f *Flight) Answer() (yes, ok bool) {
	if f.answers >= len(f.Supposed.Answers) {
		return false, false
	}
	f.answers++
	return f.Supposed.Answers[f.answers-1], true
}

// Draw returns the next random number of the packet.
func (f *Flight) Draw() uint32 {
	f.Volatile, f.Unsure = true, true
	r := f.Packet.Random
	if len(r) == 0 {
		return 0
	}
	n := r[min(f.draws, len(r)-1)]
	f.draws++
	return n
}

// Emit records an event.
func (f *Flight) Emit(e Event) { f.Events = append(f.Events, e) }

// Queue hands the packet over to a queue.
func (f *Flight) Queue(e QueueEvent) {
	f.Emit(e)
	f.Queued = true
}

// Step records a step of the trace, when tracing.
func (f *Flight) Step(s Step) {
	if f.Traced {
		f.Trace = append(f.Trace, s)
	}
}
