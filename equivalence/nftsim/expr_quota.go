package nftsim

import (
	"fmt"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/symbolic"
)

func init() { register("quota", decodeQuota) }

// Quota breaks the rule once more bytes have passed than it grants, or with
// Over until then. The packet that crosses the line counts as beyond it.
//
// Kernel: net/netfilter/nft_quota.c.
type Quota struct {
	Bytes    uint64
	Consumed uint64 // before the first packet
	Over     bool
}

func decodeQuota(_ *scope, data []byte) (Instruction, error) {
	i := &Quota{}
	var flags uint32
	err := decodeNest("quota", data, need(unix.NFTA_QUOTA_BYTES, decodeU64(&i.Bytes)),
		may(unix.NFTA_QUOTA_FLAGS, decodeU32(&flags)), may(unix.NFTA_QUOTA_CONSUMED, decodeU64(&i.Consumed)),
		skip(unix.NFTA_QUOTA_PAD))
	if err != nil {
		return nil, err
	}
	if i.Bytes > 1<<63-1 || flags&^unix.NFT_QUOTA_F_INV != 0 {
		return nil, fmt.Errorf("%d bytes, flags %#x", i.Bytes, flags)
	}
	i.Over = flags != 0
	return i, nil
}

func (i *Quota) String() string {
	flags := 0
	if i.Over {
		flags = 1
	}
	return fmt.Sprintf("[ quota bytes %d consumed %d flags %d ]", i.Bytes, i.Consumed, flags)
}

func (i *Quota) exec(x *execution) result {
	used := state(x, i, func() *uint64 { n := i.Consumed; return &n })
	*used += uint64(len(x.flight.Data))
	if (*used > i.Bytes) != i.Over {
		return breaks
	}
	return proceed
}

func (*Quota) asks(*compiler) bool { return true }

func (i *Quota) symbolic(x *symbolicRun) {
	within, ok := x.ask(i, symbolic.Instance{
		Kind: "quota", Parameters: fmt.Sprintf("bytes %d consumed %d", i.Bytes, i.Consumed), Width: 1,
	})
	if ok {
		x.require(x.unless(i.Over, within[0]))
	}
}
