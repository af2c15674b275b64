package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
	"nftmigrate/packet"
)

// NewNftables returns a machine in which a batch of nf_tables messages was
// committed. Begin and end messages in the batch are ignored, and so is a
// deletion of all tables, since there are none. A batch that the kernel refuses
// is a [*RulesetError] that wraps a [*nfnetlink.CommitError].
func NewNftables(host *packet.Host, batch []netlink.Message, options Options) (*Machine, error) {
	return open(host, options, func(m *Machine) ([]uint16, error) {
		diverted, groups, err := divertBatch(batch)
		if err != nil {
			return nil, &RulesetError{"nf_tables", err}
		}
		for i := range diverted {
			m.sender.pinned = m.sender.pinned || bytes.Contains(diverted[i].Data, readsCPU)
			if touchesObservers(diverted[i]) {
				return nil, &RulesetError{"nf_tables", errors.New("the ruleset has a table of the observers' name, inet " + observerTable)}
			}
			if deletesAll(diverted[i]) {
				// Keeps the indices of the others, and is left out by Send.
				diverted[i] = netlink.Message{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_END}}
			}
		}
		if err := nfnetlink.Send(m.nft, diverted, nfnetlink.Options{}); err != nil {
			return nil, &RulesetError{"nf_tables", err}
		}
		return groups, nil
	})
}

// deletesAll says whether a message deletes every table, as "flush ruleset"
// does.
func deletesAll(m netlink.Message) bool {
	kind, ok := nfnetlink.Kind(m)
	return ok && kind == unix.NFT_MSG_DELTABLE && nfnetlink.Find(nfnetlink.Attributes(m), unix.NFTA_TABLE_NAME) == nil
}

// touchesObservers says whether a message is about the observers' table. All
// messages that name a table do so in attribute 1.
func touchesObservers(m netlink.Message) bool {
	_, ok := nfnetlink.Kind(m)
	return ok && nfnetlink.Family(m) == unix.NFPROTO_INET &&
		nfnetlink.FindString(nfnetlink.Attributes(m), unix.NFTA_TABLE_NAME) == observerTable
}

// readsCPU is the attribute by which a rule reads the CPU, NFTA_META_KEY.
var readsCPU = attr(unix.NFTA_META_KEY, binary.BigEndian.AppendUint32(nil, unix.NFT_META_CPU))
