package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
	"nftmigrate/packet"
)

// Messages and attributes of the connection tracking subsystem.
//
// Kernel: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
const (
	conntrackNew    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 0 // IPCTNL_MSG_CT_NEW
	conntrackGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	conntrackDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2

	ctTupleOrig  = 1
	ctTupleReply = 2
	ctStatus     = 3
	ctProtoInfo  = 4
	ctHelp       = 5
	ctNATSource  = 6
	ctTimeout    = 7
	ctMark       = 8
	ctCountOrig  = 9
	ctCountReply = 10
	ctNATDest    = 13
	ctZone       = 18
	ctLabels     = 22

	ctTupleIP    = 1
	ctTupleProto = 2

	ctIPv4Src = 1
	ctIPv4Dst = 2
	ctIPv6Src = 3
	ctIPv6Dst = 4

	ctProtoNum      = 1
	ctProtoSrcPort  = 2
	ctProtoDstPort  = 3
	ctProtoICMPID   = 4
	ctProtoICMPType = 5
	ctProtoICMPCode = 6
	ctProtoV6Offset = 3 // from an attribute of ICMP to that of ICMPv6

	ctProtoInfoTCP   = 1
	ctProtoInfoSCTP  = 3
	ctTCPState       = 1
	ctTCPFlagsOrig   = 4
	ctTCPFlagsReply  = 5
	ctSCTPState      = 1
	ctSCTPVtagOrig   = 2
	ctSCTPVtagReply  = 3
	tcpEstablished   = 3 // TCP_CONNTRACK_ESTABLISHED
	sctpEstablished  = 4 // SCTP_CONNTRACK_ESTABLISHED
	tcpBeLiberal     = 8 // IP_CT_TCP_FLAG_BE_LIBERAL
	tcpWindowScaling = 1 // IP_CT_TCP_FLAG_WINDOW_SCALE

	ctNATMinIPv4 = 1
	ctNATMaxIPv4 = 2
	ctNATProto   = 3
	ctNATMinIPv6 = 4
	ctNATMaxIPv6 = 5
	ctNATPortMin = 1
	ctNATPortMax = 2

	ctHelpName     = 1
	ctCountPackets = 1
	ctCountBytes   = 2
)

// defaultExpiry is the life in seconds of an injected entry that names none.
const defaultExpiry = 300

// A tracker talks to the connection tracking of a namespace.
type tracker struct {
	fd     int
	buffer []byte
}

func newTracker() (*tracker, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, &MissingError{"kernel feature", "CONFIG_NETFILTER_NETLINK", err}
	}
	t := &tracker{fd: fd, buffer: make([]byte, 8192)}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.close()
		return nil, fmt.Errorf("bind the connection tracking socket: %w", err)
	}
	// Deleting all entries of an empty namespace only probes the subsystem.
	if err := t.flush(); err != nil {
		t.close()
		return nil, &MissingError{"kernel feature", "CONFIG_NF_CT_NETLINK", err}
	}
	return t, nil
}

func (t *tracker) close() { unix.Close(t.fd) }

func (t *tracker) request(kind, flags uint16, data []byte) error {
	if err := sendMessage(t.fd, kind, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags, data); err != nil {
		return err
	}
	n, _, err := unix.Recvfrom(t.fd, t.buffer, 0)
	if err != nil {
		return err
	}
	return replyError(t.buffer[:n])
}

// flush deletes all entries of the namespace.
func (t *tracker) flush() error {
	if err := t.request(conntrackDelete, 0, []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0}); err != nil {
		return fmt.Errorf("flush connections: %w", err)
	}
	return nil
}

// remove deletes the entry of an original tuple, if there is one.
func (t *tracker) remove(e *packet.Entry) error {
	err := t.request(conntrackDelete, 0, join(
		[]byte{family(e.Original.Src), unix.NFNETLINK_V0, 0, 0},
		encodeTuple(ctTupleOrig, e.Protocol, e.Original), attr(ctZone, be16(e.Zone))))
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete connection: %w", err)
	}
	return nil
}

