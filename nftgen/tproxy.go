package nftgen

import (
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
)

// TProxy is "tproxy [ip|ip6] to [ADDRESS][:PORT]": the packet is given to a
// transparent socket that listens there. Without one, the rule goes no further.
// An address of zeros is the one of the device, port 0 that of the packet. nft
// takes it behind a test of the protocol.
type TProxy struct {
	Family  Family // IP or IP6
	Address Value  // nil for none
	Port    uint16
}

var _ action = TProxy{}

func (TProxy) stmt()          {}
func (TProxy) terminal() bool { return false }

func (s TProxy) text(table Family) string {
	words := "tproxy"
	if table == Inet {
		words += " " + s.Family.String()
	}
	port := strconv.Itoa(int(s.Port))
	switch {
	case s.Address == nil:
		return words + " to :" + port
	case s.Port == 0 && s.Family == IP6:
		return words + " to [" + addressText(s.Address) + "]"
	case s.Port == 0:
		return words + " to " + addressText(s.Address)
	}
	return words + " to " + net.JoinHostPort(addressText(s.Address), port)
}

func (s TProxy) check() error {
	want, ok := map[Family]int{IP: 4, IP6: 16}[s.Family]
	switch {
	case !ok:
		return fmt.Errorf("write tproxy: family %s", s.Family)
	case s.Address != nil && len(s.Address) != want:
		return fmt.Errorf("write tproxy: %d bytes are no address of family %s", len(s.Address), s.Family)
	}
	return nil
}

// Attributes of tproxy.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_tproxy_attributes.
const (
	tproxyFamily  = 1
	tproxyAddress = 2
	tproxyPort    = 3
)

// compile puts what is there into registers; the kernel asks for one of the two.
func (s TProxy) compile(c *compiler) error {
	var a attributes
	a.u32(tproxyFamily, uint32(s.Family))
	register := uint32(1)
	if s.Address != nil {
		c.add(immediate(register, s.Address))
		a.u32(tproxyAddress, register)
		register++
	}
	if s.Port != 0 || s.Address == nil {
		c.add(immediate(register, binary.BigEndian.AppendUint16(nil, s.Port)))
		a.u32(tproxyPort, register)
	}
	c.add(ownExpression{"tproxy", a})
	return nil
}
