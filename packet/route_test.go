package packet

import (
	"net/netip"
	"reflect"
	"testing"
)

func TestDefaultHost(t *testing.T) {
	names := []string{"eth0", "eth1", "lo", "eth0", "", "tun0", "wg0"}
	h := DefaultHost(names)
	if !reflect.DeepEqual(h, DefaultHost(names)) {
		t.Error("two hosts of the same names differ")
	}
	var got []string
	for i, d := range h.Devices {
		got = append(got, d.Name)
		if int(d.Index) != i+1 {
			t.Errorf("%s has index %d", d.Name, d.Index)
		}
	}
	if want := []string{"lo", "eth0", "eth1", "tun0", "wg0", "net0", "net1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("devices %v, want %v", got, want)
	}
	if many := DefaultHost(make([]string, 1000)); len(many.Devices) != 3 {
		t.Errorf("%d devices for empty names", len(many.Devices))
	}
}

func TestRouting(t *testing.T) {
	h := DefaultHost([]string{"eth0", "eth1"})
	h.Routes = append(h.Routes, Route{To: netip.MustParsePrefix("10.9.0.0/16"), Type: Blackhole})
	tests := []struct {
		dst    string
		kind   RouteType
		device string
		src    string
	}{
		{"192.0.2.1", Local, "lo", "192.0.2.1"},
		{"127.0.0.53", Local, "lo", "127.0.0.53"},
		{"192.0.2.9", Unicast, "eth0", "192.0.2.1"},
		{"192.0.2.255", Broadcast, "eth0", "192.0.2.1"},
		{"198.51.100.200", Unicast, "eth1", "198.51.100.1"},
		{"8.8.8.8", Unicast, "eth0", "192.0.2.1"},
		{"10.9.1.1", Blackhole, "", ""},
		{"255.255.255.255", Broadcast, "eth0", "192.0.2.1"},
		{"224.0.0.1", Multicast, "eth0", "192.0.2.1"},
		{"2001:db8:1::77", Unicast, "eth1", "2001:db8:1::1"},
		{"2001:db8:1::1", Local, "lo", "2001:db8:1::1"},
		{"2001:4860::1", Unicast, "eth0", "2001:db8::1"},
	}
	for _, tt := range tests {
		dst := netip.MustParseAddr(tt.dst)
		r, ok := h.Lookup(dst)
		if !ok || r.Type != tt.kind {
			t.Errorf("Lookup(%s) = %+v, %v, want type %d", tt.dst, r, ok, tt.kind)
		}
		var want netip.Addr
		if tt.src != "" {
			want = netip.MustParseAddr(tt.src)
		}
		if device, src := h.Output(dst); device != tt.device || src != want {
			t.Errorf("Output(%s) = %q, %v, want %q, %v", tt.dst, device, src, tt.device, want)
		}
	}
	h.Routes = nil
	if r, ok := h.Lookup(netip.MustParseAddr("8.8.8.8")); ok {
		t.Errorf("without a default route: %+v", r)
	}
}
