package nftgen

import (
	"time"

	"nftmigrate/diag"
)

// A Family is an nftables table family.
type Family uint8

// The families. The values are the kernel's NFPROTO_* numbers.
const (
	Inet Family = 1
	IP   Family = 2
	IP6  Family = 10
)

func (f Family) String() string {
	switch f {
	case Inet:
		return "inet"
	case IP:
		return "ip"
	case IP6:
		return "ip6"
	}
	return "invalid family"
}

// A Ruleset is what is printed and encoded: one table of our own.
type Ruleset struct {
	// Head is a comment at the top of the text, one string per line.
	Head  []string
	Table *Table
	// Other is the table of IPv6 beside one of IPv4, where no table inet can
	// hold both; else nil.
	Other *Table
}

// Tables returns the tables, in their order.
func (rs *Ruleset) Tables() []*Table {
	if rs.Other == nil {
		return []*Table{rs.Table}
	}
	return []*Table{rs.Table, rs.Other}
}

// A Table holds chains, sets and objects.
type Table struct {
	Family  Family
	Name    string
	Objects []*Object
	Sets    []*Set
	Chains  []*Chain
}

// A Chain is a base chain when Base is set, else a regular one.
type Chain struct {
	Name   string
	Base   *Base
	Rules  []*Rule
	Origin diag.Range
	// Note is printed as a comment line inside the chain.
	Note string
}

// A Base says where a base chain hangs.
type Base struct {
	Type     string // filter, nat or route
	Hook     uint8  // NF_INET_* number
	Priority int32
	Drop     bool // policy drop, else accept
	Numeric  bool // the text has the priority as a number
}

// A Rule is one nft rule.
type Rule struct {
	Stmts   []Stmt
	Comment string     // goes into the kernel, at most 128 bytes
	Origin  diag.Range // the source rule; printed as "# file:line"
	Also    diag.Range // the like rule of the other family, when the rule stands for both
	Note    string     // printed as a comment line above the rule
	// Family restricts the rule in an inet table to one family (IP or IP6).
	// 0 means both. The encoder and the printer add "meta nfproto" where no
	// field of the rule implies it.
	Family Family
}

// A Stmt is one statement of a rule: a match, a verdict, an effect. The types
// of this package are all there are; each knows its text and its expressions.
type Stmt interface {
	stmt()
}

// An Op is a comparison.
type Op uint8

// The comparisons. The values are the kernel's NFT_CMP_* numbers.
const (
	Eq Op = iota
	Ne
	Lt
	Le
	Gt
	Ge
)

// A Value is a constant as wide as its field, most significant byte first,
// whatever the byte order of the field in a register. Names (interfaces) are
// their bytes without padding.
type Value []byte

// An Interval is an inclusive span of values; Low equals High for one value.
type Interval struct{ Low, High Value }

// Statements that compare. Each stands for one nft match expression.
type (
	// Compare is "field op value", or "field & mask op value" with a Mask.
	Compare struct {
		Field Field
		Mask  Value // nil for none
		Op    Op    // any with a mask too
		Value Value
	}

	// InPrefix is "field address/bits" of an address. Of a name it is its
	// beginning, of whole bytes; [IfName] says that better.
	InPrefix struct {
		Field Field
		Addr  Value
		Bits  int
		Not   bool
	}

	// InSpan is "field low-high".
	InSpan struct {
		Field     Field
		Low, High Value
		Not       bool
	}

	// AnyBit is a test of a bit mask type for at least one of several bits:
	// "ct state new,established"; Not is "none of them".
	AnyBit struct {
		Field Field
		Bits  Value
		Not   bool
	}

	// OneOf is "field { a, b-c, … }", a lookup in an anonymous set. The
	// intervals are sorted and do not overlap. Of one interval it becomes a
	// plain comparison.
	OneOf struct {
		Field     Field
		Intervals []Interval
		Not       bool
	}

	// OneOfTuple is "f . g { a . b, … }". Tuples do not overlap. Intervals
	// cannot stand beside fields of flags.
	OneOfTuple struct {
		Fields []Field
		Tuples [][]Interval // one interval per field
		Not    bool
	}

	// InSet is "f . g @set", with an optional mask per field.
	InSet struct {
		Fields []Field
		Masks  []Value // nil, or one per field, nil for none
		Set    *Set
		Not    bool
	}

	// Exists is "tcp option 5 exists" and "fib … oif exists"; Missing is its
	// counterpart.
	Exists struct {
		Field   Field
		Missing bool
	}
)

