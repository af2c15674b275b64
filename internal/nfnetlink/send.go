package nfnetlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Options say how a batch is sent.
type Options struct {
	// Generation, when not nil, makes the commit a compare-and-swap: it
	// happens only when the ruleset still has this generation.
	Generation *uint32
}

// Send commits a batch: all messages in one sendmsg, between a begin and an
// end of our own; begin and end messages in the batch are left out. The kernel
// takes all of them or none. Nil means that the kernel confirmed the commit.
//
// A refusal is a [*CommitError] that holds each failure with the index of its
// message in batch. A batch that the send buffer cannot hold is a
// [*SizeError]; nothing was sent then. [ErrNoReceipt] leaves open what
// happened.
func Send(c *Conn, batch []netlink.Message, options Options) error {
	if err := c.drain(); err != nil {
		return err
	}
	wire, first, last := encodeBatch(batch, c.sequence+1, options.Generation)
	if last < 0 {
		return nil // an empty transaction changes nothing
	}
	c.sequence = first + uint32(len(batch)) + 1
	if err := c.roomFor(len(wire)); err != nil {
		return err
	}
	if err := c.write(wire); err != nil {
		if errors.Is(err, unix.EMSGSIZE) {
			limit, _ := c.sendBuffer()
			return &SizeError{Size: len(wire), Limit: limit - sendOverhead}
		}
		return err
	}
	// The kernel worked inside sendmsg: all replies are queued by now.
	verdict := reader{first: first, receipt: first + 1 + uint32(last), count: len(batch)}
	for {
		received, err := c.read(false)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			// Only errors are many: of a success there is one receipt.
			verdict.overrun = true
		case err != nil:
			return fmt.Errorf("%w: %w", ErrNoReceipt, err)
		case received == nil:
			return verdict.result()
		}
		for _, m := range received {
			verdict.add(m)
		}
	}
}

// encodeBatch returns the wire form of a batch, the sequence number of its
// begin message, and the index of the message that asks for the receipt, -1
// when there is nothing to send. Message i has sequence number first+1+i.
func encodeBatch(batch []netlink.Message, first uint32, generation *uint32) (wire []byte, _ uint32, last int) {
	size := 64
	last = -1
	for i, m := range batch {
		if !isBorder(m) {
			size += unix.NLMSG_HDRLEN + align(len(m.Data))
			last = i
		}
	}
	// Zero is what the kernel uses for its own messages; keep clear of it.
	if first == 0 || first > math.MaxUint32-uint32(len(batch))-2 {
		first = 1
	}
	begin := border(unix.NFNL_MSG_BATCH_BEGIN, first)
	if generation != nil {
		begin.Data = AppendUint32(begin.Data, unix.NFNL_BATCH_GENID, *generation)
	}
	wire = appendMessage(make([]byte, 0, size), begin)
	for i, m := range batch {
		if isBorder(m) {
			continue
		}
		m.Header.Sequence = first + 1 + uint32(i)
		m.Header.Flags = (m.Header.Flags | netlink.Request) &^ (netlink.Acknowledge | netlink.Echo)
		if i == last {
			m.Header.Flags |= netlink.Acknowledge
		}
		wire = appendMessage(wire, m)
	}
	end := border(unix.NFNL_MSG_BATCH_END, first+1+uint32(len(batch)))
	return appendMessage(wire, end), first, last
}

func border(kind netlink.HeaderType, sequence uint32) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request, Sequence: sequence},
		Data:   binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, unix.NFNL_SUBSYS_NFTABLES),
	}
}

func isBorder(m netlink.Message) bool {
	return m.Header.Type == unix.NFNL_MSG_BATCH_BEGIN || m.Header.Type == unix.NFNL_MSG_BATCH_END
}

// sendOverhead is what the kernel takes off the send buffer before it compares
// a message with it.
//
// Kernel: net/netlink/af_netlink.c, netlink_sendmsg.
const sendOverhead = 32

// roomFor makes the send buffer hold a datagram of the given size. With
// CAP_NET_ADMIN in the first user namespace there is no limit; without, it is
// net.core.wmem_max.
func (c *Conn) roomFor(size int) error {
	need := size + sendOverhead
	have, err := c.sendBuffer()
	if err != nil {
		return fmt.Errorf("size the send buffer: %w", err)
	}
	if have >= need {
		return nil
	}
	half := (need + 1) / 2 // the kernel doubles what it is asked for
	if half > math.MaxInt32/2 {
		return &SizeError{Size: size, Limit: math.MaxInt32}
	}
	if err := c.setBuffer(unix.SO_SNDBUFFORCE, half); err != nil {
		if err := c.setBuffer(unix.SO_SNDBUF, half); err != nil {
			return fmt.Errorf("size the send buffer: %w", err)
		}
	}
	if have, err = c.sendBuffer(); err != nil {
		return fmt.Errorf("size the send buffer: %w", err)
	}
	if have < need {
		return &SizeError{Size: size, Limit: have - sendOverhead}
	}
	return nil
}

// Room returns how many bytes of messages one batch may have, up to most. With
// CAP_NET_ADMIN in the first user namespace that is all; without, the limit is
// net.core.wmem_max.
func (c *Conn) Room(most int) int {
	err := c.roomFor(most)
	var size *SizeError
	switch {
	case errors.As(err, &size):
		most = min(most, size.Limit)
	case err != nil:
		return 0
	}
	const borders = 64 // bytes of what begins and ends a batch
	return max(most-borders, 0)
}

// A reader collects the kernel's replies to a batch.
type reader struct {
	first, receipt uint32
	count          int
	failures       []Failure
	confirmed      bool
	overrun        bool
}

func (r *reader) add(m netlink.Message) {
	index := int64(m.Header.Sequence) - int64(r.first) - 1
	if m.Header.Type != netlink.Error || index < BatchBegin || index > int64(r.count) {
		return
	}
	errno, offset := parseError(m)
	switch {
	case errno != 0:
		r.failures = append(r.failures, Failure{Index: int(index), Errno: errno, Offset: offset})
	case m.Header.Sequence == r.receipt:
		r.confirmed = true
	}
}

func (r *reader) result() error {
	switch {
	case len(r.failures) > 0:
		return &CommitError{Failures: r.failures, Incomplete: r.overrun}
	case !r.confirmed || r.overrun:
		return ErrNoReceipt
	}
	return nil
}
