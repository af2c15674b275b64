package iptables

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Protocol is an IP protocol number; 0 means any.
type Protocol uint8

// Set reads a number or a name in any case; "all" is 0.
func (p *Protocol) Set(arg string) error {
	if v, rest, ok := leadingNumber(arg); ok && rest == "" && v <= math.MaxUint8 {
		*p = Protocol(v)
		return nil
	}
	name := strings.ToLower(arg)
	if n, ok := protocolNumbers[name]; ok {
		*p = Protocol(n)
		return nil
	}
	return fmt.Errorf("%q is neither a protocol number from 0 to 255 nor the name of a protocol", arg)
}

// String returns the name that iptables-save prints on a host with the usual
// /etc/protocols, or the number.
func (p *Protocol) String() string {
	if name := protocolNames[*p]; name != "" {
		return name
	}
	return strconv.Itoa(int(*p))
}

// IsDefault reports whether the protocol is any, which iptables-save does not
// print.
func (p *Protocol) IsDefault() bool { return *p == 0 }

// protocolNames are the names that are printed.
//
// IANA, Assigned Internet Protocol Numbers; the spelling is the one that Linux
// distributions agree on.
var protocolNames = [256]string{
	1:   "icmp",
	2:   "igmp",
	3:   "ggp",
	4:   "ipencap",
	5:   "st",
	6:   "tcp",
	8:   "egp",
	9:   "igp",
	12:  "pup",
	17:  "udp",
	20:  "hmp",
	22:  "xns-idp",
	27:  "rdp",
	29:  "iso-tp4",
	33:  "dccp",
	36:  "xtp",
	37:  "ddp",
	38:  "idpr-cmtp",
	41:  "ipv6",
	43:  "ipv6-route",
	44:  "ipv6-frag",
	45:  "idrp",
	46:  "rsvp",
	47:  "gre",
	50:  "esp",
	51:  "ah",
	57:  "skip",
	58:  "ipv6-icmp",
	59:  "ipv6-nonxt",
	60:  "ipv6-opts",
	73:  "rspf",
	81:  "vmtp",
	88:  "eigrp",
	89:  "ospf",
	93:  "ax.25",
	94:  "ipip",
	97:  "etherip",
	98:  "encap",
	103: "pim",
	108: "ipcomp",
	112: "vrrp",
	115: "l2tp",
	124: "isis",
	132: "sctp",
	133: "fc",
	135: "mobility-header",
	136: "udplite",
	137: "mpls-in-ip",
	138: "manet",
	139: "hip",
	140: "shim6",
	141: "wesp",
	142: "rohc",
	143: "ethernet",
}

// protocolNumbers are the names that are read: those that are printed, and
// other spellings.
var protocolNumbers = func() map[string]uint8 {
	m := map[string]uint8{
		"all": 0, "ip": 0, "hopopt": 0,
		"icmpv6": 58, "ipv6-mh": 135, "mh": 135,
	}
	for number, name := range protocolNames {
		if name != "" {
			m[name] = uint8(number)
		}
	}
	return m
}()