// Statements that act.
type (
	// VerdictStmt is accept, drop, return, continue, jump or goto.
	VerdictStmt struct {
		Kind  VerdictKind
		Chain string // for jump and goto
	}

	// Counter is "counter packets P bytes B".
	Counter struct{ Packets, Bytes uint64 }

	// Limit is "limit rate R/unit burst B packets", or with Bytes "limit rate R
	// bytes/unit burst B bytes", of which the burst is beside one unit's worth.
	Limit struct {
		Rate  uint64
		Unit  time.Duration // second, minute, hour, day (24h) or week
		Burst uint32
		Bytes bool
		Over  bool
	}

	// Quota is "quota N bytes": at most N bytes, or with Over more, have come.
	Quota struct {
		Bytes uint64
		Over  bool
	}

	// ConnLimit is "ct count N": at most N connections, or with Over more, that
	// the statement has seen are alive.
	ConnLimit struct {
		Count uint32
		Over  bool
	}

	// Log is a message to the kernel log. Flags are NF_LOG_* bits.
	Log struct {
		Prefix string
		Level  uint8
		Flags  uint8
	}

	// LogGroup is a message to the listeners of a group: "log group N".
	LogGroup struct {
		Prefix    string
		Group     uint16
		Snaps     bool // SnapLen bytes of the packet are sent along, else all
		SnapLen   uint32
		Threshold uint16 // messages that the kernel collects before it sends them; 0 is the listener's choice
	}

	// Reject answers the sender. For a reset, Reset is true; else with ICMP or
	// ICMPv6 "unreachable" of the rule's family with Code, or with Any of the
	// packet's family, and Code is one of the Any codes.
	Reject struct {
		Reset bool
		Any   bool
		Code  uint8
	}

	// Assign is "field set …": Field = (Field & Keep) ^ Xor without From, or
	// (Field & Keep) ^ (shift(From & Take)) ^ Xor. A nil Keep means nothing is
	// kept; a nil Take means all of From. Shift is in bits, positive to the
	// left. Keep and From exclude each other: both at once need kernel 6.13 and
	// nft 1.1.2. Field is [MetaMark], [CTMark],
	// [MetaPriority], or with From [MetaSecmark] or [CTSecmark].
	Assign struct {
		Field Field
		Keep  Value
		From  *Field
		Take  Value
		Shift int
		Xor   Value
	}

	// SetField is "field set value" of a field of the network header: of
	// [IPTTL], [IP6Hoplimit], [IPDSCP], [IP6DSCP], [IPECN] or [IP6ECN]; or of bytes
	// of an IPv6 packet by place, where no checksum follows.
	SetField struct {
		Field Field
		Value Value
	}

	// Trace is "meta nftrace set 1".
	Trace struct{}

	// NAT is snat or dnat. Addresses are nil when only ports are mapped, ports
	// are 0 when only addresses are.
	NAT struct {
		Destination     bool
		Low, High       Value
		Prefix          int // with prefix mapping: length; Low is the network
		LowPort, HiPort uint16
		FromZero        bool // LowPort is the port 0
		// Map says to which port each port goes, in place of a span of them.
		Map *PairMap
		// Protocol is the transport protocol whose ports they are, 0 without
		// ports. nft reads a port only behind a test of one, so printer and
		// encoder add "meta l4proto" where the rule has none.
		Protocol uint8
		Flags    NATFlags
	}

	// Masquerade is "masquerade [to :p-q] [flags]".
	Masquerade struct {
		LowPort, HiPort uint16
		FromZero        bool  // LowPort is the port 0
		Protocol        uint8 // as in NAT
		Flags           NATFlags
	}

	// Redirect is "redirect [to :p-q] [flags]".
	Redirect struct {
		LowPort, HiPort uint16
		FromZero        bool  // LowPort is the port 0
		Protocol        uint8 // as in NAT
		Flags           NATFlags
	}

	// Notrack is "notrack".
	Notrack struct{}

	// SetMSS is "tcp option maxseg size set N", or "set rt mtu" when MSS is 0,
	// unless with Zero 0 is the size itself.
	SetMSS struct {
		MSS  uint16
		Zero bool
	}

	// Update adds, updates or deletes an element of a set from the packet.
	Update struct {
		Op      UpdateOp
		Set     *Set
		Fields  []Field
		Masks   []Value
		Timeout time.Duration // 0 is the set's default
		Stmts   []Stmt        // per element: Limit, Counter, ConnLimit
	}
)

// A VerdictKind is a kind of verdict.
type VerdictKind uint8

// The verdicts.
const (
	Accept VerdictKind = iota + 1
	Drop
	Return
	Continue
	Jump
	Goto
)

// An UpdateOp is what a packet does to a set.
type UpdateOp uint8

// The operations. The values are the kernel's NFT_DYNSET_OP_* numbers.
const (
	OpAdd UpdateOp = iota
	OpUpdate
	OpDelete
)

// NATFlags are NF_NAT_RANGE_PROTO_RANDOM and its kin.
type NATFlags struct{ Random, FullyRandom, Persistent bool }

func (Compare) stmt()     {}
func (InPrefix) stmt()    {}
func (InSpan) stmt()      {}
func (AnyBit) stmt()      {}
func (OneOf) stmt()       {}
func (OneOfTuple) stmt()  {}
func (InSet) stmt()       {}
func (Exists) stmt()      {}
func (VerdictStmt) stmt() {}
func (Counter) stmt()     {}
func (Limit) stmt()       {}
func (Quota) stmt()       {}
func (ConnLimit) stmt()   {}
func (Log) stmt()         {}
func (LogGroup) stmt()    {}
func (Reject) stmt()      {}
func (Assign) stmt()      {}
func (SetField) stmt()    {}
func (Trace) stmt()       {}
func (NAT) stmt()         {}
func (Masquerade) stmt()  {}
func (Redirect) stmt()    {}
func (Notrack) stmt()     {}
func (SetMSS) stmt()      {}
func (Update) stmt()      {}

// A Set is a named set.
type Set struct {
	Name       string
	Key        []*Datatype // several make a concatenation
	Interval   bool
	Dynamic    bool          // changed by packets
	Timeout    time.Duration // 0 is none
	HasTimeout bool          // elements can expire, also without a default
	Size       uint32        // 0 is unlimited
	Counter    bool          // each element counts its packets
	Verdicts   bool          // a map: each element leads to a verdict; the elements are in Bulk
	Data       *Datatype     // of a map: each element has a value of this type; the elements are in Bulk
	Elements   [][]Interval  // one interval per key field, sorted
	Bulk       *Bulk         // the elements of a set that has many, instead
	// Note is printed as a comment line in the set.
	Note string
}

// IfName is a test of a device name: "iifname "eth0"", or with Wildcard of the
// beginning of a name: "iifname "eth*"". Op is Eq or Ne.
type IfName struct {
	Field    Field
	Name     string
	Wildcard bool
	Op       Op
}

func (IfName) stmt() {}
