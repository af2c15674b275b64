package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

// Messages, commands and attributes of packet logging.
//
// Kernel: include/uapi/linux/netfilter/nfnetlink_log.h.
const (
	logMessage   = unix.NFNL_SUBSYS_ULOG<<8 | 0 // NFULNL_MSG_PACKET
	logConfigure = unix.NFNL_SUBSYS_ULOG<<8 | 1 // NFULNL_MSG_CONFIG

	configCommand    = 1 // NFULA_CFG_CMD
	configMode       = 2 // NFULA_CFG_MODE
	configBufferSize = 3 // NFULA_CFG_NLBUFSIZ
	configThreshold  = 5 // NFULA_CFG_QTHRESH
	commandBind      = 1 // NFULNL_CFG_CMD_BIND
	copyMeta         = 1 // NFULNL_COPY_META
	copyPacket       = 2 // NFULNL_COPY_PACKET

	logHeader    = 1  // NFULA_PACKET_HDR
	logMark      = 2  // NFULA_MARK
	logOutDevice = 5  // NFULA_IFINDEX_OUTDEV
	logPayload   = 9  // NFULA_PAYLOAD
	logPrefix    = 10 // NFULA_PREFIX
)

// reportBuffer is the size in bytes of the receive buffer that is asked for,
// and readSize that of one read: a report holds one packet at most.
const (
	reportBuffer = 16 << 20
	readSize     = 128 << 10
)

// putOff bounds the wait for a packet that the kernel has queued.
const putOff = 20 * time.Millisecond

// A report is one message about the packet that is run.
type report struct {
	// connection is the event of a new connection, else nil.
	connection []byte
	// expectation says that it is the event of a new expectation.
	expectation bool

	group  uint16
	hook   packet.Hook
	prefix string
	mark   uint32
	out    uint32 // index of the device, 0 for none
	data   []byte
}

// A listener is the socket that all reports come through: those of the
// observers, of the ruleset's log statements, and of new connections. One
// socket, so that they keep their order.
type listener struct {
	fd      int
	buffer  []byte
	reports []report // what drain returned last; reused
}

// newListener opens the socket in the namespace of the calling thread and
// subscribes to log groups.
func newListener(groups []uint16) (*listener, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, &MissingError{"kernel feature", "CONFIG_NETFILTER_NETLINK", err}
	}
	l := &listener{fd: fd, buffer: make([]byte, readSize)}
	if err := l.open(groups); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *listener) open(groups []uint16) error {
	if err := unix.Bind(l.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("bind the report socket: %w", err)
	}
	if err := unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, reportBuffer); err != nil {
		// In a user namespace the size is limited; an overrun is an error.
		if err := unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, reportBuffer); err != nil {
			return fmt.Errorf("size the report socket: %w", err)
		}
	}
	for _, g := range []uint16{groupSeen, groupStep} {
		if err := l.subscribe(g, copyMeta); err != nil {
			return err
		}
	}
	for _, g := range []uint16{groupEnd, groupAnswer} {
		if err := l.subscribe(g, copyPacket); err != nil {
			return err
		}
	}
	groups = slices.Clone(groups)
	slices.Sort(groups) // both families log to some
	for _, g := range slices.Compact(groups) {
		if err := l.subscribe(g, copyMeta); err != nil {
			return err
		}
	}
	// NFNLGRP_CONNTRACK_NEW and _EXP_NEW: each connection that the packet makes, and
	// what its helper expects.
	for _, group := range []int{1, 4} {
		if err := unix.SetsockoptInt(l.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return &MissingError{"kernel feature", "CONFIG_NF_CONNTRACK_EVENTS", err}
		}
	}
	return nil
}

func (l *listener) close() { unix.Close(l.fd) }

// subscribe binds a log group. The buffer of a report is made as small as the
// packet needs, and it is sent at once.
func (l *listener) subscribe(group uint16, mode byte) error {
	err := l.request(logConfigure, join([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, be16(group),
		attr(configCommand, []byte{commandBind})))
	if err == nil {
		err = l.request(logConfigure, join([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, be16(group),
			attr(configMode, be32(0xffff), []byte{mode, 0}),
			attr(configBufferSize, be32(256)),
			attr(configThreshold, be32(1))))
	}
	if err != nil {
		return &MissingError{"kernel feature", "CONFIG_NETFILTER_NETLINK_LOG", fmt.Errorf("bind log group %d: %w", group, err)}
	}
	return nil
}

// request sends a message and returns the kernel's answer, which is there when
// the send returns.
func (l *listener) request(kind uint16, data []byte) error {
	if err := sendMessage(l.fd, kind, unix.NLM_F_REQUEST|unix.NLM_F_ACK, data); err != nil {
		return err
	}
	n, _, err := unix.Recvfrom(l.fd, l.buffer, 0)
	if err != nil {
		return err
	}
	return replyError(l.buffer[:n])
}

// sendMessage sends one netlink message to the kernel.
func sendMessage(fd int, kind, flags uint16, data []byte) error {
	b := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(data))
	binary.NativeEndian.PutUint32(b, uint32(unix.NLMSG_HDRLEN+len(data)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], flags)
	return unix.Sendto(fd, append(b, data...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// replyError returns the error number that a reply to a request carries.
func replyError(b []byte) error {
	if len(b) < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_ERROR {
		return errors.New("the kernel sent something else than an acknowledgement")
	}
	if errno := -int32(binary.NativeEndian.Uint32(b[unix.NLMSG_HDRLEN:])); errno != 0 {
		return unix.Errno(errno)
	}
	return nil
}

// drain returns all reports that are there. An overrun is an error: a report
// would be missing.
func (l *listener) drain() ([]report, error) {
	reports := l.reports[:0]
	for {
		n, _, err := unix.Recvfrom(l.fd, l.buffer, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN:
			l.reports = reports
			return reports, nil
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, fmt.Errorf("read reports: %w", err)
		}
		for b := l.buffer[:n]; len(b) >= unix.NLMSG_HDRLEN; {
			length := int(binary.NativeEndian.Uint32(b))
			if length < unix.NLMSG_HDRLEN+4 || length > len(b) {
				return nil, fmt.Errorf("read reports: length %d of %d bytes", length, len(b))
			}
			data := b[unix.NLMSG_HDRLEN:length]
			switch binary.NativeEndian.Uint16(b[4:]) {
			case logMessage:
				reports = append(reports, parseLog(data))
			case conntrackNew:
				reports = append(reports, report{connection: append([]byte(nil), data...)})
			case expectationNew:
				reports = append(reports, report{expectation: true})
			}
			b = b[min((length+3)&^3, len(b)):]
		}
	}
}

// await waits for a report and then for what belongs to it. It is needed only
// where the kernel may put the work off.
func (l *listener) await() error {
	fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(putOff.Milliseconds()))
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("wait for reports: %w", err)
	}
	if n > 0 {
		time.Sleep(time.Millisecond)
	}
	return nil
}

func parseLog(data []byte) report {
	r := report{group: uint16BE(data[2:4])}
	for kind, value := range attributes(data[4:]) {
		switch kind {
		case logHeader:
			if len(value) >= 3 {
				r.hook = packet.Hook(value[2])
			}
		case logMark:
			r.mark = uint32BE(value)
		case logOutDevice:
			r.out = uint32BE(value)
		case logPayload:
			r.data = append([]byte(nil), value...)
		case logPrefix:
			r.prefix = strings.TrimRight(string(value), "\x00")
		}
	}
	return r
}
