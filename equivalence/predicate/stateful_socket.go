package predicate

import (
	"fmt"
	"net/netip"
)

// A TransparentSocket asks whether a socket of the host takes packets that are
// meant for others (IP_TRANSPARENT): one of the packet's own connection, or else
// one that listens at an address, which is the device's where it is all zeros, and
// a port, which is the packet's where it is 0. No rules say so.
//
// Kernel: net/netfilter/xt_TPROXY.c, tproxy_tg4; net/ipv4/netfilter/nf_tproxy_ipv4.c.
type TransparentSocket struct {
	Address netip.Addr
	Port    uint16
}

var _ Content = TransparentSocket{}

// Content marks the type.
func (TransparentSocket) Content() {}

// Identity is "": there is no state.
func (TransparentSocket) Identity() string { return "" }

// Describe says where it listens.
func (t TransparentSocket) Describe() string {
	at, port := "the address of the device", "the packet's port"
	if t.Address.IsValid() && !t.Address.IsUnspecified() {
		at = t.Address.String()
	}
	if t.Port != 0 {
		port = fmt.Sprintf("port %d", t.Port)
	}
	return "transparent socket at " + at + ", " + port
}

// Keys are none.
func (TransparentSocket) Keys() []Field { return nil }

// Ask takes it that nobody listens.
func (TransparentSocket) Ask(Reader, string) Truth { return No }
