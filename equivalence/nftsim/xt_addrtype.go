package nftsim

import (
	"fmt"
	"strings"
)

func init() { registerXtMatch("addrtype", 1, decodeXtAddrtype) }

// xtAddrtype asks what the addresses of a packet are to the host, by routes that can be
// those by way of one device.
//
// Kernel: net/netfilter/xt_addrtype.c; include/uapi/linux/netfilter/xt_addrtype.h,
// struct xt_addrtype_info_v1.
type xtAddrtype struct{ words string }

// Bits of its flags.
const (
	xtAddrtypeNotSource = 1 << iota
	xtAddrtypeNotDestination
	xtAddrtypeIn
	xtAddrtypeOut
)

func decodeXtAddrtype(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	source, destination, flags := r.u16(), r.u16(), r.u32()
	if err := r.end(); err != nil {
		return nil, err
	}
	const device = xtAddrtypeIn | xtAddrtypeOut
	if flags>>4 != 0 || flags&device == device || source == 0 && flags&xtAddrtypeNotSource != 0 || destination == 0 && flags&xtAddrtypeNotDestination != 0 {
		return nil, notModelled{fmt.Sprintf("match addrtype of %#x and %#x with the flags %#x", source, destination, flags)}
	}
	words := []string{"types of addresses"}
	for _, side := range []struct {
		name  string
		types uint16
		not   uint32
	}{{"source", source, xtAddrtypeNotSource}, {"destination", destination, xtAddrtypeNotDestination}} {
		switch {
		case side.types == 0:
		case flags&side.not != 0:
			words = append(words, fmt.Sprintf("%s not %#x", side.name, side.types))
		default:
			words = append(words, fmt.Sprintf("%s %#x", side.name, side.types))
		}
	}
	switch {
	case flags&xtAddrtypeIn != 0:
		words = append(words, "by way of the input device")
	case flags&xtAddrtypeOut != 0:
		words = append(words, "by way of the output device")
	}
	return xtAddrtype{strings.Join(words, ", ")}, nil
}

func (m xtAddrtype) String() string { return m.words }

func (xtAddrtype) negated() bool { return false }

// holds does not know the routes by way of one device.
func (xtAddrtype) holds(*execution) (match, known bool) { return false, false }
