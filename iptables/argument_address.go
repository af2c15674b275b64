package iptables

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
)

// An Address is an address with a mask, which need not be contiguous.
// Addr is already masked, as the kernel stores it.
type Address struct {
	Addr netip.Addr
	Mask netip.Addr // same family; all ones for a single address
}

// An AddressRange is an inclusive range of addresses, "a" or "a-b". The ends
// may be reversed: iptables takes such a range, and it matches nothing.
type AddressRange struct{ Low, High netip.Addr }

// A HostAddress is an address with a prefix length, for the options that read it
// as a host name would be read: conntrack --ctorigsrc, NETMAP --to and the like.
// Addr is kept as it was given, with the bits outside of the mask.
type HostAddress struct {
	Addr netip.Addr
	Mask netip.Addr // same family, contiguous; all ones for a single address
}

// A MAC is an Ethernet address.
type MAC [6]byte

// Set reads an address as iptables does, with an optional mask as number of
// bits or written like an address. A colon in the address or in the mask makes
// it IPv6. Of an IPv4 address, the last bytes may be left out, when they are 0,
// and each byte may be hexadecimal or octal; what is no address so may be one of
// inet_aton(3). With a mask of zero bits, any name
// stands for all addresses ("any/0"). Other names are refused, because what
// they mean depends on who is asked, and when.
func (a *Address) Set(arg string) error {
	text, mask, masked := cutLast(arg, '/')
	six := strings.Contains(text, ":") || strings.Contains(mask, ":")
	width := 32
	if six {
		width = 128
	}
	all := ones(width, width)
	m := all
	if masked {
		var err error
		if m, err = parseMask(mask, width); err != nil {
			return err
		}
	}
	if m.IsUnspecified() {
		*a = Address{Addr: m, Mask: m}
		return nil
	}
	addr, err := ParseAddr(text)
	if err != nil {
		var ok bool
		if addr, ok = inetAton(text); !ok {
			return err
		}
	}
	if addr.BitLen() != width {
		return fmt.Errorf("%q is an IPv4 address with an IPv6 mask", arg)
	}
	if m == all {
		*a = Address{Addr: addr, Mask: m}
		return nil
	}
	*a = Address{Addr: and(addr, m), Mask: m}
	return nil
}

// String returns "addr/bits", or "addr/mask" when the mask is not contiguous.
func (a *Address) String() string {
	if !a.Addr.IsValid() {
		return ""
	}
	return string(a.append(nil))
}

func (a *Address) append(b []byte) []byte {
	b = append(appendAddr(b, a.Addr), '/')
	if n, ok := prefixBits(a.Mask); ok {
		return strconv.AppendInt(b, int64(n), 10)
	}
	return appendAddr(b, a.Mask)
}

// IsAny reports whether the mask is zero, so that every address matches.
func (a *Address) IsAny() bool { return a.Mask.IsUnspecified() }

// cutLast splits s around the last sep.
func cutLast(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// ones returns the mask of n leading ones in a given width, 32 or 128.
func ones(n, width int) netip.Addr {
	if width == 32 {
		return masks4[n]
	}
	return masks6[n]
}

// The masks of both families by their numbers of leading ones.
var (
	masks4 = func() (masks [33]netip.Addr) {
		for n := range masks {
			masks[n] = leadingOnes(n, 32)
		}
		return masks
	}()
	masks6 = func() (masks [129]netip.Addr) {
		for n := range masks {
			masks[n] = leadingOnes(n, 128)
		}
		return masks
	}()
)

func leadingOnes(n, width int) netip.Addr {
	var b [16]byte
	for i := range b {
		k := min(max(n-8*i, 0), 8)
		b[i] = ^byte(0xff >> k)
	}
	if width == 32 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

func parseMask(mask string, width int) (netip.Addr, error) {
	n, rest, ok := leadingNumber(mask)
	if ok && rest == "" {
		if n > uint64(width) {
			return netip.Addr{}, fmt.Errorf("the mask has %s bits, and there are only %d", mask, width)
		}
		return ones(int(n), width), nil
	}
	var m netip.Addr
	if width == 32 {
		m, ok = dottedQuad(mask, true)
	} else {
		m, ok = parseIPv6(mask)
	}
	if !ok {
		return m, fmt.Errorf("the mask %q is neither a number of bits up to %d nor written like an address", mask, width)
	}
	return m, nil
}

func and(a, m netip.Addr) netip.Addr {
	if a.Is4() {
		x, y := a.As4(), m.As4()
		for i := range x {
			x[i] &= y[i]
		}
		return netip.AddrFrom4(x)
	}
	x, y := a.As16(), m.As16()
	for i := range x {
		x[i] &= y[i]
	}
	return netip.AddrFrom16(x)
}

// prefixBits returns the number of ones of a contiguous mask.
func prefixBits(mask netip.Addr) (n int, contiguous bool) {
	b := mask.AsSlice()
	for i, c := range b {
		if c == 0xff {
			continue
		}
		n = bits.LeadingZeros8(^c)
		contiguous = c<<n == 0
		for _, rest := range b[i+1:] {
			contiguous = contiguous && rest == 0
		}
		return 8*i + n, contiguous
	}
	return 8 * len(b), true
}

// ParseAddr reads one address without a mask, as iptables does (see
// [Address.Set]). The error is one that a Value's Set may return.
func ParseAddr(text string) (netip.Addr, error) {
	if strings.Contains(text, ":") {
		a, ok := parseIPv6(text)
		if !ok {
			return a, fmt.Errorf("%q is not an IPv6 address", text)
		}
		return a, nil
	}
	a, ok := dottedQuad(text, false)
	switch {
	case ok:
		return a, nil
	case strings.Trim(text, "0123456789./") == "":
		return a, fmt.Errorf("%q is not an IPv4 address of at most four numbers from 0 to 255", text)
	}
	return a, fmt.Errorf("%q is not an address; a host name is not looked up, because the result would depend on DNS: write the address", text)
}

// parseIPv6 reads an IPv6 address. One that holds an IPv4 address remains of
// the family it is written in.
func parseIPv6(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	return a, err == nil && a.Is6() && a.Zone() == ""
}

// dottedQuad reads one to four numbers with dots between them; missing ones at
// the end are 0, but a mask has all four.
func dottedQuad(text string, mask bool) (netip.Addr, bool) {
	if a, ok := plainQuad(text); ok {
		return a, true
	}
	var b [4]byte
	for i := range b {
		part, rest, more := text, "", false
		if i < 3 {
			part, rest, more = strings.Cut(text, ".")
		}
		v, tail, ok := leadingNumber(part)
		if !ok || tail != "" || v > 255 || mask && !more && i < 3 {
			return netip.Addr{}, false
		}
		b[i] = byte(v)
		if !more {
			break
		}
		text = rest
	}
	return netip.AddrFrom4(b), true
}

// plainQuad reads four decimal numbers without leading zeros, which is what rules mostly
// have.
func plainQuad(text string) (netip.Addr, bool) {
	var b [4]byte
	n, value, digits := 0, 0, 0
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			if value = 10*value + int(c-'0'); value > 255 || digits > 0 && value < 10 {
				return netip.Addr{}, false
			}
			digits++
		case c == '.' && digits > 0 && n < 3:
			b[n] = byte(value)
			n, value, digits = n+1, 0, 0
		default:
			return netip.Addr{}, false
		}
	}
	b[3] = byte(value)
	return netip.AddrFrom4(b), n == 3 && digits > 0
}