// find returns the entry that has the tuple in either direction, nil when there
// is none.
func (t *tracker) find(proto uint8, tuple packet.Tuple) (*packet.Entry, error) {
	data := join([]byte{family(tuple.Src), unix.NFNETLINK_V0, 0, 0}, encodeTuple(ctTupleOrig, proto, tuple))
	if err := sendMessage(t.fd, conntrackGet, unix.NLM_F_REQUEST, data); err != nil {
		return nil, fmt.Errorf("look for connection: %w", err)
	}
	n, _, err := unix.Recvfrom(t.fd, t.buffer, 0)
	if err != nil {
		return nil, fmt.Errorf("look for connection: %w", err)
	}
	messages, err := nfnetlink.Unmarshal(t.buffer[:n])
	if err != nil || len(messages) == 0 {
		return nil, fmt.Errorf("look for connection: %w", err)
	}
	if messages[0].Header.Type != conntrackNew {
		err := replyError(t.buffer[:n])
		if errors.Is(err, unix.ENOENT) {
			return nil, nil
		}
		return nil, fmt.Errorf("look for connection: %w", err)
	}
	return parseEntry(messages[0].Data), nil
}

// inject makes an entry. vtag is that of an SCTP packet.
//
// Kernel: net/netfilter/nf_conntrack_netlink.c, ctnetlink_create_conntrack. The
// kernel confirms the entry itself, and makes translations from a wish, so that
// the reply tuple is given untranslated.
func (t *tracker) inject(e *packet.Entry, vtag uint32) error {
	if e.Accounting || e.Packets != [2]uint64{} || e.Bytes != [2]uint64{} {
		return notRunnable("the counters of a connection cannot be set")
	}
	expires := e.Expires
	if expires == 0 {
		expires = defaultExpiry
	}
	plain := invert(e.Protocol, e.Original)
	data := join(
		[]byte{family(e.Original.Src), unix.NFNETLINK_V0, 0, 0},
		encodeTuple(ctTupleOrig, e.Protocol, e.Original),
		encodeTuple(ctTupleReply, e.Protocol, plain),
		attr(ctStatus, be32(e.Status&(packet.StatusSeenReply|packet.StatusAssured)|packet.StatusConfirmed)),
		attr(ctTimeout, be32(expires)),
		attr(ctMark, be32(e.Mark)),
		protocolInfo(e.Protocol, vtag),
	)
	if e.Zone != 0 {
		data = append(data, attr(ctZone, be16(e.Zone))...)
	}
	if e.Labels != [16]byte{} {
		data = append(data, attr(ctLabels, e.Labels[:])...)
	}
	if e.Helper != "" {
		data = append(data, attr(ctHelp|netlink.Nested, attr(ctHelpName, text(e.Helper)))...)
	}
	data = append(data, translation(e, plain)...)
	err := t.request(conntrackNew, unix.NLM_F_CREATE|unix.NLM_F_EXCL, data)
	if errors.Is(err, unix.EEXIST) {
		if err := t.remove(e); err != nil {
			return err
		}
		err = t.request(conntrackNew, unix.NLM_F_CREATE|unix.NLM_F_EXCL, data)
	}
	if err != nil {
		return notRunnable("the kernel does not take the connection: " + err.Error())
	}
	return nil
}

// translation returns the wishes that make the reply tuple of the entry out of
// the plain one.
func translation(e *packet.Entry, plain packet.Tuple) []byte {
	var b []byte
	wish := func(kind uint16, addr netip.Addr, port uint16, ported bool) {
		low, high := uint16(ctNATMinIPv4), uint16(ctNATMaxIPv4)
		if addr.Is6() {
			low, high = ctNATMinIPv6, ctNATMaxIPv6
		}
		parts := [][]byte{attr(low, addr.AsSlice()), attr(high, addr.AsSlice())}
		if ported {
			parts = append(parts, attr(ctNATProto|netlink.Nested, attr(ctNATPortMin, be16(port)), attr(ctNATPortMax, be16(port))))
		}
		b = append(b, attr(kind|netlink.Nested, parts...)...)
	}
	icmp := e.Protocol == unix.IPPROTO_ICMP || e.Protocol == unix.IPPROTO_ICMPV6
	switch {
	case icmp:
		if e.Reply.Dst != plain.Dst || e.Reply.SrcPort != plain.SrcPort {
			wish(ctNATSource, e.Reply.Dst, e.Reply.SrcPort, true)
		}
	case e.Reply.Dst != plain.Dst || e.Reply.DstPort != plain.DstPort:
		wish(ctNATSource, e.Reply.Dst, e.Reply.DstPort, e.Reply.DstPort != 0)
	}
	if e.Reply.Src != plain.Src || !icmp && e.Reply.SrcPort != plain.SrcPort {
		wish(ctNATDest, e.Reply.Src, e.Reply.SrcPort, !icmp && e.Reply.SrcPort != 0)
	}
	return b
}

