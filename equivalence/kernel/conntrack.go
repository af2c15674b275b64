package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"

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
	expectationNew  = unix.NFNL_SUBSYS_CTNETLINK_EXP<<8 | 0 // IPCTNL_MSG_EXP_NEW

	expectMaster  = 1
	expectTuple   = 2
	expectMask    = 3
	expectTimeout = 4

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
	ctTupleZone  = 3

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

// masters are the connections that expect others: of FTP, whose helper is the
// most common one.
var masters = map[byte]packet.Tuple{
	unix.AF_INET:  {Src: netip.MustParseAddr("198.18.255.254"), Dst: netip.MustParseAddr("198.18.255.253"), SrcPort: 1021, DstPort: 21},
	unix.AF_INET6: {Src: netip.MustParseAddr("2001:db8:ffff:ffff::fffe"), Dst: netip.MustParseAddr("2001:db8:ffff:ffff::fffd"), SrcPort: 1021, DstPort: 21},
}

// expect makes a connection with the mark and the helper, and lets it expect one
// with the tuple, whose first packet then is related and takes over the mark. It
// returns the connection that expects; the expectation goes with it. Only one
// with a helper expects others: when none is wanted, it is that of FTP.
//
// Kernel: net/netfilter/nf_conntrack_netlink.c, ctnetlink_create_expect;
// nf_conntrack_core.c, init_conntrack.
func (t *tracker) expect(proto uint8, tuple packet.Tuple, wanted packet.Entry) (*packet.Entry, error) {
	fam := family(tuple.Src)
	master := &packet.Entry{
		Protocol: unix.IPPROTO_TCP, Mark: wanted.Mark, Helper: cmp.Or(wanted.Helper, "ftp"), Original: masters[fam],
		Status: packet.StatusSeenReply | packet.StatusAssured,
	}
	master.Reply = invert(master.Protocol, master.Original)
	if err := t.inject(master, 0); err != nil {
		return nil, err
	}
	ones := packet.Tuple{Src: allOnes(tuple.Src), Dst: allOnes(tuple.Dst), SrcPort: 0xffff, DstPort: 0xffff}
	err := t.request(expectationNew, unix.NLM_F_CREATE, join(
		[]byte{fam, unix.NFNETLINK_V0, 0, 0},
		encodeTuple(expectMaster, master.Protocol, master.Original),
		encodeTuple(expectTuple, proto, tuple),
		encodeTuple(expectMask, proto, ones),
		attr(expectTimeout, be32(defaultExpiry))))
	if err != nil {
		return nil, errors.Join(notRunnable("the kernel does not expect the connection: "+err.Error()), t.remove(master))
	}
	return master, nil
}

func allOnes(a netip.Addr) netip.Addr {
	b := a.AsSlice()
	for i := range b {
		b[i] = 0xff
	}
	ones, _ := netip.AddrFromSlice(b)
	return ones
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
	e := new(packet.Entry)
	if len(data) < 4 {
		return e
	}
	for kind, value := range attributes(data[4:]) {
		switch kind {
		case ctTupleOrig:
			e.Protocol, e.Original = parseTuple(value)
		case ctTupleReply:
			_, e.Reply = parseTuple(value)
		case ctStatus:
			e.Status = uint32BE(value)
		case ctMark:
			e.Mark = uint32BE(value)
		case ctTimeout:
			e.Expires = uint32BE(value)
		case ctZone:
			e.Zone = uint16BE(value)
		case ctLabels:
			copy(e.Labels[:], value)
		case ctHelp:
			e.Helper = strings.TrimRight(string(attributeOf(value, ctHelpName)), "\x00")
		case ctCountOrig, ctCountReply:
			i := kind - ctCountOrig
			e.Accounting = true
			e.Packets[i] = uint64BE(attributeOf(value, ctCountPackets))
			e.Bytes[i] = uint64BE(attributeOf(value, ctCountBytes))
		}
	}
	return e
}

// zonedByDirection reports whether a message about an entry names a zone that
// counts for one direction.
func zonedByDirection(data []byte) bool {
	if len(data) < 4 {
		return false
	}
	for kind, value := range attributes(data[4:]) {
		if (kind == ctTupleOrig || kind == ctTupleReply) && attributeOf(value, ctTupleZone) != nil {
			return true
		}
	}
	return false
}

func parseTuple(payload []byte) (proto uint8, t packet.Tuple) {
	for kind, value := range attributes(attributeOf(payload, ctTupleIP)) {
		a, _ := netip.AddrFromSlice(value)
		switch kind {
		case ctIPv4Src, ctIPv6Src:
			t.Src = a
		case ctIPv4Dst, ctIPv6Dst:
			t.Dst = a
		}
	}
	for kind, value := range attributes(attributeOf(payload, ctTupleProto)) {
		switch kind {
		case ctProtoNum:
			if len(value) == 1 {
				proto = value[0]
			}
		case ctProtoSrcPort, ctProtoICMPID, ctProtoICMPID + ctProtoV6Offset:
			t.SrcPort = uint16BE(value)
		case ctProtoDstPort:
			t.DstPort = uint16BE(value)
		case ctProtoICMPType, ctProtoICMPType + ctProtoV6Offset:
			if len(value) == 1 {
				t.DstPort |= uint16(value[0]) << 8
			}
		case ctProtoICMPCode, ctProtoICMPCode + ctProtoV6Offset:
			if len(value) == 1 {
				t.DstPort |= uint16(value[0])
			}
		}
	}
	return proto, t
}
