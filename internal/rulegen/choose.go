package rulegen

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
)

// A choice is one of several things, with how often it is taken in relation to
// the others.
type choice[T any] struct {
	weight int
	is     T
}

func choose[T any](r *rand.Rand, list []choice[T]) T {
	sum := 0
	for _, c := range list {
		sum += c.weight
	}
	n := r.IntN(sum)
	for _, c := range list {
		if n -= c.weight; n < 0 {
			return c.is
		}
	}
	panic("rulegen: the weights have changed")
}

// oneOf returns one of several, each as likely as the others.
func oneOf[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// oneIn reports whether something happens that happens once in n times.
func oneIn(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }

// addrIn returns a random address of a network.
func addrIn(r *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		host := byte(0xff)
		if fixed := p.Bits() - 8*i; fixed >= 8 {
			continue
		} else if fixed > 0 {
			host >>= fixed
		}
		b[i] |= byte(r.Uint32()) & host
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// nth returns the address that is n behind another one of IPv4.
func nth(base netip.Addr, n uint32) netip.Addr {
	b := base.As4()
	n += uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// scatter returns a number below size, which is a power of two: another one for
// each of size numbers that follow on each other.
func scatter(n, size uint32) uint32 {
	const odd = 0x9e3779b1 // so that it has an inverse
	return n * odd % size
}

// single returns the network of one address.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// wellKnown are ports of services, with the protocol that has them most.
var wellKnown = []struct {
	protocol string
	port     int
}{
	{"tcp", 22}, {"tcp", 25}, {"udp", 53}, {"tcp", 53}, {"tcp", 80}, {"tcp", 110}, {"udp", 123}, {"tcp", 143},
	{"udp", 161}, {"tcp", 389}, {"tcp", 443}, {"udp", 443}, {"tcp", 445}, {"tcp", 465}, {"udp", 500}, {"tcp", 587},
	{"tcp", 631}, {"tcp", 636}, {"tcp", 873}, {"tcp", 993}, {"tcp", 995}, {"udp", 1194}, {"tcp", 1723}, {"tcp", 2049},
	{"tcp", 3128}, {"tcp", 3306}, {"tcp", 3389}, {"udp", 4500}, {"udp", 5060}, {"tcp", 5222}, {"tcp", 5269}, {"tcp", 5432},
	{"tcp", 5900}, {"tcp", 6667}, {"tcp", 8000}, {"tcp", 8080}, {"tcp", 8443}, {"tcp", 9418}, {"udp", 27015}, {"tcp", 50000},
}

// service returns a protocol and a port that a server may have.
func service(r *rand.Rand) (protocol string, port int) {
	if oneIn(r, 4) {
		return oneOf(r, []string{"tcp", "tcp", "udp"}), 1024 + r.IntN(60000)
	}
	s := oneOf(r, wellKnown)
	return s.protocol, s.port
}

// portList returns the ports of "-m multiport", which has room for 15, a range
// counting twice.
func portList(r *rand.Rand) string {
	n := 2 + r.IntN(6)
	ports := make([]int, n)
	for i := range ports {
		_, ports[i] = service(r)
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	var words []string
	for _, p := range ports {
		word := fmt.Sprint(p)
		if oneIn(r, 6) {
			word += fmt.Sprint(":", p+1+r.IntN(100))
		}
		words = append(words, word)
	}
	return strings.Join(words, ",")
}

// portRange returns a range of ports without privileges.
func portRange(r *rand.Rand) string {
	low := 1024 + 8*r.IntN(7000)
	return fmt.Sprintf("%d:%d", low, low+1+r.IntN(1000))
}

// macAddress returns the address of an interface of some vendors.
func macAddress(r *rand.Rand) string {
	vendor := oneOf(r, []string{"00:1b:21", "00:25:90", "52:54:00", "3c:52:82", "a4:bf:01"})
	n := r.Uint32()
	return fmt.Sprintf("%s:%02x:%02x:%02x", vendor, byte(n>>16), byte(n>>8), byte(n))
}
