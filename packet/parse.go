package packet

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// A Word is an option by which a packet is given in words.
type Word struct {
	Name     string // with its dashes
	Argument string // what to call its argument, "" when it takes none
	Help     string
	set      func(w *words, arg string) error
}

// words is a packet as far as it was read.
type words struct {
	spec Spec
	raw  []byte // whole packet, instead of a Spec
}

// Words lists the options of [ParseWords].
func Words() []Word { return wordList }

var wordList = wordTable()

func wordTable() []Word {
	list := []Word{
		{"--in", "DEVICE", "it arrives on this device; without it, a local socket sends it", func(w *words, arg string) error {
			w.spec.In = arg
			return nil
		}},
	}
	for _, p := range []struct {
		name  string
		proto uint8
	}{
		{"tcp", TCP}, {"udp", UDP}, {"udplite", UDPLite}, {"sctp", SCTP}, {"dccp", DCCP},
		{"icmp", ICMP}, {"icmpv6", ICMPv6}, {"esp", ESP}, {"ah", AH},
	} {
		what := "A-B"
		if ported(p.proto) {
			what = "A:PORT-B:PORT"
		}
		list = append(list, Word{"--" + p.name, what, "protocol, source and destination; IPv6 addresses with ports in brackets", func(w *words, arg string) error {
			w.spec.Proto = p.proto
			return w.endpoints(arg)
		}})
	}
	list = append(list,
		Word{"--ip", "A-B", "source and destination; the protocol by --proto", (*words).endpoints},
		number("--proto", "protocol number", func(w *words, n uint8) { w.spec.Proto = n }),
	)
	for i, name := range flagNames {
		list = append(list, Word{"--" + name, "", "TCP flag", func(w *words, _ string) error {
			w.spec.TCPFlags |= 1 << i
			return nil
		}})
	}
	return append(list,
		number("--mss", "TCP option 2", func(w *words, n uint16) { w.spec.MSS = n }),
		Word{"--tcp-options", "HEX", "bytes of TCP options", bytesOf(func(w *words, b []byte) { w.spec.TCPOptions = b })},
		Word{"--type", "TYPE[/CODE]", "of ICMP and ICMPv6; 8 and 128 (echo request) when left out", (*words).kind},
		number("--spi", "of AH and ESP", func(w *words, n uint32) { w.spec.SPI = n }),
		number("--ttl", "or hop limit", func(w *words, n uint8) {
			if w.spec.TTL = int(n); n == 0 {
				w.spec.TTL = -1
			}
		}),
		number("--tos", "or traffic class", func(w *words, n uint8) { w.spec.TOS = n }),
		number("--length", "of the whole packet", func(w *words, n uint16) { w.spec.Length = int(n) }),
		Word{"--payload", "HEX", "bytes behind the transport header", bytesOf(func(w *words, b []byte) { w.spec.Payload = b })},
		Word{"--ip-options", "HEX", "bytes of IPv4 options", bytesOf(func(w *words, b []byte) { w.spec.IPOptions = b })},
		Word{"--fragment", "OFFSET[+]", "a fragment at this many bytes; + when more follow", (*words).fragment},
		number("--fragment-id", "identification of an IPv6 fragment", func(w *words, n uint32) { w.spec.FragmentID = n }),
		Word{"--header", "NUMBER:HEX", "an IPv6 extension header: its bytes behind the length", (*words).header},
		number("--keep", "cut the packet after this many bytes behind the IP headers", func(w *words, n uint16) {
			w.spec.Truncate, w.spec.Keep = true, int(n)
		}),
		Word{"--hex", "HEX", "the whole packet from the IP header on, instead of the above", bytesOf(func(w *words, b []byte) { w.raw = b })},
		Word{"--mac", "ADDRESS", "Ethernet source", (*words).mac},
		Word{"--pkttype", "TYPE", "host, broadcast, multicast or otherhost", (*words).pktType},
		Word{"--ct", "STATE[,reply]", "new, established, related, invalid or untracked", (*words).state},
		number("--ct-mark", "mark of the connection", func(w *words, n uint32) { w.spec.ConnMark = n }),
		number("--mark", "mark of the packet", func(w *words, n uint32) { w.spec.Mark = n }),
		number("--ct-secmark", "security mark of the connection", func(w *words, n uint32) { w.spec.ConnSecmark = n }),
		number("--secmark", "security mark of the packet", func(w *words, n uint32) { w.spec.Secmark = n }),
		number("--priority", "priority of the packet", func(w *words, n uint32) { w.spec.Priority = n }),
		number("--cpu", "that handles the packet", func(w *words, n uint32) { w.spec.CPU = n }),
		Word{"--clock", "TIME", "date and time in UTC, as 2024-02-29T23:59:59; now when left out", (*words).clock},
		number("--uid", "owner of the local socket", func(w *words, n uint32) { w.socket().UID = n }),
		number("--class", "of the control group of the local socket", func(w *words, n uint32) { w.socket().Class = n }),
		number("--gid", "group of the local socket", func(w *words, n uint32) { w.socket().GID = n }),
		Word{"--groups", "N[,N]...", "supplementary groups of the owner", (*words).groups},
		Word{"--at", "SECONDS", "time on the virtual clock", (*words).at},
	)
}

var errWords = errors.New("packet in words")

