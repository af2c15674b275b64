package predicate

import "net/netip"

// TranslatePrefix replaces the prefix of an IPv6 address, and changes another word
// of the address so that no checksum changes. Where no word can be changed, the
// sender gets an error and the packet is dropped.
//
// An ICMPv6 error says what address the packet had that it is about: there, a prefix
// From of the other address is replaced likewise.
//
// Kernel: net/ipv6/netfilter/ip6t_NPT.c; RFC 6296.
type TranslatePrefix struct {
	Destination bool // else the source
	From, To    netip.Prefix
}

func (TranslatePrefix) effect() {}

// wordBytes is the size of the words that a checksum is the sum of.
const wordBytes = 2

// Map returns an address behind the translation. It is false where the word behind
// the prefix that would have to change cannot: the prefix is new all the same.
//
// Words are added in ones' complement, which is modulo 65535.
func (t TranslatePrefix) Map(address [16]byte) ([16]byte, bool) {
	to, from := t.To.Addr().As16(), t.From.Addr().As16()
	sum := uint64(0)
	for i := 0; i < len(from); i += wordBytes {
		sum += uint64(from[i])<<8 + uint64(from[i+1])
		sum += 0xffff - (uint64(to[i])<<8 + uint64(to[i+1]))
	}
	bits := max(t.From.Bits(), t.To.Bits())
	for i := range bits {
		place := byte(0x80) >> (i % 8)
		address[i/8] = address[i/8]&^place | to[i/8]&place
	}
	at := 6
	if bits > 48 {
		for at = 8; at < len(address) && address[at] == 0xff && address[at+1] == 0xff; at += wordBytes {
		}
		if at == len(address) {
			return address, false
		}
	}
	word := (sum + uint64(address[at])<<8 + uint64(address[at+1])) % 0xffff
	address[at], address[at+1] = byte(word>>8), byte(word)
	return address, true
}
