package nftgen

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// SetEvents is "ct event set E": of a connection listeners are told only the
// events that have a bit (1 << IPCT_*).
//
// Kernel: net/netfilter/nft_ct.c, nft_ct_set_eval;
// include/uapi/linux/netfilter/nf_conntrack_common.h.
type SetEvents struct{ Events uint32 }

// eventWords are nft's words by bit; those that nft prints and does not read are
// missing.
var eventWords = map[int]string{
	0: "new", 1: "related", 2: "destroy", 3: "reply", 4: "assured", 5: "protoinfo", 8: "seqadj", 10: "label",
}

// eventBits is how many events there are.
const eventBits = 11

var _ action = SetEvents{}

func (SetEvents) stmt()          {}
func (SetEvents) terminal() bool { return false }

func (s SetEvents) text(Family) string {
	var words []string
	for bit := range eventBits {
		if s.Events>>bit&1 == 0 {
			continue
		}
		if eventWords[bit] == "" {
			words = nil
			break
		}
		words = append(words, eventWords[bit])
	}
	if words == nil {
		return fmt.Sprintf("ct event set %#x", s.Events)
	}
	return "ct event set " + strings.Join(words, ",")
}

func (s SetEvents) check() error {
	if s.Events>>eventBits != 0 {
		return fmt.Errorf("write ct event set: there are no events %#x", s.Events)
	}
	return nil
}

func (s SetEvents) compile(c *compiler) error {
	var a attributes
	a.u32(unix.NFTA_CT_KEY, unix.NFT_CT_EVENTMASK)
	a.u32(unix.NFTA_CT_SREG, 1)
	c.add(immediate(1, binary.NativeEndian.AppendUint32(nil, s.Events)), ownExpression{"ct", a})
	return nil
}