// ParseWords reads a packet given by options ([Words]):
//
//	--in eth0 --tcp 10.0.0.7:4000-192.0.2.1:22 --syn --ct new
//
// Without --ct it is a new connection.
func ParseWords(args []string) (*Packet, error) {
	w := words{spec: Spec{State: New}}
	for len(args) > 0 {
		name, arg, joined := strings.Cut(args[0], "=")
		args = args[1:]
		option, ok := findWord(name)
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: there is no option %q", errWords, name)
		case option.Argument == "" && joined:
			return nil, fmt.Errorf("%w: %s takes no argument", errWords, name)
		case option.Argument != "" && !joined:
			if len(args) == 0 {
				return nil, fmt.Errorf("%w: %s needs an argument %s", errWords, name, option.Argument)
			}
			arg, args = args[0], args[1:]
		}
		if err := option.set(&w, arg); err != nil {
			return nil, fmt.Errorf("%w: %s %s: %w", errWords, name, arg, err)
		}
	}
	return w.packet()
}

func findWord(name string) (Word, bool) {
	for _, o := range wordList {
		if o.Name == name {
			return o, true
		}
	}
	return Word{}, false
}

func (w *words) packet() (*Packet, error) {
	if w.raw == nil {
		if w.spec.Proto == ICMP && w.spec.Type == 0 && !w.spec.Reply {
			w.spec.Type = 8
		}
		if w.spec.Proto == ICMPv6 && w.spec.Type == 0 {
			w.spec.Type, w.spec.Version = 128, 6
		}
		return w.spec.Packet()
	}
	p, err := w.spec.Packet()
	if err != nil {
		return nil, err
	}
	p.Data = w.raw
	return p, nil
}

func (w *words) socket() *Socket {
	if w.spec.Socket == nil {
		w.spec.Socket = new(Socket)
	}
	return w.spec.Socket
}

// endpoints reads "A:PORT-B:PORT" or "A-B".
func (w *words) endpoints(arg string) error {
	from, to, ok := strings.Cut(arg, "-")
	if !ok {
		return fmt.Errorf("want source and destination with a dash between")
	}
	var err error
	if w.spec.Src, w.spec.SrcPort, err = endpoint(from); err != nil {
		return err
	}
	w.spec.Dst, w.spec.DstPort, err = endpoint(to)
	return err
}

func endpoint(s string) (netip.Addr, uint16, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a, 0, nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("%q is neither an address nor address:port", s)
	}
	return ap.Addr(), ap.Port(), nil
}

func (w *words) kind(arg string) error {
	kind, code, both := strings.Cut(arg, "/")
	n, err := strconv.ParseUint(kind, 0, 8)
	if err != nil {
		return fmt.Errorf("want a type of 0-255")
	}
	w.spec.Type = uint8(n)
	if both {
		if n, err = strconv.ParseUint(code, 0, 8); err != nil {
			return fmt.Errorf("want a code of 0-255")
		}
		w.spec.Code = uint8(n)
	}
	return nil
}

func (w *words) fragment(arg string) error {
	offset, more := strings.CutSuffix(arg, "+")
	n, err := strconv.ParseUint(offset, 0, 16)
	if err != nil || n%8 != 0 {
		return fmt.Errorf("want a multiple of 8 up to 65528")
	}
	w.spec.Fragmented, w.spec.FragmentOffset, w.spec.MoreFragments = true, uint16(n/8), more
	return nil
}

func (w *words) header(arg string) error {
	kind, body, _ := strings.Cut(arg, ":")
	n, err := strconv.ParseUint(kind, 0, 8)
	if err != nil {
		return fmt.Errorf("want the number of a header")
	}
	return bytesOf(func(w *words, b []byte) {
		w.spec.Headers = append(w.spec.Headers, Extension{Proto: uint8(n), Body: b})
	})(w, body)
}

func (w *words) mac(arg string) error {
	a, err := net.ParseMAC(arg)
	if err != nil || len(a) != 6 {
		return fmt.Errorf("want an Ethernet address")
	}
	w.spec.Link = &Link{Src: [6]byte(a)}
	return nil
}

func (w *words) pktType(arg string) error {
	for i, name := range typeNames {
		if name == arg {
			w.spec.PktType = uint8(i)
			return nil
		}
	}
	return fmt.Errorf("want one of %s", strings.Join(typeNames[:], ", "))
}

func (w *words) state(arg string) error {
	name, reply := strings.CutSuffix(strings.ToLower(arg), ",reply")
	for s := New; s <= Untracked; s++ {
		if s.String() == name {
			w.spec.State, w.spec.Reply = s, reply
			return nil
		}
	}
	return fmt.Errorf("want new, established, related, invalid or untracked")
}

func (w *words) groups(arg string) error {
	for _, word := range strings.Split(arg, ",") {
		n, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return fmt.Errorf("want numbers of groups, as 5,7")
		}
		w.socket().Groups = append(w.socket().Groups, uint32(n))
	}
	return nil
}

func (w *words) at(arg string) error {
	n, err := strconv.ParseFloat(arg, 64)
	if err != nil || !(n >= 0 && n < 1e9) {
		return fmt.Errorf("want seconds")
	}
	w.spec.Time = int64(n * 1e9)
	return nil
}

// number returns an option with a number of the type of set's argument,
// decimal or, with 0x, hexadecimal.
func number[T uint8 | uint16 | uint32](name, help string, set func(w *words, n T)) Word {
	limit := uint64(^T(0))
	return Word{name, "N", help, func(w *words, arg string) error {
		n, err := strconv.ParseUint(arg, 0, 64)
		if err != nil || n > limit {
			return fmt.Errorf("want a number of 0-%d", limit)
		}
		set(w, T(n))
		return nil
	}}
}

func bytesOf(set func(w *words, b []byte)) func(w *words, arg string) error {
	return func(w *words, arg string) error {
		b, err := hex.DecodeString(strings.ReplaceAll(arg, ":", ""))
		if err != nil || len(b) > maxLength {
			return fmt.Errorf("want up to %d bytes as pairs of hexadecimal digits", maxLength)
		}
		set(w, b)
		return nil
	}
}
