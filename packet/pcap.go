package packet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Link types of a capture.
//
// Source: draft-ietf-opsawg-pcaplinktype.
const (
	linkNull     = 0
	linkEthernet = 1
	linkRaw      = 101
	linkRawBSD   = 12
	linkIPv4     = 228
	linkIPv6     = 229
)

const (
	pcapMicro = 0xa1b2c3d4
	pcapNano  = 0xa1b23c4d
	pcapSnap  = 262144
)

// WritePcap writes packets as a pcap capture of raw IP, with nanoseconds; the
// time of a packet is its Time since 1970.
func WritePcap(w io.Writer, packets []*Packet) error {
	b := bufio.NewWriter(w)
	header := make([]byte, 24)
	binary.LittleEndian.PutUint32(header, pcapNano)
	binary.LittleEndian.PutUint16(header[4:], 2)
	binary.LittleEndian.PutUint16(header[6:], 4)
	binary.LittleEndian.PutUint32(header[16:], pcapSnap)
	binary.LittleEndian.PutUint32(header[20:], linkRaw)
	b.Write(header)
	for _, p := range packets {
		record := make([]byte, 16)
		binary.LittleEndian.PutUint32(record, uint32(p.Time/1e9))
		binary.LittleEndian.PutUint32(record[4:], uint32(p.Time%1e9))
		binary.LittleEndian.PutUint32(record[8:], uint32(len(p.Data)))
		binary.LittleEndian.PutUint32(record[12:], uint32(len(p.Data)))
		b.Write(record)
		b.Write(p.Data)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}

var errPcap = errors.New("not a pcap capture")

// ReadPcap reads a pcap capture of raw IP or Ethernet. Frames that hold no IP
// are left out. The packets carry bytes, time and Ethernet addresses; where
// they arrive and what connection tracking knows is for the caller to say.
func ReadPcap(r io.Reader) ([]*Packet, error) {
	b := bufio.NewReader(r)
	header := make([]byte, 24)
	if _, err := io.ReadFull(b, header); err != nil {
		return nil, fmt.Errorf("read capture: %w: %w", errPcap, err)
	}
	order, scale, ok := pcapMagic(header)
	if !ok {
		return nil, fmt.Errorf("read capture: %w", errPcap)
	}
	link := order.Uint32(header[20:]) & 0x0fffffff
	switch link {
	case linkNull, linkEthernet, linkRaw, linkRawBSD, linkIPv4, linkIPv6:
	default:
		return nil, fmt.Errorf("read capture: link type %d is neither raw IP nor Ethernet", link)
	}
	var packets []*Packet
	for {
		record := make([]byte, 16)
		if _, err := io.ReadFull(b, record); err == io.EOF {
			return packets, nil
		} else if err != nil {
			return packets, fmt.Errorf("read capture: record %d: %w", len(packets)+1, err)
		}
		size := order.Uint32(record[8:])
		if size > pcapSnap {
			return packets, fmt.Errorf("read capture: record %d: %w: %d bytes", len(packets)+1, errPcap, size)
		}
		data := make([]byte, size)
		if _, err := io.ReadFull(b, data); err != nil {
			return packets, fmt.Errorf("read capture: record %d: %w", len(packets)+1, err)
		}
		p := unframe(link, data)
		if p == nil {
			continue
		}
		p.Time = int64(order.Uint32(record))*1e9 + int64(order.Uint32(record[4:]))*scale
		packets = append(packets, p)
	}
}

func pcapMagic(header []byte) (order binary.ByteOrder, scale int64, ok bool) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(header) {
		case pcapMicro:
			return order, 1000, true
		case pcapNano:
			return order, 1, true
		}
	}
	return nil, 0, false
}

// unframe takes the link header off a frame; nil when there is no IP in it.
func unframe(link uint32, data []byte) *Packet {
	p := &Packet{Data: data}
	switch link {
	case linkNull:
		if len(data) < 4 {
			return nil
		}
		p.Data = data[4:]
	case linkEthernet:
		if len(data) < 14 {
			return nil
		}
		p.Link = &Link{Dst: [6]byte(data[0:6]), Src: [6]byte(data[6:12])}
		kind, rest := binary.BigEndian.Uint16(data[12:]), data[14:]
		for (kind == 0x8100 || kind == 0x88a8) && len(rest) >= 4 { // VLAN tags
			kind, rest = binary.BigEndian.Uint16(rest[2:]), rest[4:]
		}
		if kind != 0x0800 && kind != 0x86dd {
			return nil
		}
		p.Data = rest
		switch {
		case p.Link.Dst == [6]byte{255, 255, 255, 255, 255, 255}:
			p.Type = TypeBroadcast
		case p.Link.Dst[0]&1 != 0:
			p.Type = TypeMulticast
		}
	}
	if p.Version() == 0 {
		return nil
	}
	p.Data = trim(p.Data)
	return p
}

// trim cuts the padding of a frame behind the end of the IP packet.
func trim(data []byte) []byte {
	size := len(data)
	switch {
	case data[0]>>4 == 4 && len(data) >= 20:
		size = int(binary.BigEndian.Uint16(data[2:]))
	case data[0]>>4 == 6 && len(data) >= 40:
		size = 40 + int(binary.BigEndian.Uint16(data[4:]))
	}
	if size >= 20 && size < len(data) {
		return data[:size]
	}
	return data
}
