package nftgen

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Keys and attributes of the expression socket.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_socket_keys.
const (
	socketTransparent = 0
	socketMark        = 1
	socketWildcard    = 2
	socketKey         = 1
	socketRegister    = 2
)

// Fields of the local socket that a packet is for, which the kernel looks up, and of
// what protects the packet.
var (
	// SocketTransparent is 1 when the socket takes packets to foreign addresses, and
	// SocketWildcard when it takes those to any; SocketMark is its mark. The last two are
	// there for whole sockets only, not for one that waits or that is being made.
	//
	// Kernel: net/netfilter/nft_socket.c.
	SocketTransparent = socketField("socket transparent", integer8, socketTransparent)
	SocketMark        = socketField("socket mark", mark, socketMark)
	SocketWildcard    = socketField("socket wildcard", integer8, socketWildcard)

	// MetaIPsec is whether the packet came protected, and RouteIPsec whether it will
	// leave so, for [Exists].
	//
	// Kernel: net/netfilter/nft_meta.c, NFT_META_SECPATH; net/netfilter/nft_rt.c.
	MetaIPsec  = Field{Text: "meta ipsec", Type: boolean, access: &access{load: loader{kind: loadMeta, key: 25, length: 1, present: true}}}
	RouteIPsec = Field{Text: "rt ipsec", Type: boolean, access: &access{load: loader{kind: loadRoute, key: 4, length: 1, present: true}}}
)

// IPsecRequest is the number of the request that led to the n-th transform of a
// packet on its way in or out.
//
// Kernel: net/netfilter/nft_xfrm.c.
func IPsecRequest(out bool, n uint8) Field { return xfrmField(out, n, "reqid", integer32, 5) }

func socketField(text string, t *Datatype, key uint32) Field {
	return Field{Text: text, Type: t, access: &access{load: loader{kind: loadSocket, key: key, length: uint32(t.Bytes)}}}
}

func xfrmField(out bool, n uint8, name string, t *Datatype, key uint32) Field {
	text := "ipsec in "
	if out {
		text = "ipsec out "
	}
	if n > 0 {
		text += fmt.Sprintf("spnum %d ", n)
	}
	return Field{Text: text + name, Type: t, access: &access{load: loader{kind: loadXfrm, key: key, offset: uint32(n), source: out, length: 4}}}
}

// loadSocketExpr, loadRouteExpr and loadXfrmExpr return the expressions that load
// such fields.
func (f Field) loadSocketExpr(register uint32) expression {
	var a attributes
	a.u32(socketKey, f.load.key)
	a.u32(socketRegister, register)
	return ownExpression{"socket", a}
}

func (f Field) loadRouteExpr(register uint32) expression {
	var a attributes
	a.u32(unix.NFTA_RT_KEY, f.load.key)
	a.u32(unix.NFTA_RT_DREG, register)
	return ownExpression{"rt", a}
}

// Attributes of the expression xfrm.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_xfrm_attributes.
const (
	xfrmRegister  = 1
	xfrmKey       = 2
	xfrmDirection = 3
	xfrmNumber    = 4
)

func (f Field) loadXfrmExpr(register uint32) expression {
	direction := byte(0) // XFRM_POLICY_IN
	if f.load.source {
		direction = 1
	}
	var a attributes
	a.u32(xfrmRegister, register)
	a.u32(xfrmKey, f.load.key)
	a.bytes(xfrmDirection, direction)
	a.u32(xfrmNumber, f.load.offset)
	return ownExpression{"xfrm", a}
}
