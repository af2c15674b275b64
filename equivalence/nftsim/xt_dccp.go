package nftsim

import "fmt"

func init() { registerXtMatch("dccp", 0, decodeXtDCCP) }

// xtDCCP asks for ports, types and an option of a packet of DCCP, which it drops
// where its header is cut.
//
// Kernel: net/netfilter/xt_dccp.c; include/uapi/linux/netfilter/xt_dccp.h, struct
// xt_dccp_info.
type xtDCCP struct{ words string }

// Bits of its flags.
const (
	xtDCCPSource = 1 << iota
	xtDCCPDestination
	xtDCCPType
	xtDCCPOption
)

func decodeXtDCCP(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	destination, source := [2]uint16{r.u16(), r.u16()}, [2]uint16{r.u16(), r.u16()}
	flags, invert, types, option := r.u16(), r.u16(), r.u16(), r.u8()
	r.align(2)
	if err := r.end(); err != nil {
		return nil, err
	}
	if flags>>4 != 0 || flags&xtDCCPOption == 0 || invert&^flags != 0 || flags&xtDCCPType == 0 && types != 0 {
		return nil, notModelled{fmt.Sprintf("match dccp with the flags %#x and %#x", flags, invert)}
	}
	is := func(bit uint16) string {
		if invert&bit != 0 {
			return "not "
		}
		return ""
	}
	ports := func(bit uint16, span [2]uint16) string {
		if flags&bit == 0 {
			return "any"
		}
		return fmt.Sprintf("%s%d-%d", is(bit), span[0], span[1])
	}
	kinds := "any"
	if flags&xtDCCPType != 0 {
		kinds = fmt.Sprintf("%s%#x", is(xtDCCPType), types)
	}
	return xtDCCP{fmt.Sprintf("DCCP from port %s to port %s of types %s with %soption %d",
		ports(xtDCCPSource, source), ports(xtDCCPDestination, destination), kinds, is(xtDCCPOption), option)}, nil
}

func (m xtDCCP) String() string { return m.words }

func (xtDCCP) negated() bool { return false }

// holds does not know of options.
func (xtDCCP) holds(*execution) (match, known bool) { return false, false }
