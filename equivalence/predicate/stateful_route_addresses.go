package predicate

import (
	"fmt"
	"net/netip"
)

// RouteAddresses is "--rt-0-addrs": the addresses of a routing header of type 0 are
// those of a list, or with Among hold it in that order, with others between.
//
// Kernel: net/ipv6/netfilter/ip6t_rt.c.
type RouteAddresses struct {
	List  []netip.Addr
	Among bool
}

var _ Instance = RouteAddresses{}

// Identity is "": there is nothing to share.
func (RouteAddresses) Identity() string { return "" }

// Describe says which addresses.
func (a RouteAddresses) Describe() string {
	return fmt.Sprintf("route over %v, others among them %v", a.List, a.Among)
}

// Keys is none.
func (RouteAddresses) Keys() []Field { return nil }

// Ask looks at the addresses.
func (a RouteAddresses) Ask(r Reader, _ string) Truth {
	const routing = 43
	units, there := r.Field(Field{ID: HeaderByte, Arg: Header(routing, 1)})
	if there != Yes {
		return No
	}
	number := int(units.Lo) / 2 // units of 8 bytes, without the first
	at := 0
	for place := range number {
		if at == len(a.List) {
			return Of(a.Among)
		}
		equal, want := true, a.List[at].As16()
		for i, b := range want {
			got, _ := r.Field(Field{ID: HeaderByte, Arg: Header(routing, 8+16*place+i)})
			equal = equal && byte(got.Lo) == b
		}
		switch {
		case equal:
			at++
		case !a.Among:
			return No
		}
	}
	return Of(at == len(a.List))
}