func protocolInfo(proto uint8, vtag uint32) []byte {
	switch proto {
	case unix.IPPROTO_TCP:
		flags := []byte{tcpBeLiberal | tcpWindowScaling, tcpBeLiberal | tcpWindowScaling}
		return attr(ctProtoInfo|netlink.Nested, attr(ctProtoInfoTCP|netlink.Nested,
			attr(ctTCPState, []byte{tcpEstablished}), attr(ctTCPFlagsOrig, flags), attr(ctTCPFlagsReply, flags)))
	case unix.IPPROTO_SCTP:
		return attr(ctProtoInfo|netlink.Nested, attr(ctProtoInfoSCTP|netlink.Nested,
			attr(ctSCTPState, []byte{sctpEstablished}), attr(ctSCTPVtagOrig, be32(vtag)), attr(ctSCTPVtagReply, be32(vtag))))
	}
	return nil
}

func family(a netip.Addr) byte {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func encodeTuple(kind uint16, proto uint8, t packet.Tuple) []byte {
	src, dst := uint16(ctIPv4Src), uint16(ctIPv4Dst)
	if t.Src.Is6() {
		src, dst = ctIPv6Src, ctIPv6Dst
	}
	parts := [][]byte{attr(ctProtoNum, []byte{proto})}
	switch proto {
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		offset := uint16(0)
		if proto == unix.IPPROTO_ICMPV6 {
			offset = ctProtoV6Offset
		}
		parts = append(parts, attr(ctProtoICMPID+offset, be16(t.SrcPort)),
			attr(ctProtoICMPType+offset, []byte{byte(t.DstPort >> 8)}), attr(ctProtoICMPCode+offset, []byte{byte(t.DstPort)}))
	default:
		parts = append(parts, attr(ctProtoSrcPort, be16(t.SrcPort)), attr(ctProtoDstPort, be16(t.DstPort)))
	}
	return attr(kind|netlink.Nested,
		attr(ctTupleIP|netlink.Nested, attr(src, t.Src.AsSlice()), attr(dst, t.Dst.AsSlice())),
		attr(ctTupleProto|netlink.Nested, parts...))
}

// parseEntry reads a message about an entry.
func parseEntry(data []byte) *packet.Entry {
	set := attributesOf(data[4:])
	e := &packet.Entry{
		Status: uint32BE(set[ctStatus]), Mark: uint32BE(set[ctMark]), Expires: uint32BE(set[ctTimeout]), Zone: uint16BE(set[ctZone]),
	}
	e.Protocol, e.Original = parseTuple(set[ctTupleOrig])
	_, e.Reply = parseTuple(set[ctTupleReply])
	copy(e.Labels[:], set[ctLabels])
	if help, ok := set[ctHelp]; ok {
		e.Helper = nfnetlink.FindString(nfnetlink.Nested(help), ctHelpName)
	}
	for i, kind := range []uint16{ctCountOrig, ctCountReply} {
		if counters, ok := set[kind]; ok {
			c := attributesOf(counters)
			e.Accounting = true
			e.Packets[i], e.Bytes[i] = uint64BE(c[ctCountPackets]), uint64BE(c[ctCountBytes])
		}
	}
	return e
}

func parseTuple(payload []byte) (proto uint8, t packet.Tuple) {
	set := attributesOf(payload)
	addrs, ports := attributesOf(set[ctTupleIP]), attributesOf(set[ctTupleProto])
	for _, kinds := range [][2]uint16{{ctIPv4Src, ctIPv4Dst}, {ctIPv6Src, ctIPv6Dst}} {
		if src, ok := netip.AddrFromSlice(addrs[kinds[0]]); ok {
			t.Src = src
			t.Dst, _ = netip.AddrFromSlice(addrs[kinds[1]])
		}
	}
	if b := ports[ctProtoNum]; len(b) == 1 {
		proto = b[0]
	}
	t.SrcPort, t.DstPort = uint16BE(ports[ctProtoSrcPort]), uint16BE(ports[ctProtoDstPort])
	if proto == unix.IPPROTO_ICMP || proto == unix.IPPROTO_ICMPV6 {
		offset := uint16(0)
		if proto == unix.IPPROTO_ICMPV6 {
			offset = ctProtoV6Offset
		}
		t.SrcPort = uint16BE(ports[ctProtoICMPID+offset])
		t.DstPort = uint16BE(join(ports[ctProtoICMPType+offset], ports[ctProtoICMPCode+offset]))
	}
	return proto, t
}
