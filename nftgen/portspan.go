package nftgen

import (
	"encoding/binary"
	"fmt"
)

// A portSpan is the ports that a statement maps to; the zero value is none.
type portSpan struct {
	low, high uint16
	fromZero  bool
}

func (s NAT) ports() portSpan        { return portSpan{s.LowPort, s.HiPort, s.FromZero} }
func (s Masquerade) ports() portSpan { return portSpan{s.LowPort, s.HiPort, s.FromZero} }
func (s Redirect) ports() portSpan   { return portSpan{s.LowPort, s.HiPort, s.FromZero} }

func (p portSpan) given() bool { return p != portSpan{} }

func (p portSpan) check() error {
	if p.given() && p.fromZero != (p.low == 0) || p.high != 0 && p.high < p.low {
		return fmt.Errorf("write a span of ports: %d-%d", p.low, p.high)
	}
	return nil
}

// data returns the values of the ends, nil for what is not given.
func (p portSpan) data() (low, high []byte) {
	if !p.given() {
		return nil, nil
	}
	low = binary.BigEndian.AppendUint16(nil, p.low)
	if p.high > p.low {
		high = binary.BigEndian.AppendUint16(nil, p.high)
	}
	return low, high
}

func (p portSpan) text() string {
	switch {
	case !p.given():
		return ""
	case p.high > p.low:
		return fmt.Sprintf(":%d-%d", p.low, p.high)
	}
	return fmt.Sprintf(":%d", p.low)
}
