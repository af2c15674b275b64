package nftgen

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits on texts that go into the kernel.
const (
	// maxName is the longest name of a table, chain or set.
	//
	// Kernel: include/uapi/linux/netfilter/nf_tables.h, NFT_NAME_MAXLEN with
	// the final NUL.
	maxName      = 255
	maxInterface = 15  // IFNAMSIZ - 1
	maxComment   = 128 // nftables include/rule.h, NFTNL_UDATA_COMMENT_MAXLEN
	maxLogPrefix = 127 // NF_LOG_PREFIXLEN - 1
)

// keywords are the words that the language of nft 1.0.6 keeps for itself,
// and those that later versions added.
var keywords = func() map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Fields(`
		accept add ah all and arp auto-merge bridge cgroup chain comment comp constant continue counter cpu create ct day
		dccp define delete describe device devices dnat drop dst dup dynamic ecn element elements eq esp ether exists
		expires export exthdr fib flags flow flowtable flush frag fwd gc-interval ge get goto gt handle hbh hook hour
		ibriport ibrname icmp icmpv6 igmp iif iifgroup iifname iiftype import include index inet insert interval ip ip6
		ipsec jhash jump le limit list log lshift lt map mark masquerade meta meter mh missing monitor ne netdev nftrace
		not notrack numgen obriport obrname offload oif oifgroup oifname oiftype or osf pkttype policy position priority
		queue quota random redefine redirect reject rename replace reset return rshift rt rt0 rt2 rtclassid rule ruleset
		sctp secmark set size skgid skuid snat socket srh symhash synproxy table tcp th time timeout tproxy type typeof
		udp udplite undefine update vlan vmap xor xt
		destroy geneve gre gretap last tunnel vni vxlan`) {
		m[w] = true
	}
	return m
}()

func nameStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

func nameByte(c byte) bool {
	return nameStart(c) || c >= '0' && c <= '9' || strings.IndexByte("-./", c) >= 0
}

// ValidName reports whether nft reads s as the name of a table, chain or set:
// a letter or underscore, then letters, digits, "_", "-", ".", "/", and no
// word of the language.
//
// Source: nftables src/scanner.l, the pattern string, confirmed with nft 1.0.6.
func ValidName(s string) bool {
	if s == "" || len(s) > maxName || !nameStart(s[0]) || keywords[s] {
		return false
	}
	for i := range len(s) {
		if !nameByte(s[i]) {
			return false
		}
	}
	return true
}

// CleanName returns a valid name that is like s: bytes that names cannot hold
// become underscores, and a name that would still not do gets one in front.
// Different names can become the same one.
func CleanName(s string) string {
	for i := range len(s) {
		if !nameByte(s[i]) {
			b := []byte(s)
			for i, c := range b {
				if !nameByte(c) {
					b[i] = '_'
				}
			}
			s = string(b)
			break
		}
	}
	if len(s) > 0 && nameStart(s[0]) && !keywords[s] {
		return s[:min(len(s), maxName)]
	}
	s = "_" + s
	return s[:min(len(s), maxName)]
}

// own introduces a name that stands behind it as it is, or escaped, where it could
// not stand alone.
const own = "_//"

// EscapeName returns a valid name from which any other name can be computed
// again, by [UnescapeName]. A name that is valid and has no slash stays as it is.
// Of others, each byte that is no letter, digit, "_", "-" or "." becomes a slash
// and two hexadecimal digits; and where a name cannot begin so, or is a word of
// the language of nft, "_//" comes in front: "a:b" is "a/3ab", "1st" is "_//1st".
//
// Words that versions of nft still to come will add are not foreseen: a text with
// a chain of that name is then refused as a whole when it is loaded, and a batch
// is not affected, since the kernel knows no words.
func EscapeName(s string) string {
	body := EscapeBytes(s)
	if body == "" || !nameStart(body[0]) || keywords[body] {
		return own + body
	}
	return body
}

// EscapeOwn is EscapeName for a name that would be taken for something else: it
// always begins with "_//".
func EscapeOwn(s string) string { return own + EscapeBytes(s) }

// EscapeBytes returns what may stand within a name for any bytes.
func EscapeBytes(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && nameByte(s[i]) && s[i] != '/'
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; nameByte(c) && c != '/' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "/%02x", c)
		}
	}
	return b.String()
}

// UnescapeName returns the name that EscapeName, EscapeOwn or EscapeBytes made a
// name of; ok is false when none of them can have made it.
func UnescapeName(name string) (s string, ok bool) {
	var b strings.Builder
	for rest := strings.TrimPrefix(name, own); rest != ""; {
		if rest[0] != '/' {
			b.WriteByte(rest[0])
			rest = rest[1:]
			continue
		}
		if len(rest) < 3 {
			return "", false
		}
		c, err := strconv.ParseUint(rest[1:3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		rest = rest[3:]
	}
	s = b.String()
	return s, name == EscapeName(s) || name == EscapeOwn(s) || name == EscapeBytes(s)
}

// checkInterfaceName refuses names that nft does not read as they are meant.
// In quotes only a star at the end and a backslash before it are special.
func checkInterfaceName(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("write an interface name: it is empty")
	case len(s) > maxInterface:
		return fmt.Errorf("write the interface name %q: it is longer than %d bytes", s, maxInterface)
	case strings.HasSuffix(s, `\*`):
		return fmt.Errorf("write the interface name %q: nft cannot express a backslash before a final star", s)
	}
	return checkQuoted("interface name", s)
}

// checkQuoted refuses bytes that a quoted string cannot hold.
func checkQuoted(what, s string) error {
	for i := range len(s) {
		if c := s[i]; c == '"' || c < ' ' || c == 0x7f {
			return fmt.Errorf("write the %s %q: nft strings cannot hold %q", what, s, c)
		}
	}
	return nil
}
