package nftgen

import (
	"errors"
	"fmt"
)

// SynProxy is "synproxy [mss N] [wscale N] [timestamp] [sack-perm]": the host
// answers a handshake of TCP in place of the server.
type SynProxy struct {
	SetMSS              bool
	MSS                 uint16
	SetWScale           bool
	WScale              uint8
	Timestamp, SackPerm bool
}

var _ action = SynProxy{}

func (SynProxy) stmt()          {}
func (SynProxy) terminal() bool { return true }

func (s SynProxy) text(Family) string {
	words := "synproxy"
	if s.SetMSS {
		words += fmt.Sprintf(" mss %d", s.MSS)
	}
	if s.SetWScale {
		words += fmt.Sprintf(" wscale %d", s.WScale)
	}
	if s.Timestamp {
		words += " timestamp"
	}
	if s.SackPerm {
		words += " sack-perm"
	}
	return words
}

func (s SynProxy) check() error {
	const mostScale = 14 // RFC 7323 section 2.3
	if s.WScale > mostScale {
		return errors.New("write synproxy: the window scale is more than 14")
	}
	return nil
}

// Attributes and flags of synproxy.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_synproxy_attributes;
// nf_SYNPROXY.h.
const (
	synProxyMSS    = 1
	synProxyWScale = 2
	synProxyFlags  = 3

	proxyMSS       = 1 << 0
	proxyWScale    = 1 << 1
	proxySackPerm  = 1 << 2
	proxyTimestamp = 1 << 3
)

func (s SynProxy) compile(c *compiler) error {
	var flags uint32
	for _, f := range []struct {
		on  bool
		bit uint32
	}{{s.SetMSS, proxyMSS}, {s.SetWScale, proxyWScale}, {s.SackPerm, proxySackPerm}, {s.Timestamp, proxyTimestamp}} {
		if f.on {
			flags |= f.bit
		}
	}
	var a attributes
	a.u16(synProxyMSS, s.MSS)
	a.bytes(synProxyWScale, s.WScale)
	a.u32(synProxyFlags, flags)
	c.add(ownExpression{"synproxy", a})
	return nil
}
