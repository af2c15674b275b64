package nftgen

// A ByteOrder is how a value stands in a register.
type ByteOrder uint8

// The byte orders.
const (
	BigEndian ByteOrder = iota
	HostEndian
)

// A Datatype is a type of nft: how values are written, and the number by which
// sets name it (nftables' TYPE_*, which only nft itself interprets).
type Datatype struct {
	Name   string
	Number uint32
	Bytes  int
	Order  ByteOrder

	format   formatter
	ends     formatter // ends of spans, when not as format has them
	text     bool      // bytes up to a NUL, padded with NULs
	prefixes bool      // intervals can be written as address/bits
	bits     []symbol  // flags: "field a,b" tests for any of them
	pair     bool      // a concatenation, of which only maps hold values
}

// A formatter appends a value to a text, as nft reads it.
type formatter func(text []byte, v Value) []byte

// Format returns a value as nft reads it.
func (t *Datatype) Format(v Value) string { return string(t.format(nil, v)) }

// A Field is something a rule can load into a register. Fields are values of
// the catalogue below; two fields are the same when their Text is.
type Field struct {
	Text string // as nft spells it: "ip saddr"
	Type *Datatype
	// access is shared by all copies of a field, of which each statement has one;
	// nil in the zero value, which is no field.
	*access
}

// An access is how a field is come by.
type access struct {
	load  loader
	needs []need // dependencies that nft adds by itself

	// family is the family of the values, where it does not follow from needs.
	family Family
}

// A need is a test that nft adds before a field of a protocol: "meta nfproto
// ipv4" for "ip saddr" in an inet table, "meta l4proto tcp" for "tcp dport".
type need struct {
	l3    Family // IP or IP6, 0 for none
	l4    uint8  // protocol number, 0 for none
	of    Family // the family that l4 belongs to, tested first where l4 is
	ether bool   // the link header has to be Ethernet
}

// loadedBy reports whether a field is one that a kind of expression reads.
func (f Field) loadedBy(kind loaderKind) bool { return f.access != nil && f.load.kind == kind }
