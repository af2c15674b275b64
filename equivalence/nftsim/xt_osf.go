package nftsim

import "fmt"

func init() { registerXtMatch("osf", 0, decodeXtOSF) }

// xtOSF asks for the operating system that sent a SYN, by fingerprints that user
// space loaded.
//
// Kernel: net/netfilter/xt_osf.c, nfnetlink_osf.c, nf_osf_match;
// include/uapi/linux/netfilter/nfnetlink_osf.h, struct nf_osf_info.
type xtOSF struct {
	genre      string
	ttl, level uint32
	flags      uint32
}

// Bits of its options.
const (
	xtOSFTTL    = 2
	xtOSFLog    = 4
	xtOSFInvert = 8
)

func decodeXtOSF(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	m := &xtOSF{genre: r.text(32)}
	length := int(r.u32())
	m.flags, m.level, m.ttl = r.u32(), r.u32(), r.u32()
	if err := r.end(); err != nil {
		return nil, err
	}
	if m.flags&^(xtOSFTTL|xtOSFLog|xtOSFInvert) != 0 || length != len(m.genre) || m.ttl > 2 || m.level > 2 {
		return nil, notModelled{fmt.Sprintf("fingerprints of %q with the options %#x", m.genre, m.flags)}
	}
	return m, nil
}

// String says negation too, which need not turn the answer round.
func (m *xtOSF) String() string {
	text := fmt.Sprintf("fingerprint of %q", m.genre)
	if m.flags&xtOSFInvert != 0 {
		text = "no " + text
	}
	if m.flags&xtOSFTTL != 0 {
		text += fmt.Sprintf(", TTL by rule %d", m.ttl)
	}
	if m.flags&xtOSFLog != 0 {
		text += fmt.Sprintf(", logged by rule %d", m.level)
	}
	return text
}

func (*xtOSF) negated() bool { return false }

func (*xtOSF) holds(*execution) (match, known bool) { return false, false }
