package nftsim

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func init() { register("connlimit", decodeConnlimit) }

// Connlimit breaks the rule by the number of connections that are alive, of those
// that it has seen.
//
// Kernel: net/netfilter/nft_connlimit.c.
type Connlimit struct {
	Count uint32
	Over  bool
}

// Attributes of connlimit, which golang.org/x/sys does not name.
const (
	connlimitCount = 1
	connlimitFlags = 2
)

func decodeConnlimit(_ *scope, data []byte) (Instruction, error) {
	i := &Connlimit{}
	var flags uint32
	err := decodeNest("connlimit", data, need(connlimitCount, decodeU32(&i.Count)),
		may(connlimitFlags, decodeU32(&flags)))
	if err == nil && flags > 1 {
		err = fmt.Errorf("flags %#x", flags)
	}
	i.Over = flags == unix.NFT_LIMIT_F_INV
	return i, err
}

func (i *Connlimit) String() string {
	flags := 0
	if i.Over {
		flags = 1
	}
	return fmt.Sprintf("[ connlimit count %d flags %d ]", i.Count, flags)
}

func (*Connlimit) tracks(int) bool { return true }

// tuples are the connections that an instruction has seen.
type tuples map[string]bool

// exec counts the packet's connection. The table of all connections is not
// modelled: of several, any but the packet's own may be gone.
func (i *Connlimit) exec(x *execution) result {
	seen := state(x, i, func() *tuples { return &tuples{} })
	h, data := x.header, x.flight.Data
	tuple, late := "", false
	if e := x.flight.Tracking.Entry; e != nil {
		const confirmed = 1 << 3 // IPS_CONFIRMED
		late = e.Status&confirmed != 0 || x.flight.Tracking.State != packet.New
		tuple = fmt.Sprintf("connection %d %v", e.Protocol, e.Original)
	} else {
		least := leastTuple
		if slices.Contains(portProtocols, h.proto) {
			least = tuplePorts
		} else if !slices.Contains([]uint8{1, 47, 58}, h.proto) {
			least = 0 // such a tuple is addresses and protocol
		}
		if !h.hasProto || h.fragment != 0 || h.offset+least > len(data) {
			return x.unknown("whether a packet that is not tracked has a tuple is not modelled")
		}
		tuple = fmt.Sprintf("packet %d %x %x", h.proto, addressBytes(x), data[h.offset:h.offset+min(least, tuplePorts)])
	}
	if x.flight.Tracking.Entry == nil {
		x.flight.Unsure = true // it may belong to a connection all the same
	}
	if late {
		// One that was confirmed before is not counted, since Linux 6.18; it may
		// have been another of the same tuple that was.
		x.flight.Unsure = true
	} else {
		(*seen)[tuple] = true
	}
	switch n := uint64(len(*seen)); {
	case i.Count < 1 && (*seen)[tuple]:
		return i.outcome(true)
	case n <= uint64(i.Count):
		return i.outcome(false)
	}
	return x.unknown("which connections are alive is not modelled")
}

// leastTuple is how many bytes of a transport header are surely enough to find
// the tuple of a packet, and tuplePorts how many are where it begins with ports.
//
// Kernel: net/netfilter/nf_conntrack_core.c, nf_ct_get_tuple.
const (
	leastTuple = 8
	tuplePorts = 4
)

var portProtocols = []uint8{protoTCP, protoUDP, 33, 132, protoUDPLite}

// addressBytes are the addresses of the network header.
func addressBytes(x *execution) []byte {
	if x.header.version == 4 {
		return x.flight.Data[12:20]
	}
	return x.flight.Data[8:40]
}

func (i *Connlimit) outcome(more bool) result {
	if more == i.Over {
		return proceed
	}
	return breaks
}

func (*Connlimit) asks(*compiler) bool { return true }

func (i *Connlimit) symbolic(x *symbolicRun) {
	s := x.space
	enough := x.reaches(leastTuple)
	for _, proto := range portProtocols {
		enough = s.Or(enough, s.And(x.isProto(proto), x.reaches(tuplePorts)))
	}
	plain := bdd.True
	for _, proto := range append([]uint8{1, 47, 58}, portProtocols...) {
		plain = s.Diff(plain, x.isProto(proto))
	}
	enough = s.Or(enough, plain)
	findable := s.And(s.Diff(x.hasProto(), x.later()), enough)
	x.undecidedWhere(s.Not(s.Or(s.HasEntry(), findable)), "whether a packet that is not tracked has a tuple")
	if x.ended {
		return
	}
	over, ok := x.ask(i, symbolic.Instance{Kind: "connlimit", Parameters: fmt.Sprintf("more than %d", i.Count), Width: 1})
	if ok {
		x.require(x.unless(!i.Over, over[0]))
	}
}
