package extension

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"nftmigrate/iptables"
)

// ctStates are the states of --ctstate. The bits are those of one 16 bit word
// of the option as the kernel keeps it, in another numbering.
type ctStates uint32

// The states.
const (
	ctInvalid ctStates = 1 << iota
	ctNew
	ctRelated
	ctEstablished
	ctUntracked
	ctSNAT
	ctDNAT
)

var ctStateNames = nameBits{
	{"INVALID", uint32(ctInvalid)}, {"NEW", uint32(ctNew)}, {"RELATED", uint32(ctRelated)},
	{"ESTABLISHED", uint32(ctEstablished)}, {"UNTRACKED", uint32(ctUntracked)},
	{"SNAT", uint32(ctSNAT)}, {"DNAT", uint32(ctDNAT)},
}

// Set reads states with commas between them.
func (s *ctStates) Set(arg string) error {
	bits, err := ctStateNames.parse(arg)
	*s = ctStates(bits)
	return err
}

// String returns the states in the order of iptables-save.
func (s *ctStates) String() string { return ctStateNames.join(uint32(*s)) }

// A ctStatus is the bits of a connection's status that --ctstatus can ask for,
// or 0 for NONE.
//
// Kernel: include/uapi/linux/netfilter/nf_conntrack_common.h, enum
// ip_conntrack_status.
type ctStatus uint32

var ctStatusNames = nameBits{
	{"NONE", 0}, {"EXPECTED", 1 << 0}, {"SEEN_REPLY", 1 << 1}, {"ASSURED", 1 << 2}, {"CONFIRMED", 1 << 3},
}

// Set reads states of a connection with commas between them.
func (s *ctStatus) Set(arg string) error {
	bits, err := ctStatusNames.parse(arg)
	*s = ctStatus(bits)
	return err
}

// String returns them in the order of iptables-save.
func (s *ctStatus) String() string {
	if *s == 0 {
		return "NONE"
	}
	return ctStatusNames.join(uint32(*s))
}

// A ctProtocol is a protocol that is printed as a number.
type ctProtocol struct{ Number iptables.Protocol }

// Set reads a number or a name.
func (p *ctProtocol) Set(arg string) error { return p.Number.Set(arg) }

// String returns the number.
func (p *ctProtocol) String() string { return strconv.Itoa(int(p.Number)) }

// A ctDirection is ORIGINAL or REPLY.
type ctDirection struct{ Reply bool }

// Set reads the word in any case.
func (d *ctDirection) Set(arg string) error {
	switch strings.ToUpper(arg) {
	case "ORIGINAL":
		d.Reply = false
	case "REPLY":
		d.Reply = true
	default:
		return fmt.Errorf("%q is neither ORIGINAL nor REPLY", arg)
	}
	return nil
}

// String returns the word.
func (d *ctDirection) String() string {
	if d.Reply {
		return "REPLY"
	}
	return "ORIGINAL"
}

// A ctAddress is an address with a prefix length. Unlike that of -s and -d, the
// address keeps the bits behind the prefix.
type ctAddress struct {
	Addr netip.Addr
	Bits int
}

// Set reads "address", "address/bits" or "address/mask".
//
// A mask that is not contiguous, or has too many bits, is refused: iptables
// reads it without a word as the mask of a single address. So is an address of
// fewer than four numbers, which is read differently here (10.1 is 10.0.0.1)
// than behind -s (10.1.0.0).
func (a *ctAddress) Set(arg string) error {
	text, mask, masked := strings.Cut(arg, "/")
	addr, err := iptables.ParseAddr(text)
	if err != nil {
		return err
	}
	if addr.Is4() && strings.Count(text, ".") != 3 {
		return fmt.Errorf("%q has fewer than four numbers: write all four", text)
	}
	bits := addr.BitLen()
	if masked {
		if bits, err = ctPrefix(mask, addr); err != nil {
			return err
		}
	}
	*a = ctAddress{Addr: addr, Bits: bits}
	return nil
}

func ctPrefix(mask string, addr netip.Addr) (int, error) {
	width := addr.BitLen()
	if n, err := iptables.ParseNumber(mask, uint64(width)); err == nil {
		return int(n), nil
	}
	m, err := netip.ParseAddr(mask)
	if err != nil || m.BitLen() != width {
		return 0, fmt.Errorf("%q is neither a number of bits up to %d nor a mask", mask, width)
	}
	for n := range width + 1 {
		if p, _ := allOnes(width).Prefix(n); p.Addr() == m {
			return n, nil
		}
	}
	return 0, fmt.Errorf("the mask %q is not contiguous, and iptables would take it for that of a single address: write a number of bits", mask)
}

func allOnes(width int) netip.Addr {
	var b [16]byte
	for i := range b {
		b[i] = 0xff
	}
	if width == 32 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

// String returns the address, with the number of bits when that is not all.
func (a *ctAddress) String() string {
	s := iptables.AddrString(a.Addr)
	if a.Bits == a.Addr.BitLen() {
		return s
	}
	return s + "/" + strconv.Itoa(a.Bits)
}

// A ctPorts is a span of ports that prints also when it holds all of them, and
// may be reversed: then it holds none. A number that does not fit into 16 bits
// is refused; iptables cuts it off.
type ctPorts struct{ Low, High uint16 }

// Set reads "a", "a:b", "a:" or ":b".
func (p *ctPorts) Set(arg string) error {
	first, second, two := strings.Cut(arg, ":")
	span := ctPorts{Low: 0, High: 65535}
	var err error
	if first != "" || !two {
		if span.Low, err = iptables.ParsePort(first); err != nil {
			return err
		}
	}
	switch {
	case !two:
		span.High = span.Low
	case second != "":
		if span.High, err = iptables.ParsePort(second); err != nil {
			return err
		}
	}
	*p = span
	return nil
}

// String returns "a" or "a:b".
func (p *ctPorts) String() string {
	s := strconv.Itoa(int(p.Low))
	if p.Low == p.High {
		return s
	}
	return s + ":" + strconv.Itoa(int(p.High))
}
