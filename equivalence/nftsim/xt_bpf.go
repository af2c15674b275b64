package nftsim

import (
	"fmt"
	"strings"

	"golang.org/x/net/bpf"
)

func init() { registerXtMatch("bpf", 1, decodeXtBPF) }

// xtBPF runs a classic BPF program on the packet from the network header on. The
// machine is that of golang.org/x/net, so that the two sides of a comparison
// share no interpreter.
//
// Kernel: net/netfilter/xt_bpf.c; include/uapi/linux/netfilter/xt_bpf.h, struct
// xt_bpf_info_v1.
type xtBPF struct {
	program []bpf.RawInstruction
	vm      *bpf.VM // nil where the program asks the kernel more than the packet
}

// xtBPFMost is how many instructions there is room for.
const xtBPFMost = 64

func decodeXtBPF(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	mode, length := r.u16(), int(r.u16())
	r.u32() // a descriptor that no batch has
	m := &xtBPF{}
	for range xtBPFMost {
		m.program = append(m.program, bpf.RawInstruction{Op: r.u16(), Jt: r.u8(), Jf: r.u8(), K: r.u32()})
	}
	r.u64() // the kernel's
	if err := r.end(); err != nil {
		return nil, err
	}
	if mode != 0 {
		return nil, notModelled{fmt.Sprintf("a BPF program of mode %d", mode)}
	}
	if length == 0 || length > xtBPFMost {
		return nil, fmt.Errorf("a program of %d instructions", length)
	}
	m.program = m.program[:length]
	filter, all := bpf.Disassemble(m.program)
	if all {
		m.vm, _ = bpf.NewVM(filter)
	}
	return m, nil
}

func (m *xtBPF) String() string {
	var b strings.Builder
	b.WriteString("bpf")
	for _, i := range m.program {
		fmt.Fprintf(&b, " %d:%d:%d:%d", i.Op, i.Jt, i.Jf, i.K)
	}
	return b.String()
}

func (*xtBPF) negated() bool { return false }

func (m *xtBPF) holds(x *execution) (match, known bool) {
	if m.vm == nil {
		return false, false
	}
	result, err := m.vm.Run(x.flight.Data)
	return result != 0, err == nil
}
