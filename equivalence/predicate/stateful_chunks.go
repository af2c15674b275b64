package predicate

import "fmt"

// Chunks is "--chunk-types": a walk over the chunks of an SCTP packet. With Cut it
// holds when the walk comes to bytes that are no chunk before it has an answer, where
// the kernel drops the packet.
//
// Kernel: net/netfilter/xt_sctp.c, match_packet.
type Chunks struct {
	Scope string // all, any or only
	Types map[uint8]ChunkFlags
	Every bool // all types of all
	Cut   bool
}

// ChunkFlags are the flags of a chunk that are looked at, and what they have to be.
type ChunkFlags struct{ Mask, Value uint8 }

var _ Instance = Chunks{}

// Identity is "": there is nothing to share.
func (Chunks) Identity() string { return "" }

// Describe says which chunks.
func (c Chunks) Describe() string { return fmt.Sprintf("chunks %s %v %v", c.Scope, c.Every, c.Types) }

// Keys is none.
func (Chunks) Keys() []Field { return nil }

// Ask walks the chunks.
func (c Chunks) Ask(r Reader, _ string) Truth {
	at := func(offset int) (int, bool) {
		b, there := r.Field(Field{ID: TransportByte, Arg: uint32(offset)})
		return int(b.Lo), there == Yes
	}
	const header, chunk = 12, 4
	missing := map[uint8]bool{}
	for kind := range c.Types {
		missing[kind] = true
	}
	left := len(missing)
	if c.Every {
		left = 256
	}
	for offset := header; ; {
		kind, _ := at(offset)
		flags, _ := at(offset + 1)
		high, _ := at(offset + 2)
		low, there := at(offset + chunk - 1)
		length := high<<8 | low
		if !there || length == 0 {
			return Of(c.Cut)
		}
		want, asked := c.Types[uint8(kind)]
		equal := (asked || c.Every) && uint8(flags)&want.Mask == want.Value
		switch {
		case c.Scope == "any" && equal:
			return Of(!c.Cut)
		case c.Scope == "only" && !equal:
			return No
		case c.Scope == "all" && equal && (missing[uint8(kind)] || c.Every && !missing[uint8(kind)]):
			missing[uint8(kind)] = c.Every
			left--
		}
		offset += (length + 3) &^ 3
		if _, more := at(offset); !more {
			break
		}
	}
	if c.Cut {
		return No
	}
	return Of(c.Scope == "only" || c.Scope == "all" && left == 0)
}
