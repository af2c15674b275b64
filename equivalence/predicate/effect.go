package predicate

import "net/netip"

// An Action is what a target does when its rule matches: its effects in order,
// then what follows.
type Action struct {
	Effects []Effect
	Then    Outcome
}

// An Outcome says what follows a target.
type Outcome uint8

// The outcomes. The zero value is invalid.
const (
	Continue Outcome = iota + 1 // with the next rule
	Accept                      // the table's traversal ends, the packet goes on
	Drop
	Return
)

// An Effect is a change of the packet, its connection or the world.
type Effect interface{ effect() }

type (
	// Assign sets a field from a constant and, when From.ID is not zero,
	// another field:
	//
	//	field = (field & Keep) ^ (shift(from & Take, Shift)) ^ Xor
	//
	// It does nothing when From is named and absent, or when the field itself
	// cannot be set (no conntrack entry).
	Assign struct {
		Field Field
		Keep  Bits
		From  Field
		Take  Bits
		Shift int // positive is to the left
		Xor   Bits
		// Unset is that only a field of 0 is set.
		Unset bool
	}

	// Label gives the packet a security context.
	Label struct{ Context string }

	// Log is a message of LOG.
	Log struct {
		Prefix string
		Level  uint8 // syslog level 0-7
		Flags  uint8 // NF_LOG_* of include/uapi/linux/netfilter/nf_log.h
	}

	// LogGroup is a message to the listeners of a group. SnapLen is how many
	// bytes of the packet go along, -1 for all; Threshold is how many messages
	// are collected, 0 for the listener's choice.
	LogGroup struct {
		Prefix    string
		Group     uint16
		SnapLen   int64
		Threshold uint16
	}

	// Reject answers the sender and drops the packet. With is the kind as
	// iptables spells it ("icmp-port-unreachable", "tcp-reset").
	Reject struct{ With string }

	// NAT asks for a translation of the connection. Where the packet starts no
	// connection, or one that is already translated, the kernel does not
	// consult nat tables at all.
	NAT struct {
		Destination bool // DNAT, else SNAT
		// Dynamic chooses the address by the packet: "" none, "masquerade" the
		// address of the outgoing interface, "redirect" that of the incoming
		// interface (or loopback in OUTPUT), "netmap" the network part of Min
		// over the host part of the packet's address.
		Dynamic  string
		Min, Max netip.Addr // invalid when only ports are mapped
		Bits     int        // netmap: prefix length
		MinPort  uint16     // 0 when ports are not mapped
		MaxPort  uint16
		FromZero bool // MinPort is the port 0
		// Shifted maps the packet's destination port to the one of the span that
		// is as far from MinPort, beginning again behind MaxPort, as that is
		// from Base.
		Shifted bool
		Base    uint16
		Flags   uint32 // NF_NAT_RANGE_PROTO_RANDOM, _PERSISTENT, _PROTO_RANDOM_FULLY
	}

	// Notrack exempts the packet from connection tracking.
	Notrack struct{}

	// Zone tells connection tracking to look for the packet in a zone, or for
	// packets of one direction. It does nothing to a packet that something was told
	// of already.
	Zone struct {
		Number uint16
		Of     ZoneDirection
		// Mark is that the mark has the number, in its low 16 bits.
		Mark bool
		// Connection is what a new connection gets beside.
		Connection Connection
	}

	// Connection is what a template says of a new connection: a helper, "" for none,
	// of a transport protocol, and with Mask, which events (1 << IPCT_*) listeners
	// are told.
	Connection struct {
		Helper   string
		Protocol uint8
		Mask     bool
		Events   uint32
	}

	// Lookup sets a field of 8 bits to the value that a table has for its old one.
	Lookup struct {
		Field  Field
		Values [256]uint8
	}

	// Trace has the kernel tell listeners of each rule that the packet meets.
	Trace struct{}

	// SynProxy takes a TCP SYN, and a plain ACK, from the sender and answers in place
	// of the server. Options are NF_SYNPROXY_OPT_*.
	SynProxy struct {
		Options uint32
		MSS     uint16
		WScale  uint8
	}

	// Offer gives a packet of TCP or UDP to a transparent socket: it is accepted, and
	// its mark becomes mark&Keep ^ Xor. Without such a socket, and without 8 bytes of
	// a header, the packet is dropped.
	Offer struct {
		Socket    TransparentSocket
		Keep, Xor uint32
	}

	// Dup sends a copy of the packet to a gateway.
	Dup struct{ Gateway netip.Addr }

	// Audit makes a record of the packet for the audit system.
	Audit struct{}

	// StripOptions overwrites all TCP options of some kinds with no-operation options.
	// A packet without a whole TCP header is dropped, but not a later fragment.
	StripOptions struct{ Kinds []uint8 }

	// SetTCPFlags sets flags of a TCP header to (flags & Keep) ^ Xor, and drops a TCP
	// packet that has no whole one. Of other protocols it leaves packets alone.
	SetTCPFlags struct{ Keep, Xor uint8 }

	// Queue hands the packet over to a program that listens to one of several
	// queues. What follows in Then is for packets that it lets pass.
	Queue struct {
		First, Last    uint16
		Bypass, Fanout bool
	}
	// External is something that a target does outside of the packet's way, and
	// that no rule can see: it feeds an estimator, restarts a timer, lights a
	// lamp. What says all that decides.
	External struct{ What string }

	// SetMSS rewrites the MSS option of a SYN. MSS 0 is "clamp to the path MTU
	// minus headers", unless with Zero it is the size itself. It never raises the value; the kernel adds the option
	// where it is missing.
	SetMSS struct {
		MSS  uint16
		Zero bool
	}

	// UnmodelledEffect makes the outcome of the packet unknown.
	UnmodelledEffect struct{ What string }
)

func (Assign) effect()           {}
func (Label) effect()            {}
func (Log) effect()              {}
func (LogGroup) effect()         {}
func (Reject) effect()           {}
func (NAT) effect()              {}
func (Notrack) effect()          {}
func (Zone) effect()             {}
func (Lookup) effect()           {}
func (Trace) effect()            {}
func (SynProxy) effect()         {}
func (Offer) effect()            {}
func (Dup) effect()              {}
func (Audit) effect()            {}
func (StripOptions) effect()     {}
func (SetTCPFlags) effect()      {}
func (Queue) effect()            {}
func (External) effect()         {}
func (SetMSS) effect()           {}
func (UnmodelledEffect) effect() {}

// A ZoneDirection is the direction that a zone counts for.
type ZoneDirection uint8

// The directions.
const (
	ZoneBoth ZoneDirection = iota
	ZoneOriginal
	ZoneReply
)
