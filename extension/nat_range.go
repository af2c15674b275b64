package extension

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"nftmigrate/diag"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

// A portRange is a port or a range of ports to map to: "p" or "p-q", and with
// Shifted "p-q/base", where the distance to Base is kept.
type portRange struct {
	Low, High uint16
	Shifted   bool
	Base      uint16
}

// Set reads "p", "p-q" or "p-q/base". A single port may be a service name.
func (p *portRange) Set(arg string) error {
	*p = portRange{}
	span, base, shifted := strings.Cut(arg, "/")
	low, high, ranged := strings.Cut(span, "-")
	if strings.Contains(arg, ":") {
		return fmt.Errorf("%q is no range of ports, expected low-high with a dash", arg)
	}
	if !ranged {
		port, err := iptables.ParsePort(low)
		if err != nil {
			return err
		}
		if shifted {
			return fmt.Errorf("%q shifts a single port, expected low-high/base", arg)
		}
		*p = portRange{Low: port, High: port}
		return nil
	}
	first, err := iptables.ParseNumber(low, 65535)
	if err != nil {
		return err
	}
	last, err := iptables.ParseNumber(high, 65535)
	if err != nil {
		return err
	}
	p.Low, p.High = uint16(first), uint16(last)
	if p.High < p.Low {
		return fmt.Errorf("%q ends before it starts", arg)
	}
	if shifted {
		port, err := iptables.ParsePort(base)
		if err != nil {
			return err
		}
		p.Shifted, p.Base = true, port
	}
	return nil
}

// String writes "p", "p-q" or "p-q/base".
func (p *portRange) String() string {
	s := strconv.Itoa(int(p.Low))
	if p.High != p.Low {
		s += "-" + strconv.Itoa(int(p.High))
	}
	if p.Shifted {
		s += "/" + strconv.Itoa(int(p.Base))
	}
	return s
}

// An unshiftedPorts is the portRange of targets that cannot shift.
type unshiftedPorts portRange

// Set reads "p" or "p-q".
func (p *unshiftedPorts) Set(arg string) error {
	if err := (*portRange)(p).Set(arg); err != nil {
		return err
	}
	if p.Shifted {
		return errors.New("this target cannot shift ports")
	}
	return nil
}

// String writes "p" or "p-q".
func (p *unshiftedPorts) String() string { return (*portRange)(p).String() }

// A natRange is where DNAT or SNAT maps to: "a", "a-b", "a:p", "a-b:p-q" or
// ":p-q"; IPv6 addresses before ports stand in brackets, both in one pair.
type natRange struct {
	Min, Max netip.Addr // invalid when only ports are mapped
	HasPorts bool
	Ports    portRange
}

// A natRange4 and a natRange6 are a natRange of one family.
type (
	natRange4 struct{ natRange }
	natRange6 struct{ natRange }
)

// Set reads a range with IPv4 addresses.
func (r *natRange4) Set(arg string) error {
	addrs, ports, hasPorts := strings.Cut(arg, ":")
	return r.set(addrs, ports, hasPorts, netip.Addr.Is4)
}

// Set reads a range with IPv6 addresses.
func (r *natRange6) Set(arg string) error {
	if ports, ok := strings.CutPrefix(arg, ":"); ok && !strings.HasPrefix(ports, ":") {
		return r.set("", ports, true, netip.Addr.Is6)
	}
	inner, bracketed := strings.CutPrefix(arg, "[")
	if !bracketed {
		return r.set(arg, "", false, netip.Addr.Is6)
	}
	addrs, rest, ok := strings.Cut(inner, "]")
	if !ok {
		return fmt.Errorf("%q lacks the closing bracket", arg)
	}
	if rest == "" {
		return r.set(addrs, "", false, netip.Addr.Is6)
	}
	ports, ok := strings.CutPrefix(rest, ":")
	if !ok {
		return fmt.Errorf("%q follows the closing bracket, expected a colon and ports", rest)
	}
	return r.set(addrs, ports, true, netip.Addr.Is6)
}

func (r *natRange) set(addrs, ports string, hasPorts bool, family func(netip.Addr) bool) error {
	*r = natRange{HasPorts: hasPorts}
	if hasPorts {
		if err := r.Ports.Set(ports); err != nil {
			return err
		}
	}
	if addrs == "" {
		if !hasPorts {
			return errors.New("an address is missing")
		}
		return nil
	}
	low, high, ranged := strings.Cut(addrs, "-")
	if !ranged {
		high = low
	}
	var err error
	if r.Min, err = netip.ParseAddr(low); err == nil {
		r.Max, err = netip.ParseAddr(high)
	}
	if err != nil || !family(r.Min) || !family(r.Max) || r.Min.Zone() != "" || r.Max.Zone() != "" {
		return fmt.Errorf("%q is no address or range of addresses of the family", addrs)
	}
	return nil
}

// String writes the range.
func (r *natRange) String() string {
	s := ""
	if r.Min.IsValid() {
		s = iptables.AddrString(r.Min)
		if r.Max != r.Min {
			s += "-" + iptables.AddrString(r.Max)
		}
		if r.HasPorts && r.Min.Is6() {
			s = "[" + s + "]"
		}
	}
	if r.HasPorts {
		s += ":" + r.Ports.String()
	}
	return s
}

// portsNeedProtocol checks that a rule which maps ports is about a protocol
// that has some. iptables looks at the number only, so that "! -p tcp" passes
// too; both ICMPs of IPv4 and IPv6 pass as protocol 1.
//
// iptables-extensions(8), DNAT.
func portsNeedProtocol(c iptables.Context, what string) []iptables.Problem {
	if p := c.Rule.Protocol; p.Present {
		switch p.Value {
		case 1, 6, 17, 33, 132:
			return nil
		}
	}
	return []iptables.Problem{{
		Code:    "missing-protocol",
		Summary: what + " with ports needs a protocol with ports",
		Detail:  "Only -p tcp, udp, sctp, dccp or icmp can stand with a port. Write the rule once per protocol.",
	}}
}

// mappedPorts returns the protocol of a NAT statement with ports. where is the
// range of the option that names them.
func mappedPorts(r *translate.Rule, p portRange, where diag.Range) (proto uint8, err error) {
	proto, ok := r.ProtocolNumber()
	switch {
	case p.Shifted:
		return 0, &translate.Untranslatable{
			Code:    "untranslatable-option",
			Summary: "shifted source ports have no nftables counterpart",
			Detail:  fmt.Sprintf("nftables cannot map ports to %s keeping their distance. Write one rule per port.", p.String()),
			Range:   where,
		}
	case !ok:
		return 0, &translate.Untranslatable{
			Code:    "untranslatable-option",
			Summary: "mapping ports under a negated protocol has no nftables counterpart",
			Detail:  "nft maps ports only behind a test for one transport protocol. Write one rule per protocol.",
			Range:   where,
		}
	}
	return proto, nil
}
