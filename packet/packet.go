package packet

import "net/netip"

// A Hook is a netfilter hook of the IP families.
//
// Kernel: include/uapi/linux/netfilter.h, enum nf_inet_hooks.
type Hook uint8

// The hooks.
const (
	Prerouting Hook = iota
	Input
	Forward
	Output
	Postrouting
)

func (h Hook) String() string {
	if h <= Postrouting {
		return [...]string{"prerouting", "input", "forward", "output", "postrouting"}[h]
	}
	return "invalid hook"
}

// A Path is the way a packet takes through the host.
type Path uint8

// The paths. ToHost and Through packets arrive on a device; which of the two a
// packet becomes is decided by its destination when it is routed, after DNAT.
const (
	Arriving Path = iota // comes in on a device
	Leaving              // made by a local socket
)

// Packet types as the kernel sets them by the Ethernet destination.
//
// Kernel: include/uapi/linux/if_packet.h.
const (
	TypeHost      = 0
	TypeBroadcast = 1
	TypeMulticast = 2
	TypeOtherHost = 3
)

// A Packet is a packet before its first hook. It is not changed by a run.
type Packet struct {
	// Data starts at the network header (IPv4 or IPv6).
	Data []byte
	Path Path
	In   string // device it arrives on; "" when Leaving
	// Link is the Ethernet header it arrived with, nil on other devices.
	Link     *Link
	Type     uint8  // TypeHost, ... of an arriving packet
	Mark     uint32 // packet mark before the first hook
	Secmark  uint32 // security mark before the first hook: a number of the kernel's, see [SecurityID]
	Priority uint32
	CPU      uint32   // that handles it, from 0
	Clock    int64    // wall clock, nanoseconds since 1970 UTC; 0 is now
	Tracking Tracking // what connection tracking will find
	Socket   *Socket  // the local socket it belongs to, or nil
	Time     int64    // virtual clock, nanoseconds since the start of the flow
	// Random is what the k-th random number drawn for this packet is; when it
	// is shorter than that, the last one repeats, and 0 when it is empty.
	Random []uint32
}

// A Link is an Ethernet header.
type Link struct{ Src, Dst [6]byte }

// A Socket is the owner of a packet.
type Socket struct {
	UID, GID uint32
	Groups   []uint32 // supplementary groups of the user
	NoFile   bool     // a kernel socket, without user
	Class    uint32   // of its control group, for traffic control
}

// A State is a state of connection tracking.
type State uint8

// The states. The zero value is invalid: nothing was said.
const (
	New State = iota + 1
	Established
	Related
	Invalid   // no entry could be found or made
	Untracked // exempted by NOTRACK, or IPv6 neighbour discovery
)

func (s State) String() string {
	if s >= New && s <= Untracked {
		return [...]string{"new", "established", "related", "invalid", "untracked"}[s-1]
	}
	return "invalid state"
}

// Tracking is what connection tracking says of a packet. Entry is nil for
// Invalid and Untracked and set for the others.
type Tracking struct {
	State State
	Reply bool // the packet goes in the reply direction
	Entry *Entry
}

// Connection status bits.
//
// Kernel: include/uapi/linux/netfilter/nf_conntrack_common.h, enum ip_conntrack_status.
const (
	StatusExpected   = 1 << 0
	StatusSeenReply  = 1 << 1
	StatusAssured    = 1 << 2
	StatusConfirmed  = 1 << 3
	StatusSrcNAT     = 1 << 4
	StatusDstNAT     = 1 << 5
	StatusSrcNATDone = 1 << 7
	StatusDstNATDone = 1 << 8
)

// An Entry is a conntrack entry.
type Entry struct {
	Status   uint32
	Mark     uint32
	Secmark  uint32
	Protocol uint8
	Original Tuple
	Reply    Tuple
	Expires  uint32    // seconds
	Packets  [2]uint64 // by direction; 0 without accounting
	Bytes    [2]uint64
	Zone     uint16
	Labels   [16]byte
	// Helper is the name of the helper that expected the connection, of that of the
	// connection that it belongs to; others have none.
	Helper string
	// Accounting says that the entry has counters.
	Accounting bool
}

// A Tuple is one direction of a connection. For ICMP the source port is the
// identifier and the destination port is type<<8 | code.
type Tuple struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
}

// Version returns the IP version of the data, 4 or 6, or 0 when there is none.
func (p *Packet) Version() int {
	if len(p.Data) == 0 {
		return 0
	}
	if v := p.Data[0] >> 4; v == 4 || v == 6 {
		return int(v)
	}
	return 0
}
