package nftsim

import (
	"fmt"
	"strings"
)

func init() { registerXtMatch("policy", 0, decodeXtPolicy) }

// xtPolicy asks what the transforms of IPsec are like.
//
// Kernel: net/netfilter/xt_policy.c; include/uapi/linux/netfilter/xt_policy.h,
// struct xt_policy_info.
type xtPolicy struct{ words string }

// xtPolicyTests are what an element can ask, by bit, in the order of the bits.
var xtPolicyTests = []string{"src", "dst", "proto", "mode", "spi", "reqid"}

func decodeXtPolicy(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	var elements [4]string
	for i := range elements {
		var addresses [4][]byte
		for n := range addresses {
			addresses[n] = r.bytes(16)
		}
		spi, request := r.u32(), r.u32() // the former as the tool writes it
		protocol, mode, match, invert := r.u8(), r.u8(), r.u8(), r.u8()
		if match>>len(xtPolicyTests) != 0 || invert&^match != 0 || mode > 1 {
			return nil, notModelled{fmt.Sprintf("an element of policy with the bits %#x and %#x and mode %d", match, invert, mode)}
		}
		values := []string{
			fmt.Sprintf("%x/%x", addresses[0], addresses[1]), fmt.Sprintf("%x/%x", addresses[2], addresses[3]),
			fmt.Sprint(protocol), fmt.Sprint(mode), fmt.Sprint(spi), fmt.Sprint(request),
		}
		var words []string
		for bit, name := range xtPolicyTests {
			switch {
			case match>>bit&1 == 0:
			case invert>>bit&1 != 0:
				words = append(words, "not "+name+" "+values[bit])
			default:
				words = append(words, name+" "+values[bit])
			}
		}
		elements[i] = strings.Join(words, " ")
	}
	flags, length := r.u16(), int(r.u16())
	if err := r.end(); err != nil {
		return nil, err
	}
	const in, out, strict = 1, 2, 8
	way := map[uint16]string{in: "in", out: "out"}[flags&^strict]
	if way == "" || length == 0 || length > len(elements) || flags&strict == 0 && length > 1 {
		return nil, notModelled{fmt.Sprintf("a policy of %d elements with the flags %#x", length, flags)}
	}
	if flags&strict != 0 {
		way += ", each"
	}
	return xtPolicy{fmt.Sprintf("transforms %s: %s", way, strings.Join(elements[:length], "; "))}, nil
}

func (m xtPolicy) String() string { return m.words }

func (xtPolicy) negated() bool { return false }

// holds answers for a host without IPsec.
func (xtPolicy) holds(*execution) (match, known bool) { return false, true }
