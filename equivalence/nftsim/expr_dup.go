package nftsim

import (
	"errors"
	"fmt"
	"net/netip"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func init() { register("dup", decodeDup) }

// Dup sends a copy of the packet to a gateway. One that names a device as well is
// not modelled.
//
// Kernel: net/ipv4/netfilter/nft_dup_ipv4.c, net/ipv6/netfilter/nft_dup_ipv6.c.
type Dup struct {
	Address Register
	size    int
}

// Attributes of dup.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_dup_attributes.
const (
	dupAddress = 1
	dupDevice  = 2
)

func decodeDup(s *scope, data []byte) (Instruction, error) {
	i := &Dup{size: 4}
	if s.table.Family == familyIPv6 {
		i.size = 16
	} else if s.table.Family != familyIPv4 {
		return nil, errors.New("a copy in a table of several families")
	}
	// The device is an attribute that is not listed.
	if err := decodeNest("dup", data, need(dupAddress, decodeRegister(&i.Address))); err != nil {
		return nil, err
	}
	return i, i.Address.span(i.size)
}

func (i *Dup) String() string { return fmt.Sprintf("[ dup sreg_addr %s ]", i.Address) }

func (i *Dup) exec(x *execution) result {
	gateway, _ := netip.AddrFromSlice(x.regs.load(i.Address, i.size))
	x.flight.Emit(packet.DupEvent{Gateway: gateway})
	return proceed
}

func (i *Dup) symbolic(x *symbolicRun) {
	if w, ok := x.load(i.Address, i.size); ok {
		x.cells(w, func(y *symbolicRun, cells []symbolic.Cell) {
			y.emit(symbolic.Token{Kind: "dup", Cells: cells})
		})
	}
}
