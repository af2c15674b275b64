package live

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/ipset"
	"nftmigrate/iptables"
)

// Attributes of a message (IPSET_ATTR_*).
const (
	attrProtocol = 1
	attrSetName  = 2
	attrTypeName = 3
	attrFamily   = 5
	attrData     = 7
	attrElements = 8 // IPSET_ATTR_ADT
)

// Attributes of sets and elements.
const (
	dataIP      = 1
	dataIPTo    = 2
	dataCIDR    = 3
	dataPort    = 4
	dataPortTo  = 5
	dataTimeout = 6
	dataProto   = 7
	dataFlags   = 8
	dataMark    = 10
	dataMask    = 11 // IPSET_ATTR_MARKMASK
	dataBitmask = 12
)

// Attributes of sets alone.
const (
	setInitVal    = 17
	setHashSize   = 18
	setMaxElem    = 19
	setNetmask    = 20
	setBucketSize = 21
	setSize       = 23
)

// Attributes of elements alone.
const (
	elemEther     = 17
	elemName      = 18
	elemIP2       = 20
	elemCIDR2     = 21
	elemIface     = 23
	elemBytes     = 24
	elemPackets   = 25
	elemComment   = 26
	elemSkbMark   = 27
	elemSkbPrio   = 28
	elemSkbQueue  = 29
	addressIPv4   = 1
	addressIPv6   = 2
	wholeSkbMask  = 0xffffffff
	etherSize     = 6
	ipv4Bits      = 32
	ipv6Bits      = 128
	flagPhysdev   = 1 << 1 // IPSET_FLAG_PHYSDEV
	flagNomatch   = 1 << 2
	flagCounters  = 1 << 3 // of sets: IPSET_FLAG_WITH_COUNTERS
	flagComment   = 1 << 4
	flagForceAdd  = 1 << 5
	flagSkbInfo   = 1 << 6
	flagWildcard  = 1 << 7 // of elements: IPSET_FLAG_IFACE_WILDCARD
	knownSetFlags = flagCounters | flagComment | flagForceAdd | flagSkbInfo
	knownFlags    = flagPhysdev | flagNomatch | flagWildcard
)

// A set is one whose elements are being told.
type set struct {
	name, create string
	kind         *ipset.Type
	bits         uint8 // of a whole address
}

