package predicate

import (
	"net/netip"
	"testing"
)

// TestTranslatePrefix holds Map against the example of RFC 6296, section 3.1, the
// ends of the range of a word, and the law by which it is made: the sum of the
// words of an address stays as it is.
func TestTranslatePrefix(t *testing.T) {
	tests := []struct{ from, to, address, want string }{
		{"fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405:1::1234", "2001:db8:1:d550::1234"},
		{"fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405:2ab0::1", "2001:db8:1::1"},
		{"fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405:ffff::1", "2001:db8:1:d54f::1"},
		{"fd00:5::/48", "fd01:4::/48", "fd00:5:0:ffff::1", "fd01:4::1"},
		{"fd00:2::/64", "2001:db8:7:50::/60", "fd00:2::ffff:ffff:ffff:5", "2001:db8:7:50:ffff:ffff:ffff:cef7"},
		{"fd00:30:2220::/44", "2001:db8:4440::/44", "fd00:30:222a:1::5", "2001:db8:444a:ad58::5"},
		{"fd00:2::/64", "2001:db8:7:50::/60", "fd00:2::ffff:ffff:ffff:ffff", ""},
	}
	for _, tt := range tests {
		p := TranslatePrefix{From: netip.MustParsePrefix(tt.from), To: netip.MustParsePrefix(tt.to)}
		old := netip.MustParseAddr(tt.address).As16()
		got, ok := p.Map(old)
		if !ok && tt.want == "" {
			continue
		}
		if !ok || netip.AddrFrom16(got).String() != tt.want {
			t.Errorf("%s from %s to %s: %s, %v, want %q", tt.address, tt.from, tt.to, netip.AddrFrom16(got), ok, tt.want)
		}
		if a, b := words(old), words(got); a != b {
			t.Errorf("%s: the sum of the words was %#x and is %#x", tt.address, a, b)
		}
	}
}

// words is the sum of the words of an address modulo 65535.
func words(a [16]byte) (sum int) {
	for i := 0; i < len(a); i += 2 {
		sum += int(a[i])<<8 + int(a[i+1])
	}
	return sum % 0xffff
}