// inetAton reads an IPv4 address as inet_aton(3) does, by which a host name is
// tried before it is looked up: of one to four numbers, the last one fills all
// bytes that remain.
func inetAton(text string) (netip.Addr, bool) {
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var sum uint32
	for i, part := range parts {
		v, rest, ok := leadingNumber(part)
		if !ok || rest != "" || digit(part[0]) > 9 {
			return netip.Addr{}, false
		}
		shift := 24 - 8*i
		limit := uint64(0xff)
		if i == len(parts)-1 {
			shift, limit = 0, 1<<(32-8*i)-1
		}
		if v > limit {
			return netip.Addr{}, false
		}
		sum |= uint32(v) << shift
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), true
}

// Set reads an address, where one of IPv4 may be in the forms of inet_aton(3)
// ("10" is 0.0.0.10), with an optional number of bits.
func (h *HostAddress) Set(arg string) error {
	text, bits, masked := strings.Cut(arg, "/")
	var addr netip.Addr
	ok := false
	if strings.Contains(text, ":") {
		addr, ok = parseIPv6(text)
	} else {
		addr, ok = inetAton(text)
	}
	if !ok {
		return fmt.Errorf("%q is not an address; a host name is not looked up, because the result would depend on DNS: write the address", text)
	}
	width := uint64(addr.BitLen())
	n := width
	if masked {
		var err error
		if n, err = ParseNumber(bits, width); err != nil {
			return fmt.Errorf("the number of bits %w", err)
		}
	}
	*h = HostAddress{Addr: addr, Mask: ones(int(n), int(width))}
	return nil
}

// String returns "addr", with "/bits" unless the mask is all ones.
func (h *HostAddress) String() string {
	if n, _ := prefixBits(h.Mask); n < h.Addr.BitLen() {
		return AddrString(h.Addr) + "/" + strconv.Itoa(n)
	}
	return AddrString(h.Addr)
}

// appendAddr appends an address as inet_ntop(3) of the GNU C library writes it,
// which differs from RFC 5952 in IPv4-compatible addresses ("::192.0.2.1").
func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is6() && !a.Is4In6() {
		x := a.As16()
		compatible := x[12] != 0 || x[13] != 0
		for _, c := range x[:12] {
			compatible = compatible && c == 0
		}
		if compatible {
			return netip.AddrFrom4([4]byte(x[12:])).AppendTo(append(b, "::"...))
		}
	}
	return a.AppendTo(b)
}

// AddrString returns an address as iptables-save writes it.
func AddrString(a netip.Addr) string { return string(appendAddr(nil, a)) }

// Set reads "low-high" or a single address; both ends are of one family.
func (r *AddressRange) Set(arg string) error {
	first, second, two := strings.Cut(arg, "-")
	low, err := ParseAddr(first)
	if err != nil {
		return err
	}
	high := low
	if two {
		if high, err = ParseAddr(second); err != nil {
			return err
		}
	}
	if low.Is4() != high.Is4() {
		return fmt.Errorf("%q joins addresses of two families", arg)
	}
	*r = AddressRange{Low: low, High: high}
	return nil
}

// String returns "low-high", also when both are equal.
func (r *AddressRange) String() string {
	return string(appendAddr(append(appendAddr(nil, r.Low), '-'), r.High))
}

// Set reads six hexadecimal numbers of one or two digits with colons between
// them.
func (m *MAC) Set(arg string) error {
	parts := strings.Split(arg, ":")
	ok := len(parts) == len(m)
	for i := 0; ok && i < len(m); i++ {
		v, err := strconv.ParseUint(parts[i], 16, 8)
		ok = err == nil && len(parts[i]) <= 2
		m[i] = byte(v)
	}
	if !ok {
		return fmt.Errorf("%q is not an Ethernet address of six hexadecimal bytes with colons between them", arg)
	}
	return nil
}

// String returns the address in lower case.
func (m *MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}
