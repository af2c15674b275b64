package nftsim

import (
	"bytes"
	"fmt"
)

func init() { registerXtMatch("string", 1, decodeXtString) }

// xtString looks for bytes in the packet.
//
// Kernel: net/netfilter/xt_string.c; include/uapi/linux/netfilter/xt_string.h,
// struct xt_string_info.
type xtString struct {
	from, to        int
	pattern         []byte
	invert, anyCase bool
}

// Flags of the structure.
const (
	xtStringInvert  = 1
	xtStringAnyCase = 2
)

func decodeXtString(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	m := &xtString{from: int(r.u16()), to: int(r.u16())}
	algorithm := r.text(16)
	pattern := r.bytes(128)
	length, flags := int(r.u8()), r.u8()
	r.u64() // the kernel's
	if err := r.end(); err != nil {
		return nil, err
	}
	switch {
	case length == 0 || length > len(pattern) || m.from > m.to || flags&^(xtStringInvert|xtStringAnyCase) != 0:
		return nil, fmt.Errorf("a search for %d bytes from %d to %d with the flags %#x", length, m.from, m.to, flags)
	case algorithm != "bm" && algorithm != "kmp":
		return nil, notModelled{fmt.Sprintf("a search by %q", algorithm)}
	}
	m.pattern = pattern[:length]
	m.invert, m.anyCase = flags&xtStringInvert != 0, flags&xtStringAnyCase != 0
	return m, nil
}

func (m *xtString) String() string {
	how := ""
	if m.anyCase {
		how = " in any case,"
	}
	return fmt.Sprintf("search for %q%s from %d to %d", m.pattern, how, m.from, m.to)
}

func (m *xtString) negated() bool { return m.invert }

func (m *xtString) holds(x *execution) (match, known bool) {
	data, wanted := x.flight.Data, m.pattern
	data = data[min(m.from, len(data)):min(m.to, len(data))]
	if m.anyCase {
		data, wanted = upper(data), upper(wanted)
	}
	return bytes.Contains(data, wanted), true
}

// upper makes capitals of small letters of Latin-1, as the kernel does: also of
// the sharp s and of the last one, which are none.
//
// Kernel: include/linux/ctype.h, toupper; lib/ctype.c, _ctype.
func upper(b []byte) []byte {
	c := bytes.Clone(b)
	for i, n := range c {
		if 'a' <= n && n <= 'z' || n == 0xdf || n >= 0xe0 && n != 0xf7 {
			c[i] = n - 0x20
		}
	}
	return c
}
