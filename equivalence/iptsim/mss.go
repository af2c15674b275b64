package iptsim

import (
	"encoding/binary"
	"math"

	"nftmigrate/equivalence/predicate"
)

// The MSS of a sender that names none (RFC 9293 section 3.7.1).
const (
	defaultMSS4 = 536
	defaultMSS6 = 1220
)

// setMSS lowers the MSS option of a TCP segment, or adds one to a segment
// without data. To clamp means the smaller MTU of the ways to and fro less 40 bytes,
// in IPv6 60. A malformed header, or an MTU too small for one, drops the packet.
//
// The checksum is adapted as if the option stood at an even offset, as the
// kernel does.
//
// Kernel: net/netfilter/xt_TCPMSS.c.
func setMSS(v *view, mss uint16, clamp bool) predicate.Outcome {
	if v.offset != 0 {
		return 0
	}
	segment := v.header()
	options, ok := tcpOptions(segment)
	if !ok {
		v.f.Hotdrop = true
		return predicate.Drop
	}
	if clamp {
		if mss, ok = v.pathMSS(); !ok {
			return predicate.Drop
		}
	}
	sum := segment[16:18]
	if at, ok := findMSS(options); ok {
		field := options[at+2 : at+4]
		if old := binary.BigEndian.Uint16(field); old > mss {
			binary.BigEndian.PutUint16(field, mss)
			replaceSum(sum, old, mss)
		}
		return 0
	}
	size := 20 + len(options)
	if len(segment) > size || size >= 60 {
		return 0
	}
	v.addMSS(min(mss, defaultMSS(v.version)))
	return 0
}

func defaultMSS(version int) uint16 {
	if version == 4 {
		return defaultMSS4
	}
	return defaultMSS6
}

// pathMSS is what fits into the smaller MTU of the way out and the way back.
func (v *view) pathMSS() (mss uint16, ok bool) {
	headers := 40
	if v.version == 6 {
		headers = 60
	}
	mtu := math.MaxInt
	if d := v.device(v.f.Out); d != nil {
		mtu = d.MTU
	}
	if back, ok := routeMTU(v.f.Host, v.address(false)); ok {
		mtu = min(mtu, back)
	}
	if mtu > 0xffff {
		if v.version == 4 {
			mtu = 0xffff
		} else {
			v.Declare("tcpmss-loopback")
			mtu = min(mtu, 0xffff+40) // what is told of length is not the header's
		}
	}
	if mtu <= headers {
		return 0, false
	}
	return uint16(mtu - headers), true
}

// addMSS puts an MSS option before the others of a segment without data.
func (v *view) addMSS(mss uint16) {
	v.Declare("tcpmss-adds-option")
	at := v.thoff + 20
	option := []byte{optionMSS, optionMSSSize, byte(mss >> 8), byte(mss)}
	old := len(v.f.Data) - v.thoff
	data := make([]byte, 0, len(v.f.Data)+optionMSSSize)
	data = append(data, v.f.Data[:at]...)
	data = append(data, option...)
	data = append(data, v.f.Data[at:]...)
	v.f.Data = data

	segment := data[v.thoff:]
	sum := segment[16:18]
	replaceSum(sum, uint16(old), uint16(old+optionMSSSize)) // of the pseudo header
	replaceSum(sum, 0, binary.BigEndian.Uint16(option))
	replaceSum(sum, 0, mss)
	words := binary.BigEndian.Uint16(segment[12:])
	segment[12] += 1 << 4
	replaceSum(sum, words, binary.BigEndian.Uint16(segment[12:]))

	length := data[4:6]
	if v.version == 4 {
		length = data[2:4]
	}
	claimed := binary.BigEndian.Uint16(length)
	binary.BigEndian.PutUint16(length, claimed+optionMSSSize)
	if v.version == 4 {
		replaceSum(data[10:12], claimed, claimed+optionMSSSize)
	}
}
