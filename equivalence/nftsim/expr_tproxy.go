package nftsim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func init() { register("tproxy", decodeTProxy) }

// TProxy gives the packet to a transparent socket of the host, one of its own
// connection or else one that listens at an address and a port; where there is
// none, the rule does not go on. Whether there is one is not known: a machine
// takes it that there is none, a proof goes through both. The kernel has put
// fragments together before.
//
// Kernel: net/netfilter/nft_tproxy.c.
type TProxy struct {
	Family        uint32
	Address, Port Register // 0 for none
}

// Attributes of tproxy.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_tproxy_attributes.
const (
	tproxyFamily  = 1
	tproxyAddress = 2
	tproxyPort    = 3
)

func decodeTProxy(s *scope, data []byte) (Instruction, error) {
	i := &TProxy{}
	err := decodeNest("tproxy", data, need(tproxyFamily, decodeU32(&i.Family)),
		may(tproxyAddress, decodeRegister(&i.Address)), may(tproxyPort, decodeRegister(&i.Port)))
	table := uint32(s.table.Family)
	switch {
	case err != nil:
		return nil, err
	case i.Address == 0 && i.Port == 0:
		return nil, errors.New("a socket that is not told")
	case table == familyInet && (i.Family == 0 && i.Address == 0 || i.Family == familyIPv4 || i.Family == familyIPv6):
	case table != i.Family || table != familyIPv4 && table != familyIPv6:
		return nil, fmt.Errorf("sockets of family %d in a table of family %d", i.Family, table)
	}
	if i.Address != 0 {
		if err := i.Address.span(i.addressLen()); err != nil {
			return nil, err
		}
	}
	if i.Port != 0 {
		return i, i.Port.span(2)
	}
	return i, nil
}

func (i *TProxy) addressLen() int {
	if i.Family == familyIPv4 {
		return 4
	}
	return 16
}

func (i *TProxy) String() string {
	s := "[ tproxy"
	if i.Family != 0 {
		s += " " + familyNames[uint8(i.Family)]
	}
	if i.Address != 0 {
		s += fmt.Sprintf(" addr reg %s", i.Address)
	}
	if i.Port != 0 {
		s += fmt.Sprintf(" port reg %s", i.Port)
	}
	return s + " ]"
}

// sees reports whether packets of a version are given to sockets.
func (i *TProxy) sees(version int) bool { return i.Family == 0 || sees(uint8(i.Family), version) }

// tracks says that the kernel puts fragments together. It does not track
// connections, which nothing asks for.
//
// Kernel: net/netfilter/nft_tproxy.c, nft_tproxy_init.
func (i *TProxy) tracks(version int) bool { return i.sees(version) }

// offer says which socket is asked for.
func (i *TProxy) offer(addr, port []byte) packet.OfferEvent {
	var to packet.OfferEvent
	if a, ok := netip.AddrFromSlice(addr); ok && !a.IsUnspecified() {
		to.Address = a
	}
	if port != nil {
		to.Port = binary.BigEndian.Uint16(port)
	}
	return to
}

func (i *TProxy) exec(x *execution) result {
	h := x.header
	if !i.sees(h.version) || !h.hasProto || h.proto != protoTCP && h.proto != protoUDP {
		return breaks
	}
	// As many bytes are asked for in TCP too.
	if h.fragment != 0 || h.offset+udpLen > len(x.flight.Data) {
		return breaks
	}
	var addr, port []byte
	if i.Address != 0 {
		addr = x.regs.load(i.Address, i.addressLen())
	}
	if i.Port != 0 {
		port = x.regs.load(i.Port, 2)
	}
	x.flight.Emit(i.offer(addr, port))
	return breaks
}

func (*TProxy) asks(*compiler) bool { return true }

func (i *TProxy) symbolic(x *symbolicRun) {
	s := x.space
	if !i.sees(s.Version) {
		x.end(x.next())
		return
	}
	first := s.Number(x.bits(symbolic.Fragment), 0)
	x.require(s.All(s.Or(x.isProto(protoTCP), x.isProto(protoUDP)), first, x.reaches(udpLen)))
	if x.ended {
		return
	}
	var addr, port []byte
	for _, r := range []struct {
		from Register
		n    int
		to   *[]byte
	}{{i.Address, i.addressLen(), &addr}, {i.Port, 2, &port}} {
		if r.from == 0 {
			continue
		}
		w, ok := x.load(r.from, r.n)
		if !ok {
			return
		}
		if *r.to, ok = constantBytes(w); !ok {
			x.undecided("a socket that depends on the packet")
			return
		}
	}
	what := i.offer(addr, port).String()
	x.emit(symbolic.Token{Kind: "offer", Text: what})
	if w, ok := x.ask(i, symbolic.Instance{Kind: "content", Parameters: what, Width: 1, Silent: true}); ok {
		x.require(w[0])
	}
}

// constantBytes are the bytes of a word, when they are known.
func constantBytes(w symbolic.Word) ([]byte, bool) {
	bytes := make([]byte, len(w)/8)
	for i, bit := range w {
		switch bit {
		case bdd.True:
			bytes[i/8] |= 0x80 >> (i % 8)
		case bdd.False:
		default:
			return nil, false
		}
	}
	return bytes, true
}
