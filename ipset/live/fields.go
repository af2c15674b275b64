package live

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
)

// A kind is the form of an attribute.
type kind uint8

const (
	number  kind = iota + 1 // big-endian, of as many bytes as there are
	address                 // a nest of one address
	text                    // up to a zero byte
	ether                   // six bytes
	unused                  // says nothing that "ipset save" prints
)

// headerKinds are the attributes that describe a set. What only counts memory,
// elements and references is not printed.
var headerKinds = map[uint16]kind{
	dataIP: address, dataIPTo: address, dataPort: number, dataPortTo: number, dataTimeout: number, dataFlags: number,
	dataMask: number, dataBitmask: address, setInitVal: number, setHashSize: number, setMaxElem: number, setNetmask: number,
	setBucketSize: number, setSize: number,
	22: unused, // IPSET_ATTR_RESIZE
	24: unused, // IPSET_ATTR_ELEMENTS
	25: unused, // IPSET_ATTR_REFERENCES
	26: unused, // IPSET_ATTR_MEMSIZE
}

// elementKinds are the attributes that describe an element.
var elementKinds = map[uint16]kind{
	dataIP: address, dataCIDR: number, dataPort: number, dataTimeout: number, dataProto: number, dataFlags: number, dataMark: number,
	elemEther: ether, elemName: text, elemIP2: address, elemCIDR2: number, elemIface: text, elemBytes: number, elemPackets: number,
	elemComment: text, elemSkbMark: number, elemSkbPrio: number, elemSkbQueue: number,
	30: unused, // IPSET_ATTR_PAD
}

// fields are the attributes of one set or element.
type fields struct {
	numbers                    map[uint16]uint64
	address, address2, bitmask netip.Addr
	iface, member, comment     string
	ether                      [etherSize]byte
	hasEther                   bool
}

// read takes attributes apart. One that is not known is an error: leaving it out
// would change what the set is.
func (f *fields) read(b []byte, kinds map[uint16]kind) error {
	numbers := f.numbers
	clear(numbers)
	*f = fields{numbers: numbers}
	if len(b) == 0 {
		return nil
	}
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return err
	}
	for d.Next() {
		t, value := d.Type(), d.Bytes()
		switch kinds[t] {
		case number:
			var n [8]byte
			if len(value) > len(n) {
				return fmt.Errorf("attribute %d is a number of %d bytes", t, len(value))
			}
			copy(n[len(n)-len(value):], value)
			numbers[t] = binary.BigEndian.Uint64(n[:])
		case address:
			a, err := readAddress(value)
			if err != nil {
				return err
			}
			switch t {
			case dataIP:
				f.address = a
			case dataBitmask:
				f.bitmask = a
			default:
				f.address2 = a
			}
		case ether:
			if len(value) != etherSize {
				return fmt.Errorf("an Ethernet address has %d bytes, not %d", len(value), etherSize)
			}
			f.hasEther = true
			copy(f.ether[:], value)
		case text:
			switch t {
			case elemIface:
				f.iface = d.String()
			case elemName:
				f.member = d.String()
			case elemComment:
				f.comment = d.String()
			}
		case unused:
		default:
			return fmt.Errorf("attribute %d is none that ipset 7.17 has", t)
		}
	}
	return d.Err()
}

// readAddress reads a nest of one address.
func readAddress(b []byte) (netip.Addr, error) {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return netip.Addr{}, err
	}
	for d.Next() {
		value := d.Bytes()
		if a, ok := netip.AddrFromSlice(value); ok && (d.Type() == addressIPv4 && a.Is4() || d.Type() == addressIPv6 && a.Is6()) {
			return a, nil
		}
		return netip.Addr{}, fmt.Errorf("attribute %d of %d bytes is no address", d.Type(), len(value))
	}
	return netip.Addr{}, fmt.Errorf("an address is missing")
}

// extensions appends what an element carries beside its parts.
func (f *fields) extensions(b []byte) []byte {
	flags := f.numbers[dataFlags]
	if n, ok := f.numbers[dataTimeout]; ok {
		b = fmt.Appendf(b, " timeout %d", n)
	}
	if flags&flagNomatch != 0 {
		b = append(b, " nomatch"...)
	}
	if flags&flagWildcard != 0 {
		b = append(b, " wildcard"...)
	}
	if n, ok := f.numbers[elemPackets]; ok {
		b = fmt.Appendf(b, " packets %d bytes %d", n, f.numbers[elemBytes])
	}
	if f.comment != "" {
		b = fmt.Appendf(b, " comment \"%s\"", f.comment)
	}
	if n, ok := f.numbers[elemSkbMark]; ok {
		b = fmt.Appendf(b, " skbmark 0x%x/0x%x", n>>32, n&wholeSkbMask)
	}
	if n, ok := f.numbers[elemSkbPrio]; ok {
		b = fmt.Appendf(b, " skbprio %x:%x", n>>16, n&0xffff)
	}
	if n, ok := f.numbers[elemSkbQueue]; ok {
		b = fmt.Appendf(b, " skbqueue %d", n)
	}
	return b
}
