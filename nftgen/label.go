package nftgen

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Labels of connections are 128 bits that are named by number.
//
// Kernel: include/net/netfilter/nf_conntrack_labels.h.
type (
	// HasLabel is "ct label N": the bit is set.
	HasLabel struct{ Bit uint8 }

	// SetLabel is "ct label set N": the bit is set from now on, and others stay. A
	// connection that came before the first rule that sets one cannot have any.
	SetLabel struct{ Bit uint8 }
)

func (HasLabel) stmt() {}
func (SetLabel) stmt() {}

const (
	labelBytes = 16
	maxLabel   = 8*labelBytes - 1
)

var (
	ctLabel = &Datatype{Name: "ct_label", Number: 30, Bytes: labelBytes, Order: HostEndian, format: decimal}
	labels  = ctField("ct label", ctLabel, unix.NFT_CT_LABELS)
)

// labelBit is the label as it stands in a register.
func labelBit(n uint8) []byte {
	v := make(Value, labelBytes)
	v[labelBytes-1-n/8] = 1 << (n % 8)
	return ctLabel.inRegister(v)
}

func (s HasLabel) expressions() []expression {
	return []expression{
		labels.loadInto(1, labelBytes), bitwise(1, labelBit(s.Bit), make([]byte, labelBytes)), compare(Ne, 1, make([]byte, labelBytes)),
	}
}

func (s SetLabel) expressions() []expression {
	var a attributes
	a.u32(unix.NFTA_CT_KEY, unix.NFT_CT_LABELS)
	a.u32(unix.NFTA_CT_SREG, 1)
	return []expression{immediate(1, labelBit(s.Bit)), ownExpression{"ct", a}}
}

func checkLabel(n uint8) error {
	if n > maxLabel {
		return fmt.Errorf("write a label of connections: there is no number %d", n)
	}
	return nil
}
