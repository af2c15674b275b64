package packet

import (
	"net/netip"
	"testing"
)

func TestAnswers(t *testing.T) {
	h := DefaultHost(nil)
	reset, error4, error6 := RejectEvent{Reset: true}, RejectEvent{Type: 3, Code: 3}, RejectEvent{Type: 1, Code: 4}
	broadcast := netip.MustParseAddr("192.0.2.255")
	tests := []struct {
		name  string
		spec  Spec
		event RejectEvent
		want  bool
	}{
		{"syn", Spec{Proto: TCP, TCPFlags: SYN}, reset, true},
		{"rst", Spec{Proto: TCP, TCPFlags: RST}, reset, false},
		{"rst, by an error", Spec{Proto: TCP, TCPFlags: RST}, error4, true},
		{"udp, by a reset", Spec{Proto: UDP}, reset, false},
		{"truncated tcp", Spec{Proto: TCP, Truncate: true, Keep: 12}, reset, false},
		{"wrong checksum", Spec{Proto: TCP, BadChecksum: true}, reset, false},
		{"wrong checksum, by an error", Spec{Proto: UDP, BadChecksum: true}, error4, false},
		{"wrong checksum of udplite", Spec{Proto: UDPLite, BadChecksum: true}, error4, true},
		{"later fragment", Spec{Proto: UDP, FragmentOffset: 1, Payload: make([]byte, 8)}, error4, false},
		{"broadcast", Spec{Proto: UDP, Dst: broadcast}, error4, false},
		{"broadcast frame", Spec{Proto: UDP, PktType: TypeBroadcast}, error4, false},
		{"echo request", Spec{Proto: ICMP, Type: 8}, error4, true},
		{"icmp error", Spec{Proto: ICMP, Type: 3}, error4, false},
		{"icmp of unknown type", Spec{Proto: ICMP, Type: 40}, error4, false},
		{"unknown protocol of zeros", Spec{Proto: 253, Payload: make([]byte, 8)}, error4, true},
		{"unknown protocol of ones", Spec{Proto: 253, Payload: []byte{1}}, error4, false},
		{"v6 udp", Spec{Version: 6, Proto: UDP}, error6, true},
		{"v6 unknown protocol", Spec{Version: 6, Proto: 253, Payload: make([]byte, 8)}, error6, false},
		{"v6 error", Spec{Version: 6, Proto: ICMPv6, Type: 3}, error6, false},
		{"v6 echo request", Spec{Version: 6, Proto: ICMPv6, Type: 128}, error6, true},
		{"v6 to many", Spec{Version: 6, Proto: UDP, Dst: netip.MustParseAddr("ff02::1")}, error6, false},
		{"v6 without next header", Spec{Version: 6, Proto: NoNext, Payload: make([]byte, 8)}, error6, false},
		{"v6 header, of wrong sum", Spec{Version: 6, Proto: 253, Payload: make([]byte, 8)}, invalid6, true},
		{"v6 header, later fragment", Spec{Version: 6, Proto: UDP, FragmentOffset: 1, Payload: make([]byte, 8)}, invalid6, true},
		{"v6 header, error", Spec{Version: 6, Proto: ICMPv6, Type: 3, Headers: []Extension{{Proto: DestOpts}}}, invalid6, false},
		{"v6 header, cut error", Spec{Version: 6, Proto: ICMPv6, Truncate: true}, invalid6, false},
		{"v6 header, to many", Spec{Version: 6, Proto: UDP, Dst: netip.MustParseAddr("ff02::1")}, invalid6, false},
		{"v6 header, echo request", Spec{Version: 6, Proto: ICMPv6, Type: 128}, invalid6, true},
		{"v6 syn behind options", Spec{Version: 6, Proto: TCP, TCPFlags: SYN, Headers: []Extension{{Proto: DestOpts}}}, reset, true},
	}
	for _, tt := range tests {
		if got := h.Answers(build(t, tt.spec).Data, "eth0", tt.spec.PktType, tt.event); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
