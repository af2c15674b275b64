package extension_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"nftmigrate/packet"
)

// An expectation is a packet of an archive with what becomes of it in iptables
// and in nftables.
type expectation struct {
	source, target string
	words          string
	packet         *packet.Packet
}

// parseExpectation reads one line of "packets".
func parseExpectation(line string) (expectation, error) {
	fields := strings.Fields(line)
	e := expectation{words: strings.Join(fields[1:], " ")}
	e.source, e.target, _ = strings.Cut(fields[0], "|")
	if e.target == "" {
		e.target = e.source
	}
	var plain []string
	var changes []func(p *packet.Packet) error
	for rest := fields[1:]; len(rest) > 0; {
		change, known := connectionWords[rest[0]]
		if !known {
			plain, rest = append(plain, rest[0]), rest[1:]
			continue
		}
		if len(rest) == 1 {
			return e, fmt.Errorf("%s needs an argument", rest[0])
		}
		arg := rest[1]
		changes = append(changes, func(p *packet.Packet) error {
			if p.Tracking.Entry == nil {
				return fmt.Errorf("a packet without an entry has no %s", arg)
			}
			return change(p.Tracking.Entry, arg)
		})
		rest = rest[2:]
	}
	var err error
	if e.packet, err = packet.ParseWords(plain); err != nil {
		return e, err
	}
	if link := e.packet.Link; link != nil && e.packet.Type == packet.TypeHost {
		link.Dst = host().Device(e.packet.In).MAC
	}
	for _, change := range changes {
		if err := change(e.packet); err != nil {
			return e, err
		}
	}
	return e, nil
}

// connectionWords say more of the entry of connection tracking than [packet]'s
// own words do.
var connectionWords = map[string]func(e *packet.Entry, arg string) error{
	// --ct-status 0x10 adds bits of the status.
	"--ct-status": func(e *packet.Entry, arg string) error {
		n, err := strconv.ParseUint(arg, 0, 32)
		e.Status |= uint32(n)
		return err
	},
	"--ct-helper": func(e *packet.Entry, arg string) error { e.Helper = arg; return nil },
	// --ct-label 5,127 are labels.
	"--ct-label": func(e *packet.Entry, arg string) error {
		for _, word := range strings.Split(arg, ",") {
			n, err := strconv.ParseUint(word, 10, 7)
			if err != nil {
				return err
			}
			e.Labels[n/8] |= 1 << (n % 8)
		}
		return nil
	},
	"--ct-expires": func(e *packet.Entry, arg string) error {
		n, err := strconv.ParseUint(arg, 10, 32)
		e.Expires = uint32(n)
		return err
	},
	"--ct-proto": func(e *packet.Entry, arg string) error {
		n, err := strconv.ParseUint(arg, 10, 8)
		e.Protocol = uint8(n)
		return err
	},
	// --ct-reply A:PORT-B:PORT is the reply tuple, which differs from the
	// inverted original one where addresses are translated.
	"--ct-reply": func(e *packet.Entry, arg string) error {
		from, to, _ := strings.Cut(arg, "-")
		src, err := netip.ParseAddrPort(from)
		if err != nil {
			return err
		}
		dst, err := netip.ParseAddrPort(to)
		if err != nil {
			return err
		}
		if src.Addr() != e.Original.Dst || src.Port() != e.Original.DstPort {
			e.Status |= packet.StatusDstNAT
		}
		if dst.Addr() != e.Original.Src || dst.Port() != e.Original.SrcPort {
			e.Status |= packet.StatusSrcNAT
		}
		e.Reply = packet.Tuple{Src: src.Addr(), SrcPort: src.Port(), Dst: dst.Addr(), DstPort: dst.Port()}
		return nil
	},
}
