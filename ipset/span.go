package ipset

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// parseAddr reads an address of a family.
func parseAddr(text string, family uint8) (netip.Addr, error) {
	if family != 6 {
		if a, ok := parseIPv4(text); ok {
			return a, nil
		}
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil || a.Zone() != "":
		return a, fmt.Errorf("%q is not an address", clip(text))
	case a.Is4() != (family != 6):
		return a, fmt.Errorf("%q is not an address of the family of the set", clip(text))
	}
	return a, nil
}

// parseIPv4 reads a dotted address.
func parseIPv4(s string) (netip.Addr, bool) {
	v, ok := parseDotted(s)
	if !ok {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), true
}

// parseDotted reads a dotted address as a number.
func parseDotted(s string) (addr uint32, ok bool) {
	n, v, digits := 0, uint32(0), 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9' && digits < 3:
			v = 10*v + uint32(c-'0')
			digits++
		case c == '.' && digits > 0 && v <= 255 && n < 3:
			addr = addr<<8 | v
			n, v, digits = n+1, 0, 0
		default:
			return 0, false
		}
	}
	return addr<<8 | v, n == 3 && digits > 0 && v <= 255
}

// parseNet reads an address with an optional prefix length.
func parseNet(text string, family uint8) (a netip.Addr, bits int, err error) {
	addr, length, prefix := strings.Cut(text, "/")
	if a, err = parseAddr(addr, family); err != nil {
		return a, 0, err
	}
	bits = a.BitLen()
	if prefix {
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 || n > bits || len(length) > 3 {
			return a, 0, fmt.Errorf("%q is not a prefix length of 0 to %d bits", clip(length), bits)
		}
		bits = n
	}
	return a, bits, nil
}

// parseSpan reads an address, a network or a range of addresses.
func parseSpan(text string, family uint8) (low, high netip.Addr, err error) {
	if from, to, ok := cutRange(text); ok {
		if low, err = parseAddr(from, family); err == nil {
			high, err = parseAddr(to, family)
		}
		if err == nil && high.Less(low) {
			low, high = high, low
		}
		return low, high, err
	}
	a, bits, err := parseNet(text, family)
	if err != nil {
		return a, a, err
	}
	p := netip.PrefixFrom(a, bits).Masked()
	return p.Addr(), lastOf(p), nil
}

func cutRange(text string) (from, to string, ok bool) {
	i := strings.IndexByte(text, '-')
	if i <= 0 {
		return "", "", false
	}
	return text[:i], text[i+1:], true
}

// lastOf returns the greatest address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// networks calls yield for the fewest networks that make up a range.
func networks(low, high netip.Addr, yield func(netip.Prefix) bool) {
	for {
		bits := low.BitLen()
		for bits > 0 {
			wider := netip.PrefixFrom(low, bits-1)
			if wider.Masked().Addr() != low || high.Less(lastOf(wider)) {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(low, bits)
		last := lastOf(p)
		if !yield(p) || last == high {
			return
		}
		low = last.Next()
	}
}

// mask returns an address under a mask, of the first bits or of any.
func mask(a netip.Addr, bits int, any netip.Addr) netip.Addr {
	if any.IsValid() {
		b, m := a.AsSlice(), any.AsSlice()
		for i := range b {
			b[i] &= m[i]
		}
		a, _ = netip.AddrFromSlice(b)
	}
	return netip.PrefixFrom(a, bits).Masked().Addr()
}
