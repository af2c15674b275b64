package main

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
)

// A bed is a namespace that forwards packets from one TUN device to another.
type bed struct {
	ns      *netns.NS
	in, out int
}

func newBed() (*bed, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	b := &bed{ns: ns, in: -1, out: -1}
	err = ns.Do(func() (err error) {
		if b.in, err = device("in0", 0); err == nil {
			b.out, err = device("out0", unix.O_NONBLOCK)
		}
		return err
	})
	if err == nil {
		err = b.commands(
			"ip address add 192.0.2.1/24 dev in0", "ip link set in0 up txqueuelen 5000",
			"ip address add 192.0.3.1/24 dev out0", "ip link set out0 up txqueuelen 5000", "ip route add default dev out0",
			"sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.in0.rp_filter=0 net.ipv4.conf.out0.rp_filter=0",
		)
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bed) close() {
	unix.Close(b.in)
	unix.Close(b.out)
	b.ns.Close()
}

func (b *bed) commands(lines ...string) error { return commands(b.ns, lines...) }

func commands(ns *netns.NS, lines ...string) error {
	for _, line := range lines {
		words := strings.Fields(line)
		if out, err := ns.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
	}
	return nil
}

// device makes a TUN device in the namespace of the calling thread.
func device(name string, flags int) (fd int, err error) {
	if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|flags, 0); err != nil {
		return -1, fmt.Errorf("open a TUN device: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("make a TUN device: %w", err)
	}
	return fd, nil
}

// A fate is what must become of a packet.
type fate uint8

const (
	pass  fate = iota // by both versions of the rules
	drop              // by both
	turns             // one version passes it, the other drops it
)

// A packet is one to send, of known fate.
type packet struct {
	bytes []byte
	fate  fate
	group int // of turns: which version passes it
	// to are the destinations that it may have when it comes out; any without.
	to map[uint32]bool
	// again, when not nil, makes the same packet of another flow.
	again func(n uint32) []byte
}

// A count is what became of packets.
type count struct {
	sent, passed, dropped                  int
	wrongPassed, wrongDropped, wrongTarget int
	late                                   int // came out, but only after a while
	flips                                  [2]int
}

func (c *count) wrong() int { return c.wrongPassed + c.wrongDropped + c.wrongTarget }

// patience is how long a packet that must pass is waited for.
const patience = 300 * time.Millisecond

// A sender is the traffic of one thread. A packet goes all its way within the
// write, unless the kernel is busy; so packets come out in order, and one that
// must pass tells that all before it are decided.
type sender struct {
	bed     *bed
	packets []packet
	every   int // each so many packets is of a new flow, 0 for none
	cpu     int
	count
	stop atomic.Bool
	live atomic.Int64 // packets sent so far
	done chan error

	ring    [1 << 12]sent
	last    [2]int // verdicts of turns: 0 none yet, 1 passed, 2 dropped
	pending []uint64
}

type sent struct {
	sequence uint64
	packet   *packet
	seen     bool
}

func (s *sender) start() {
	s.done = make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is bound to a processor
		var set unix.CPUSet
		set.Set(s.cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			s.done <- fmt.Errorf("bind the sender to a processor: %w", err)
			return
		}
		s.done <- s.run()
	}()
}

func (s *sender) end() error {
	s.stop.Store(true)
	return <-s.done
}

func (s *sender) run() error {
	var buffer [2048]byte
	for n := uint64(1); !s.stop.Load(); n++ {
		p := &s.packets[n%uint64(len(s.packets))]
		bytes := p.bytes
		if s.every > 0 && p.again != nil && n%uint64(s.every) == 0 {
			bytes = p.again(uint32(n))
		}
		number(bytes, n)
		s.ring[n%uint64(len(s.ring))] = sent{sequence: n, packet: p}
		if _, err := unix.Write(s.bed.in, bytes); err != nil {
			return fmt.Errorf("send a packet: %w", err)
		}
		s.sent++
		s.live.Store(int64(n))
		if p.fate != pass {
			s.pending = append(s.pending, n)
			if len(s.pending) < len(s.ring)/4 {
				continue
			}
		}
		if err := s.read(buffer[:]); err != nil {
			return err
		}
		if p.fate == pass {
			if err := s.wait(n, buffer[:]); err != nil {
				return err
			}
		}
		s.decide()
	}
	return nil
}

// wait waits for a packet that must pass.
func (s *sender) wait(n uint64, buffer []byte) error {
	entry := &s.ring[n%uint64(len(s.ring))]
	if entry.seen {
		return nil
	}
	for begin := time.Now(); !entry.seen; {
		if time.Since(begin) > patience {
			s.wrongDropped++
			return nil
		}
		if time.Since(begin) > time.Millisecond {
			time.Sleep(50 * time.Microsecond)
		}
		if err := s.read(buffer); err != nil {
			return err
		}
	}
	s.late++
	return nil
}

// read reads what came out.
func (s *sender) read(buffer []byte) error {
	for {
		n, err := unix.Read(s.bed.out, buffer)
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what came out: %w", err)
		}
		sequence, ok := numberOf(buffer[:n])
		if !ok {
			continue // of IPv6, which the kernel sends by itself
		}
		entry := &s.ring[sequence%uint64(len(s.ring))]
		if entry.sequence != sequence || entry.seen {
			s.late++
			continue
		}
		entry.seen = true
		s.passed++
		if entry.packet.fate == drop {
			s.wrongPassed++
		}
		if to := entry.packet.to; to != nil && !to[binary.BigEndian.Uint32(buffer[16:])] {
			s.wrongTarget++
		}
	}
}

// decide settles packets that may have been dropped.
func (s *sender) decide() {
	for _, n := range s.pending {
		entry := s.ring[n%uint64(len(s.ring))]
		verdict := 1
		if !entry.seen {
			s.dropped++
			verdict = 2
		}
		if entry.packet.fate != turns {
			continue
		}
		g := entry.packet.group
		if s.last[g] != 0 && s.last[g] != verdict {
			s.flips[g]++
		}
		s.last[g] = verdict
	}
	s.pending = s.pending[:0]
}
