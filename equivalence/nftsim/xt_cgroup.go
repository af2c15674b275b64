package nftsim

import "fmt"

func init() { registerXtMatch("cgroup", 2, decodeXtCgroup) }

// xtCgroup asks whether the packet's socket is of a control group or of one below
// it, by its path.
//
// Kernel: net/netfilter/xt_cgroup.c, cgroup_mt_v2;
// include/uapi/linux/netfilter/xt_cgroup.h, struct xt_cgroup_info_v2.
type xtCgroup struct {
	path   string
	invert bool
}

func decodeXtCgroup(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	hasPath, hasClass, notPath, notClass := r.u8(), r.u8(), r.u8(), r.u8()
	m := xtCgroup{r.text(512), notPath == 1}
	r.u64() // the kernel's
	if hasPath != 1 || hasClass != 0 || notPath > 1 || notClass != 0 {
		return nil, notModelled{fmt.Sprintf("match cgroup with the options %d, %d, %d and %d", hasPath, hasClass, notPath, notClass)}
	}
	return m, r.end()
}

// String says negation too: without a whole socket neither holds.
func (m xtCgroup) String() string {
	not := ""
	if m.invert {
		not = "not "
	}
	return fmt.Sprintf("control group %sbelow %q", not, m.path)
}

func (xtCgroup) negated() bool { return false }

// holds knows only packets without a socket.
func (xtCgroup) holds(x *execution) (match, known bool) { return false, x.flight.Packet.Socket == nil }
