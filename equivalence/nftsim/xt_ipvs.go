package nftsim

import (
	"encoding/binary"
	"fmt"
	"strings"
)

func init() { registerXtMatch("ipvs", 0, decodeXtIPVS) }

// xtIPVS asks whether a packet is one of a virtual server, and of which.
//
// Kernel: net/netfilter/xt_ipvs.c; include/uapi/linux/netfilter/xt_ipvs.h, struct
// xt_ipvs_mtinfo.
type xtIPVS struct{ words string }

// xtIPVSMethods are the ways to a server.
//
// Kernel: include/uapi/linux/ip_vs.h.
var xtIPVSMethods = map[uint8]string{0: "MASQ", 2: "IPIP", 3: "GATE"}

func decodeXtIPVS(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	address, mask := r.bytes(16), r.bytes(16)
	port := binary.BigEndian.Uint16(r.bytes(2))
	protocol, method := r.u8(), r.u8()
	control := binary.BigEndian.Uint16(r.bytes(2))
	invert, given := r.u8(), r.u8()
	if err := r.end(); err != nil {
		return nil, err
	}
	const direction = 4
	if given&1 == 0 || given>>7 != 0 || invert&^given != 0 || given != 1 && invert&1 != 0 || xtIPVSMethods[method] == "" {
		return nil, notModelled{fmt.Sprintf("the options %#x and %#x of match ipvs, method %d", given, invert, method)}
	}
	values := []string{
		"any", fmt.Sprintf("protocol %d", protocol), fmt.Sprintf("address %x/%x", address, mask), fmt.Sprintf("port %d", port),
		"direction ORIGINAL", "method " + xtIPVSMethods[method], fmt.Sprintf("controlled by port %d", control),
	}
	if invert>>direction&1 != 0 {
		values[direction] = "direction REPLY"
	}
	var words []string
	for bit, text := range values {
		switch {
		case given>>bit&1 == 0, bit == 0 && given != 1:
		case invert>>bit&1 != 0 && bit != direction:
			words = append(words, "not "+text)
		default:
			words = append(words, text)
		}
	}
	return xtIPVS{"virtual server: " + strings.Join(words, ", ")}, nil
}

func (m xtIPVS) String() string { return m.words }

func (xtIPVS) negated() bool { return false }

// holds does not know of virtual servers.
func (xtIPVS) holds(*execution) (match, known bool) { return false, false }
