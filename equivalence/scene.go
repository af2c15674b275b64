package equivalence

import (
	"net/netip"

	"nftmigrate/packet"
)

const (
	maxSceneDevices = 40
	maxSceneAddrs   = 64
	maxSceneRoutes  = 256
)

// Scene makes a host on which the rules' tests can be met: it has the devices
// that the rules name, owns the addresses that input rules are about, and
// routes the others by the devices that go with them. The same suggestions give
// the same host.
func Scene(suggestions []packet.Suggestion) *packet.Host {
	var devices []string
	seen := map[string]bool{"": true, "lo": true}
	addDevice := func(name string) {
		if !seen[name] && validDevice(name) && len(devices) < maxSceneDevices {
			seen[name] = true
			devices = append(devices, name)
		}
	}
	var local []netip.Addr
	routes := make(map[netip.Addr]string)
	var routed []netip.Addr
	for _, s := range suggestions {
		spec := hold(s, 0)
		for _, t := range s.Tests {
			for _, set := range append(append([]packet.Setting(nil), t.Hold...), t.Fail...) {
				probe := packet.Spec{}
				set.Apply(&probe)
				addDevice(probe.In)
				addDevice(probe.Out)
			}
		}
		switch dst := spec.Dst; {
		case !ordinary(dst):
		case reaches(s, packet.Input) && !reaches(s, packet.Forward):
			local = append(local, dst)
		case spec.Out != "" && spec.Out != "lo":
			if _, ok := routes[dst]; !ok {
				routes[dst] = spec.Out
				routed = append(routed, dst)
			}
		}
	}
	h := packet.DefaultHost(devices)
	owned := make(map[netip.Addr]bool)
	for _, d := range h.Devices {
		for _, a := range d.Addrs {
			owned[a.Addr()] = true
		}
	}
	most := len(owned) + maxSceneAddrs
	for _, a := range local {
		r, _ := h.Lookup(a) // every router has the first address of a network
		if _, taken := routes[a]; !taken && !owned[a] && r.Type != packet.Anycast && len(owned) < most {
			owned[a] = true
			d := &h.Devices[1]
			d.Addrs = append(d.Addrs, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for _, a := range routed {
		if r, ok := h.Lookup(a); ok && r.Type == packet.Local {
			continue
		}
		if h.Device(routes[a]) != nil && len(h.Routes) < maxSceneRoutes {
			h.Routes = append(h.Routes, packet.Route{To: netip.PrefixFrom(a, a.BitLen()), Device: routes[a], Type: packet.Unicast})
		}
	}
	return h
}

// validDevice reports whether the kernel takes a name for a device, as far as
// names go that a person would give.
func validDevice(name string) bool {
	const size = 15 // IFNAMSIZ without the terminating zero
	if len(name) == 0 || len(name) > size || name == "." || name == ".." {
		return false
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || c == '/' || c == ':' || c == '%' {
			return false
		}
	}
	return true
}

// hold returns a spec for which every test of a suggestion holds, as far as
// settings are known; n selects among the settings.
func hold(s packet.Suggestion, n int) packet.Spec {
	var spec packet.Spec
	for _, t := range s.Tests {
		if len(t.Hold) > 0 {
			t.Hold[n%len(t.Hold)].Apply(&spec)
		}
	}
	return spec
}

func reaches(s packet.Suggestion, h packet.Hook) bool {
	for _, at := range s.Hooks {
		if at == h {
			return true
		}
	}
	return false
}

// ordinary reports whether an address can be a host's own.
func ordinary(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() &&
		!a.IsLinkLocalUnicast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255}) &&
		!(a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 224))
}
