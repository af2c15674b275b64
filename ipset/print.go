package ipset

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"

	"nftmigrate/iptables"
)

// Print writes sets as "ipset save" of ipset 7.17 does: lists last, bitmaps by
// value. The elements of a hash stand in the order in which they were added, as
// the order of ipset is that of the kernel's hash.
func Print(w io.Writer, sets *Sets) error {
	b := bufio.NewWriter(w)
	for _, lists := range []bool{false, true} {
		for _, s := range sets.List {
			if s.Type.IsList() == lists {
				s.print(b)
			}
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("print sets: %w", err)
	}
	return nil
}

// String returns the line that creates the set.
func (s *Set) String() string { return string(s.appendCreate(nil)) }

func (s *Set) appendCreate(b []byte) []byte {
	o := &s.Options
	b = append(append(append(append(b, "create "...), s.Name...), ' '), s.Type.Name...)
	number := func(name string, n uint32) { b = fmt.Appendf(b, " %s %d", name, n) }
	masks := func() {
		if o.Netmask != 0 {
			number("netmask", uint32(o.Netmask))
		}
		if o.Bitmask.IsValid() {
			b = fmt.Appendf(b, " bitmask %s", o.Bitmask)
		}
	}
	hash := !s.Type.Bitmap && !s.Type.IsList()
	early := s.Type.Name == "hash:ip" || s.Type.Bitmap
	switch {
	case s.Type.Families && o.Family == 6:
		b = append(b, " family inet6"...)
	case s.Type.Families:
		b = append(b, " family inet"...)
	case s.Type.Bitmap && s.parts[0] == Port:
		b = fmt.Appendf(b, " range %d-%d", o.Low, o.High)
	case s.Type.Bitmap:
		b = fmt.Appendf(b, " range %s-%s", address4(o.Low), address4(o.High))
	case s.Type.IsList():
		number("size", o.Size)
	}
	if o.MarkMask != nil {
		b = fmt.Appendf(b, " markmask 0x%08x", *o.MarkMask)
	}
	if hash {
		number("hashsize", o.HashSize)
		number("maxelem", o.MaxElem)
	}
	if early {
		masks()
	}
	if o.HasTimeout {
		number("timeout", o.Timeout)
	}
	for _, f := range []struct {
		on   bool
		name string
	}{{o.Counters, "counters"}, {o.Comment, "comment"}, {o.SkbInfo, "skbinfo"}, {o.ForceAdd, "forceadd"}} {
		if f.on {
			b = append(append(b, ' '), f.name...)
		}
	}
	if hash {
		number("bucketsize", uint32(o.BucketSize))
		if o.InitVal != nil {
			b = fmt.Appendf(b, " initval 0x%08x", *o.InitVal)
		}
	}
	if !early {
		masks()
	}
	return b
}

func address4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

func (s *Set) print(w *bufio.Writer) {
	line := append(s.appendCreate(nil), '\n')
	w.Write(line)
	order := make([]int, 0, s.Len())
	for i := range s.at {
		if s.record(i)[s.stride-1]&flagDead == 0 {
			order = append(order, i)
		}
	}
	if s.Type.Bitmap {
		slices.SortFunc(order, func(a, b int) int { return slices.Compare(s.record(a), s.record(b)) })
	}
	var e Element
	for _, i := range order {
		s.unpack(i, &e)
		line = append(append(append(line[:0], "add "...), s.Name...), ' ')
		line = s.appendElement(line, &e)
		w.Write(append(line, '\n'))
	}
}

// ElementText returns an element as ipset prints it, without its set.
func (s *Set) ElementText(e *Element) string { return string(s.appendElement(nil, e)) }

func (s *Set) appendElement(b []byte, e *Element) []byte {
	n := 0
	for i, part := range s.parts {
		if i > 0 && !(part == MAC && !e.HasMAC) {
			b = append(b, ',')
		}
		switch part {
		case IP, Net:
			b = append(b, iptables.AddrString(e.Addr[n])...)
			if int(e.Bits[n]) != 8*s.addr {
				b = strconv.AppendUint(append(b, '/'), uint64(e.Bits[n]), 10)
			}
			n++
		case Port:
			b = s.appendPort(b, e)
		case MAC:
			if e.HasMAC {
				b = fmt.Appendf(b, "%02X:%02X:%02X:%02X:%02X:%02X", e.MAC[0], e.MAC[1], e.MAC[2], e.MAC[3], e.MAC[4], e.MAC[5])
			}
		case Mark:
			b = fmt.Appendf(b, "0x%08x", e.Mark)
		case Iface:
			if e.Physdev {
				b = append(b, "physdev:"...)
			}
			b = append(b, e.Iface...)
		case Member:
			b = append(b, e.Member.Name...)
		}
	}
	return s.appendExtra(b, e)
}

func (s *Set) appendPort(b []byte, e *Element) []byte {
	if s.bitmap {
		return strconv.AppendUint(b, uint64(e.Port), 10)
	}
	proto := iptables.Protocol(e.Proto)
	b = append(append(b, proto.String()...), ':')
	if e.Proto != 1 && e.Proto != 58 {
		return strconv.AppendUint(b, uint64(e.Port), 10)
	}
	for _, t := range icmpTypes[e.Proto] {
		if t.code == e.Port {
			return append(b, t.name...)
		}
	}
	return fmt.Appendf(b, "%d/%d", e.Port>>8, e.Port&0xff)
}

func (s *Set) appendExtra(b []byte, e *Element) []byte {
	x := e.Extra
	if x != nil && s.Options.HasTimeout {
		b = strconv.AppendUint(append(b, " timeout "...), uint64(x.Timeout), 10)
	}
	if e.Nomatch {
		b = append(b, " nomatch"...)
	}
	if e.Wildcard {
		b = append(b, " wildcard"...)
	}
	if x == nil {
		return b
	}
	if s.Options.Counters {
		b = fmt.Appendf(b, " packets %d bytes %d", x.Packets, x.Bytes)
	}
	if x.Comment != "" {
		b = append(append(append(b, ` comment "`...), x.Comment...), '"')
	}
	if x.SkbMark != 0 || x.SkbMask != 0 {
		b = fmt.Appendf(b, " skbmark 0x%x", x.SkbMark)
		if x.SkbMask != 0xffffffff {
			b = fmt.Appendf(b, "/0x%x", x.SkbMask)
		}
	}
	if x.SkbPrio != 0 {
		b = fmt.Appendf(b, " skbprio %x:%x", x.SkbPrio>>16, x.SkbPrio&0xffff)
	}
	if x.SkbQueue != 0 {
		b = fmt.Appendf(b, " skbqueue %d", x.SkbQueue)
	}
	return b
}
