package nftsim

import (
	"fmt"
	"net/netip"

	"nftmigrate/packet"
)

func init() { registerXtMatch("cluster", 0, decodeXtCluster) }

// xtCluster says of the node that a connection belongs to whether it is local.
//
// Kernel: net/netfilter/xt_cluster.c; include/uapi/linux/netfilter/xt_cluster.h,
// struct xt_cluster_match_info.
type xtCluster struct {
	total, mask, seed uint32
	invert            bool
}

func decodeXtCluster(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	m := &xtCluster{total: r.u32(), mask: r.u32(), seed: r.u32()}
	flags := r.u32()
	if err := r.end(); err != nil {
		return nil, err
	}
	if flags > 1 || m.total == 0 || m.total > 32 || uint64(m.mask)>>m.total != 0 {
		return nil, fmt.Errorf("the nodes %#x of %d with the flags %#x", m.mask, m.total, flags)
	}
	m.invert = flags == 1
	return m, nil
}

// String says negation too, which does not concern packets without a connection.
func (m *xtCluster) String() string {
	text := fmt.Sprintf("the nodes %#x of %d by seed %#x", m.mask, m.total, m.seed)
	if m.invert {
		return "not " + text
	}
	return text
}

func (*xtCluster) negated() bool { return false }

func (*xtCluster) tracks(int) bool { return true }

// holds changes the type of a packet for a group of the link and a single address,
// which it does not decide, as a proof does not follow the change; nor does it know
// where the connection is that expected this one.
func (m *xtCluster) holds(x *execution) (match, known bool) {
	data, e := x.flight.Data, x.flight.Tracking.Entry
	var to netip.Addr
	switch {
	case templated(x.flight):
		return false, false
	case len(data) >= 20 && data[0]>>4 == 4:
		to, _ = netip.AddrFromSlice(data[16:20])
	case len(data) >= 40 && data[0]>>4 == 6:
		to, _ = netip.AddrFromSlice(data[24:40])
	default:
		return false, false
	}
	switch {
	case x.flight.Type() == packet.TypeMulticast && !to.IsMulticast():
		x.flight.ForHost = true
		return false, false
	case e == nil:
		return false, true
	case e.Status&packet.StatusExpected != 0:
		return false, false
	}
	from := e.Original.Src.AsSlice()
	return m.mask>>below(jhash(from[:4], m.seed), m.total)&1 != 0 != m.invert, true
}