// newSet reads the header of a set.
func newSet(name, kind string, family uint8, header []byte) (set, error) {
	s := set{name: name, kind: ipset.TypeOf(kind), bits: ipv4Bits}
	if s.kind == nil {
		return s, fmt.Errorf("set %q has the type %q, which is none of ipset 7.17", name, kind)
	}
	f := fields{numbers: map[uint16]uint64{}}
	if err := f.read(header, headerKinds); err != nil {
		return s, fmt.Errorf("set %q: %w", name, err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "create %s %s", name, s.kind.Name)
	switch {
	case s.kind.Families && family == unix.NFPROTO_IPV6:
		s.bits = ipv6Bits
		b.WriteString(" family inet6")
	case s.kind.Families:
		b.WriteString(" family inet")
	case s.kind.Bitmap && f.address.IsValid():
		fmt.Fprintf(&b, " range %s-%s", f.address, f.address2)
	case s.kind.Bitmap:
		fmt.Fprintf(&b, " range %d-%d", f.numbers[dataPort], f.numbers[dataPortTo])
	}
	for _, o := range []struct {
		attr uint16
		form string
	}{
		{setSize, " size %d"}, {dataMask, " markmask 0x%08x"}, {setHashSize, " hashsize %d"}, {setMaxElem, " maxelem %d"},
		{setNetmask, " netmask %d"}, {dataTimeout, " timeout %d"}, {setBucketSize, " bucketsize %d"}, {setInitVal, " initval 0x%08x"},
	} {
		if n, ok := f.numbers[o.attr]; ok {
			fmt.Fprintf(&b, o.form, n)
		}
	}
	if f.bitmask.IsValid() {
		fmt.Fprintf(&b, " bitmask %s", f.bitmask)
	}
	flags := f.numbers[dataFlags]
	if flags&^knownSetFlags != 0 {
		return s, fmt.Errorf("set %q has the flags %#x, some of which ipset 7.17 has not", name, flags)
	}
	for _, o := range []struct {
		flag uint64
		word string
	}{{flagCounters, " counters"}, {flagComment, " comment"}, {flagSkbInfo, " skbinfo"}, {flagForceAdd, " forceadd"}} {
		if flags&o.flag != 0 {
			b.WriteString(o.word)
		}
	}
	b.WriteByte('\n')
	s.create = b.String()
	return s, nil
}

// add writes the commands that add elements, of which each is a nest of
// attributes.
func (s *set) add(text *bytes.Buffer, elements []byte) error {
	if len(elements) == 0 {
		return nil
	}
	d, err := netlink.NewAttributeDecoder(elements)
	if err != nil {
		return err
	}
	f := fields{numbers: map[uint16]uint64{}}
	var line []byte
	for d.Next() {
		if d.Type() != attrData {
			return fmt.Errorf("attribute %d stands among its elements", d.Type())
		}
		if err := f.read(d.Bytes(), elementKinds); err != nil {
			return err
		}
		if flags := f.numbers[dataFlags]; flags&^knownFlags != 0 {
			return fmt.Errorf("an element has the flags %#x, some of which ipset 7.17 has not", flags)
		}
		line = append(append(append(line[:0], "add "...), s.name...), ' ')
		if line, err = s.element(line, &f); err != nil {
			return err
		}
		text.Write(append(line, '\n'))
	}
	return d.Err()
}

// element appends an element with its extensions.
func (s *set) element(b []byte, f *fields) ([]byte, error) {
	addresses := []struct {
		address netip.Addr
		prefix  uint16
	}{{f.address, dataCIDR}, {f.address2, elemCIDR2}}
	for i, part := range s.kind.Parts {
		if part == ipset.MAC && !f.hasEther && s.kind.Bitmap {
			break // an address alone
		}
		if i > 0 {
			b = append(b, ',')
		}
		switch part {
		case ipset.IP, ipset.Net:
			a := addresses[0]
			if addresses = addresses[1:]; !a.address.IsValid() {
				return b, fmt.Errorf("an element has no address")
			}
			b = append(b, iptables.AddrString(a.address)...)
			if n, ok := f.numbers[a.prefix]; ok && part == ipset.Net && n != uint64(s.bits) {
				b = fmt.Appendf(b, "/%d", n)
			}
		case ipset.Port:
			b = s.port(b, f)
		case ipset.MAC:
			e := f.ether
			b = fmt.Appendf(b, "%02X:%02X:%02X:%02X:%02X:%02X", e[0], e[1], e[2], e[3], e[4], e[5])
		case ipset.Mark:
			b = fmt.Appendf(b, "0x%08x", f.numbers[dataMark])
		case ipset.Iface:
			if f.numbers[dataFlags]&flagPhysdev != 0 {
				b = append(b, "physdev:"...)
			}
			b = append(b, f.iface...)
		case ipset.Member:
			b = append(b, f.member...)
		}
	}
	return f.extensions(b), nil
}

func (s *set) port(b []byte, f *fields) []byte {
	port := f.numbers[dataPort]
	if s.kind.Bitmap {
		return fmt.Appendf(b, "%d", port)
	}
	proto := iptables.Protocol(f.numbers[dataProto])
	if proto == unix.IPPROTO_ICMP || proto == unix.IPPROTO_ICMPV6 {
		return fmt.Appendf(b, "%s:%d/%d", proto.String(), port>>8, port&0xff)
	}
	return fmt.Appendf(b, "%s:%d", proto.String(), port)
}
