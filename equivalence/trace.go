package equivalence

import (
	"net/netip"

	"nftmigrate/packet"
)

// Trace takes one packet through two machines from fresh state, with traces.
// The host is one on which the packet can be: it has the device that the packet
// arrives on and owns its destination, or, when out is not "", routes it by that
// device.
func Trace(a, b Machine, p *packet.Packet, out string) (fateA, fateB packet.Fate) {
	host := Scene(append(append([]packet.Suggestion(nil), a.Suggestions()...), b.Suggestions()...))
	for _, name := range []string{p.In, out} {
		if name != "" && host.Device(name) == nil {
			host.Devices = append(host.Devices, packet.Device{
				Name: name, Index: uint32(len(host.Devices) + 1), Ethernet: true, MTU: 1500,
			})
		}
	}
	dst := packet.Endpoints(p.Data).Dst
	switch {
	case !dst.IsValid():
	case out != "":
		host.Routes = append(host.Routes, packet.Route{To: netip.PrefixFrom(dst, dst.BitLen()), Device: out, Type: packet.Unicast})
		disown(host, dst)
	case p.Path == packet.Arriving && ordinary(dst):
		d := &host.Devices[len(host.Devices)-1]
		d.Addrs = append(d.Addrs, netip.PrefixFrom(dst, dst.BitLen()))
	}
	a.Reset()
	b.Reset()
	walkA, walkB := NewWalker(a, host), NewWalker(b, host)
	walkA.Trace, walkB.Trace = true, true
	return walkA.Run(p), walkB.Run(p)
}

// disown takes an address from the host.
func disown(h *packet.Host, a netip.Addr) {
	for i := range h.Devices {
		d := &h.Devices[i]
		kept := d.Addrs[:0]
		for _, p := range d.Addrs {
			if p.Addr() != a {
				kept = append(kept, p)
			}
		}
		d.Addrs = kept
	}
}
