package predicate

// EUI64 is "-m eui64": the last eight bytes of the IPv6 source address are the
// Ethernet source address with ff:fe in its middle and its universal bit turned.
//
// Kernel: net/ipv6/netfilter/ip6t_eui64.c, eui64_mt6; RFC 4291 appendix A.
type EUI64 struct{}

var _ Content = EUI64{}

// Content marks the type.
func (EUI64) Content() {}

// Identity is "": there is no state.
func (EUI64) Identity() string { return "" }

// Describe says what is compared.
func (EUI64) Describe() string { return "interface identifier of the Ethernet source" }

// Keys are both addresses.
func (EUI64) Keys() []Field { return []Field{{ID: SrcMAC}, {ID: SrcAddr}} }

// Ask compares them.
func (EUI64) Ask(r Reader, _ string) Truth {
	mac, link := r.Field(Field{ID: SrcMAC})
	address, there := r.Field(Field{ID: SrcAddr})
	if link != Yes || there != Yes {
		if link == No || there == No {
			return No
		}
		return Unknown
	}
	const turned, middle = 1 << 57, 0xfffe << 24
	id := mac.Lo>>24<<40 | middle | mac.Lo&0xffffff
	return Of(address.Lo == id^turned)
}
