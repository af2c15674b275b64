package nftsim

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

func init() { register("fib", decodeFib) }

// Fib loads what the routing tables say of an address of the packet: its type,
// or the device by which it is reached.
//
// Kernel: net/ipv4/netfilter/nft_fib_ipv4.c, net/ipv6/netfilter/nft_fib_ipv6.c.
type Fib struct {
	To     Register
	Result uint32 // NFT_FIB_RESULT_*
	Flags  uint32 // NFTA_FIB_F_*
}

var fibResults = map[uint32]string{
	unix.NFT_FIB_RESULT_OIF: "oif", unix.NFT_FIB_RESULT_OIFNAME: "oifname", unix.NFT_FIB_RESULT_ADDRTYPE: "type",
}

// fibFlags are the parts of the key, in the order in which they are written.
var fibFlags = []struct {
	bit  uint32
	name string
}{
	{unix.NFTA_FIB_F_SADDR, "saddr"}, {unix.NFTA_FIB_F_DADDR, "daddr"}, {unix.NFTA_FIB_F_MARK, "mark"},
	{unix.NFTA_FIB_F_IIF, "iif"}, {unix.NFTA_FIB_F_OIF, "oif"},
}

func decodeFib(_ *scope, data []byte) (Instruction, error) {
	i := &Fib{}
	err := decodeNest("fib", data, need(unix.NFTA_FIB_DREG, decodeRegister(&i.To)),
		need(unix.NFTA_FIB_RESULT, decodeU32(&i.Result)), need(unix.NFTA_FIB_FLAGS, decodeU32(&i.Flags)))
	if err != nil {
		return nil, err
	}
	if fibResults[i.Result] == "" {
		return nil, notModelled{fmt.Sprintf("result %d", i.Result)}
	}
	const known = unix.NFTA_FIB_F_SADDR | unix.NFTA_FIB_F_DADDR | unix.NFTA_FIB_F_MARK |
		unix.NFTA_FIB_F_IIF | unix.NFTA_FIB_F_OIF | unix.NFTA_FIB_F_PRESENT
	if rest := i.Flags &^ known; rest != 0 {
		return nil, notModelled{fmt.Sprintf("flag %#x", rest)}
	}
	both := uint32(unix.NFTA_FIB_F_SADDR | unix.NFTA_FIB_F_DADDR)
	if i.Flags&both == 0 || i.Flags&both == both {
		return nil, fmt.Errorf("flags %#x name not one address", i.Flags)
	}
	return i, i.To.span(i.len())
}

func (i *Fib) len() int {
	if i.Result == unix.NFT_FIB_RESULT_OIFNAME && i.Flags&unix.NFTA_FIB_F_PRESENT == 0 {
		return nameLen
	}
	return wordSize
}

func (i *Fib) String() string {
	var key []string
	for _, f := range fibFlags {
		if i.Flags&f.bit != 0 {
			key = append(key, f.name)
		}
	}
	present := ""
	if i.Flags&unix.NFTA_FIB_F_PRESENT != 0 {
		present = " present"
	}
	return fmt.Sprintf("[ fib %s %s%s => reg %s ]", strings.Join(key, " . "), fibResults[i.Result], present, i.To)
}

func (i *Fib) loads() (Register, int) { return i.To, i.len() }

func (i *Fib) exec(x *execution) result {
	if n := map[int]int{4: ipv4Len, 6: ipv6Len}[x.header.version]; len(x.flight.Data) < n {
		return breaks
	}
	a := x.source()
	if i.Flags&unix.NFTA_FIB_F_DADDR != 0 {
		a = x.destination()
	}
	device := ""
	if i.Flags&unix.NFTA_FIB_F_IIF != 0 {
		device = x.flight.In
	} else if i.Flags&unix.NFTA_FIB_F_OIF != 0 {
		device = x.flight.Out
	}
	if i.Result == unix.NFT_FIB_RESULT_ADDRTYPE {
		var kind packet.RouteType
		if a.Is4() {
			kind = addressType4(x.flight.Host, a, device)
		} else {
			kind = addressType6(x.flight.Host, a, device, x.at())
		}
		x.regs.storeU32(i.To, uint32(kind))
		return proceed
	}
	return i.store(x, i.reach(x, a, device))
}

// at is the device that the packet is at: the outgoing one behind the routing,
// else the one that it arrived on.
func (x *execution) at() string {
	if x.flight.Hook == packet.Postrouting {
		return x.flight.Out
	}
	return x.flight.In
}

// reach finds the device by which an address is reached; with a device, only
// that one counts. It is "" when there is none.
func (i *Fib) reach(x *execution, a netip.Addr, device string) string {
	f := x.flight
	arrives := f.Hook == packet.Prerouting || f.Hook == packet.Input
	if in := f.Host.Device(f.In); arrives && in != nil && in.Loopback {
		return f.In
	}
	if x.header.version == 4 && x.source().IsUnspecified() {
		if to := x.destination(); to == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || to.IsLinkLocalMulticast() {
			return f.In
		}
	}
	r, ok := lookupRoute(f.Host, a, cmp.Or(device, x.at()))
	if !ok || everyRouters(f.Host, a) || r.kind == packet.Local || refusing[r.kind] || device != "" && r.device != device {
		return ""
	}
	return r.device
}

// store loads a device as the result asks for.
func (i *Fib) store(x *execution, device string) result {
	if i.Flags&unix.NFTA_FIB_F_PRESENT != 0 {
		there := uint32(0)
		if device != "" {
			there = 1
		}
		x.regs.storeU32(i.To, there)
		return proceed
	}
	name := func(*packet.Flight) string { return device }
	if i.Result == unix.NFT_FIB_RESULT_OIFNAME {
		return loadName(name)(x, i.To)
	}
	return loadIndex(name)(x, i.To)
}
