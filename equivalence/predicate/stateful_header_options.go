package predicate

import "fmt"

// HeaderOptions is "--hbh-opts" and "--dst-opts": an IPv6 header of options begins
// with options of a list, in its order.
//
// Kernel: net/ipv6/netfilter/ip6t_hbh.c.
type HeaderOptions struct {
	Header uint8
	List   []HeaderOption
}

// A HeaderOption is a type and, when Sized, the length of what the option holds. One
// of type 0 is a single byte.
type HeaderOption struct {
	Type, Length uint8
	Sized        bool
}

var _ Instance = HeaderOptions{}

// Identity is "": there is nothing to share.
func (HeaderOptions) Identity() string { return "" }

// Describe says which options.
func (o HeaderOptions) Describe() string {
	return fmt.Sprintf("header %d with options %v", o.Header, o.List)
}

// Keys is none.
func (HeaderOptions) Keys() []Field { return nil }

// Ask walks the options.
func (o HeaderOptions) Ask(r Reader, _ string) Truth {
	at := func(offset int) (int, bool) {
		b, there := r.Field(Field{ID: HeaderByte, Arg: Header(o.Header, offset)})
		return int(b.Lo), there == Yes
	}
	units, there := at(1)
	if !there {
		return No
	}
	const before = 2
	offset, left := before, (units+1)*8-before
	for i, want := range o.List {
		kind, there := at(offset)
		if left < 1 || !there || kind != int(want.Type) {
			return No
		}
		size := 1
		if kind != 0 {
			length, there := at(offset + 1)
			if left < 2 || !there || want.Sized && length != int(want.Length) {
				return No
			}
			size = length + 2
		}
		if left < size && i < len(o.List)-1 {
			return No
		}
		offset, left = offset+size, left-size
	}
	return Yes
}
