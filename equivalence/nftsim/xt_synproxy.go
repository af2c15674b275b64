package nftsim

import (
	"fmt"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func init() { registerXtTarget("SYNPROXY", 0, decodeXtSynProxy) }

// An xtSynProxy takes a SYN and a plain ACK from the sender, lets other segments
// pass, and drops what has no whole header.
//
// Kernel: net/ipv4/netfilter/ipt_SYNPROXY.c, net/ipv6/netfilter/ip6t_SYNPROXY.c;
// include/uapi/linux/netfilter/nf_SYNPROXY.h, struct nf_synproxy_info.
type xtSynProxy struct{ event packet.SynProxyEvent }

func decodeXtSynProxy(info []byte) (xtTarget, error) {
	r := xtReader{data: info}
	t := xtSynProxy{packet.SynProxyEvent{Options: uint32(r.u8()), WScale: r.u8(), MSS: r.u16()}}
	if t.event.Options>>5 != 0 {
		return nil, notModelled{fmt.Sprintf("the options %#x of SYNPROXY", t.event.Options)}
	}
	return t, r.end()
}

func (t xtSynProxy) String() string { return t.event.String() }

func (xtSynProxy) tracks(int) bool { return true }

// xtSynProxyFlags are FIN, SYN, RST and ACK; a segment is taken that has one alone
// of the second and the last.
var xtSynProxyFlags = struct{ all, syn, ack byte }{0x17, 0x02, 0x10}

func (t xtSynProxy) exec(x *execution) result {
	segment := x.tcpHeader()
	if segment == nil {
		return x.decide(Verdict{Code: VerdictDrop})
	}
	switch segment[13] & xtSynProxyFlags.all {
	case xtSynProxyFlags.syn, xtSynProxyFlags.ack:
		x.flight.Emit(t.event)
		return x.decide(Verdict{Code: VerdictDrop})
	}
	return proceed
}

func (t xtSynProxy) symbolic(x *symbolicRun) {
	drop := func(y *symbolicRun) { y.decide(Verdict{Code: VerdictDrop}) }
	x.split(x.wholeTCP(), func(y *symbolicRun) {
		s := y.space
		flags := y.now(s.Bits(symbolic.Transport)[8*13 : 8*14])
		are := func(value byte) bdd.Ref {
			f := bdd.True
			for i, bit := range flags {
				switch place := 7 - i; {
				case xtSynProxyFlags.all>>place&1 == 0:
				case value>>place&1 == 1:
					f = s.And(f, bit)
				default:
					f = s.Diff(f, bit)
				}
			}
			return f
		}
		y.split(s.Or(are(xtSynProxyFlags.syn), are(xtSynProxyFlags.ack)), func(z *symbolicRun) {
			z.emit(symbolic.Token{Kind: "synproxy", Text: t.event.String()})
			drop(z)
		}, nothing)
	}, drop)
}
