package nftsim

import (
	"net/netip"

	"nftmigrate/packet"
)

// AddressType is the type of an address as fib loads it.
func AddressType(h *packet.Host, a netip.Addr, device, link string) packet.RouteType {
	if a.Is4() {
		return addressType4(h, a, device)
	}
	return addressType6(h, a, device, link)
}
