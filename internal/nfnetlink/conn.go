package nfnetlink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// receiveSize is the size in bytes of one read. The kernel fills a dump up to
// 32 KiB at a time when the reader offers at least that much; small reads make
// a dump of a long chain quadratic.
const receiveSize = 65536

// receiveBuffer is what is asked for as the socket's receive buffer in bytes:
// room for some thousand error replies.
const receiveBuffer = 4 << 20

// replyTimeout bounds the wait for a reply. The kernel answers inside the send
// call, so only a broken kernel or a seized lock ever needs it.
const replyTimeout = 60 * time.Second

// A Conn is a netlink socket of the netfilter family. It is not safe for
// concurrent use.
type Conn struct {
	nl       *netlink.Conn
	raw      syscall.RawConn
	sequence uint32
	buffer   []byte // of the last read
}

// Dial opens a socket in the network namespace of the calling thread and keeps
// it there, wherever the Conn is used later. Call it inside netns.NS.Do.
func Dial() (*Conn, error) {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: receiveSize})
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return nil, fmt.Errorf("open a netfilter socket: %w: %w", ErrUnsupported, err)
	case err != nil:
		return nil, fmt.Errorf("open a netfilter socket: %w", err)
	}
	c := &Conn{nl: nl, buffer: make([]byte, receiveSize)}
	if c.raw, err = nl.SyscallConn(); err != nil {
		nl.Close()
		return nil, fmt.Errorf("open a netfilter socket: %w", err)
	}
	// Without these two, errors lack the place of the attribute and carry the
	// whole message. Kernels from 4.12 and 4.3 on have them.
	for _, option := range []netlink.ConnOption{netlink.ExtendedAcknowledge, netlink.CapAcknowledge} {
		if err := nl.SetOption(option, true); err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
			nl.Close()
			return nil, fmt.Errorf("configure a netfilter socket: %w", err)
		}
	}
	// Best effort: what is granted decides only how many errors fit.
	if err := c.setBuffer(unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		c.setBuffer(unix.SO_RCVBUF, receiveBuffer)
	}
	return c, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return c.nl.Close() }

// Namespace returns the inode of the network namespace that the socket belongs
// to, as the kernel says. It needs CAP_NET_ADMIN there.
//
// Kernel: net/socket.c, SIOCGSKNS.
func (c *Conn) Namespace() (uint64, error) {
	var st unix.Stat_t
	err := c.control(func(fd int) error {
		ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
		if err != nil {
			return err
		}
		defer unix.Close(ns)
		return unix.Fstat(ns, &st)
	})
	if err != nil {
		return 0, fmt.Errorf("identify the network namespace of a socket: %w", err)
	}
	return st.Ino, nil
}

// Generation returns the number that every commit to the namespace's ruleset,
// by whomever, counts up.
//
// Kernel: nf_tables_api.c, nf_tables_getgen.
func Generation(c *Conn) (uint32, error) {
	replies, err := c.request(request(unix.NFT_MSG_GETGEN, netlink.Request|netlink.Acknowledge, unix.AF_UNSPEC, nil))
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		// The request has nothing in it that could be wrong.
		return 0, fmt.Errorf("get the ruleset generation: %w: %w", ErrUnsupported, err)
	case err != nil:
		return 0, fmt.Errorf("get the ruleset generation: %w", err)
	}
	for _, m := range replies {
		if id := Find(Attributes(m), unix.NFTA_GEN_ID); len(id) == 4 {
			return binary.BigEndian.Uint32(id), nil
		}
	}
	return 0, errors.New("get the ruleset generation: no number in the reply")
}

// Message returns a message of the nf_tables subsystem: kind is an NFT_MSG_*
// number, family an NFPROTO_* number, attrs the encoded attributes.
func Message(kind int, flags netlink.HeaderFlags, family uint8, attrs []byte) netlink.Message {
	return request(kind, flags|netlink.Request, family, attrs)
}

func request(kind int, flags netlink.HeaderFlags, family uint8, attrs []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: messageType(kind), Flags: flags},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, 0}, attrs...),
	}
}

func messageType(kind int) netlink.HeaderType {
	return netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind)
}

// Kind returns the NFT_MSG_* number of a message, and whether it is one of the
// nf_tables subsystem.
func Kind(m netlink.Message) (kind int, ok bool) {
	return int(m.Header.Type & 0xff), m.Header.Type>>8 == unix.NFNL_SUBSYS_NFTABLES
}

// Family returns the NFPROTO_* number of a message, 0 when it is too short.
func Family(m netlink.Message) uint8 {
	if len(m.Data) < headerLen {
		return 0
	}
	return m.Data[0]
}

// request sends one message and returns the replies up to the end of the dump
// or the acknowledgement, the end marker of a dump included.
func (c *Conn) request(m netlink.Message) ([]netlink.Message, error) {
	if err := c.drain(); err != nil {
		return nil, err
	}
	c.sequence++
	m.Header.Sequence = c.sequence
	if err := c.write(appendMessage(nil, m)); err != nil {
		return nil, err
	}
	c.nl.SetReadDeadline(time.Now().Add(replyTimeout))
	var replies []netlink.Message
	for {
		received, err := c.read(true)
		if err != nil {
			return nil, err
		}
		for _, r := range received {
			if r.Header.Sequence != m.Header.Sequence {
				continue
			}
			switch r.Header.Type {
			case netlink.Error:
				errno, _ := parseError(r)
				if errno != 0 {
					return nil, errno
				}
				return replies, nil
			case netlink.Done:
				if errno := doneError(r); errno != 0 {
					return nil, errno
				}
				return append(replies, r), nil
			}
			replies = append(replies, r)
		}
	}
}

// drain throws away what an earlier, interrupted exchange left unread.
func (c *Conn) drain() error {
	for {
		received, err := c.read(false)
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		if err == nil && received == nil {
			return nil
		}
	}
}

// read returns the messages of one datagram. Without wait it returns nil when
// there is none.
func (c *Conn) read(wait bool) ([]netlink.Message, error) {
	var n int
	var flags int
	var err error
	operation := func(fd uintptr) bool {
		n, _, flags, _, err = unix.Recvmsg(int(fd), c.buffer, nil, unix.MSG_DONTWAIT)
		return !wait || err != unix.EAGAIN
	}
	if rawErr := c.raw.Read(operation); rawErr != nil {
		return nil, fmt.Errorf("read from netfilter: %w", rawErr)
	}
	switch {
	case err == unix.EAGAIN:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read from netfilter: %w", os.NewSyscallError("recvmsg", err))
	case flags&unix.MSG_TRUNC != 0:
		return nil, fmt.Errorf("read from netfilter: message of more than %d bytes", receiveSize)
	}
	return parseMessages(bytes.Clone(c.buffer[:n]))
}

func (c *Conn) write(b []byte) error {
	var err error
	rawErr := c.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		return err != unix.EAGAIN
	})
	if rawErr != nil {
		err = rawErr
	}
	if err != nil {
		return fmt.Errorf("send to netfilter: %w", err)
	}
	return nil
}

func (c *Conn) control(f func(fd int) error) error {
	var err error
	if rawErr := c.raw.Control(func(fd uintptr) { err = f(int(fd)) }); rawErr != nil {
		return rawErr
	}
	return err
}

func (c *Conn) setBuffer(option, bytes int) error {
	return c.control(func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, bytes)
	})
}

// sendBuffer returns the size of the send buffer in bytes, as the kernel
// counts it.
func (c *Conn) sendBuffer() (size int, err error) {
	err = c.control(func(fd int) error {
		size, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
		return err
	})
	return size, err
}
