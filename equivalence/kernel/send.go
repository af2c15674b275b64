package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

// A sender brings packets into the stack of a namespace.
type sender struct {
	host    *packet.Host
	devices map[string]int // descriptors of TAP and TUN devices
	inside  func(func() error) error
	sockets map[owner]*rawSocket
	looped  *rawSocket // packet socket on the loopback device
	members members
	frame   []byte
	pinned  bool // packets are handled by the CPU that they say
}

// An owner is what decides which raw socket sends a packet.
type owner struct {
	version  int
	uid, gid uint32
	groups   string // supplementary ones, as 4 bytes each
}

// A rawSocket remembers the options that were last set.
type rawSocket struct {
	fd             int
	mark, priority uint32
}

func (s *sender) close() {
	closeAll(s.devices)
	for _, r := range s.sockets {
		unix.Close(r.fd)
	}
	if s.looped != nil {
		unix.Close(s.looped.fd)
	}
	s.members.close()
}

// check says whether the kernel can be given the packet at all.
func (s *sender) check(p *packet.Packet) error {
	version := p.Version()
	switch {
	case s.pinned && p.CPU >= uint32(runtime.NumCPU()), !s.pinned && p.CPU != 0:
		return notRunnable("there is no such CPU, or the rules do not look at it")
	case p.Socket != nil && p.Socket.Class != 0:
		return notRunnable("no control group of the host has a class")
	case p.Secmark != 0, p.Tracking.Entry != nil && p.Tracking.Entry.Secmark != 0:
		return notRunnable("nobody gives packets a security mark before the first hook")
	case p.Clock != 0:
		return notRunnable("the kernel's clock shows another time")
	case version == 0:
		return notRunnable("neither IPv4 nor IPv6")
	case p.Path == packet.Leaving:
		return s.checkLeaving(p, version)
	}
	d := s.host.Device(p.In)
	switch {
	case d == nil:
		return notRunnable("it arrives on a device that the host does not have")
	case !d.Ethernet && (p.Link != nil || p.Type != packet.TypeHost):
		return notRunnable("the device has no link addresses")
	case d.Loopback && p.Type != packet.TypeHost:
		return notRunnable("the loopback device has no broadcast")
	case p.Link != nil && !d.Loopback && typeOf(d, p.Link.Dst) != p.Type:
		return notRunnable("its link address does not give its packet type")
	}
	return nil
}

func (s *sender) checkLeaving(p *packet.Packet, version int) error {
	switch {
	case p.Socket == nil || p.Socket.NoFile:
		return notRunnable("it leaves without a socket of a user")
	case version == 4 && (len(p.Data) < 20 || int(p.Data[0]&15)*4 < 20 || len(p.Data) < int(p.Data[0]&15)*4),
		version == 6 && len(p.Data) < 40:
		return notRunnable("a raw socket does not send a cut IP header")
	case version == 4 && int(binary.BigEndian.Uint16(p.Data[2:])) != len(p.Data):
		return notRunnable("a raw socket sets the total length")
	case version == 4 && headerSum(p.Data) != 0:
		return notRunnable("a raw socket sets the header checksum")
	case version == 4 && binary.BigEndian.Uint32(p.Data[12:]) == 0:
		return notRunnable("a raw socket replaces the source 0.0.0.0")
	}
	if version == 4 {
		dst := packet.Endpoints(p.Data).Dst
		if r, ok := s.host.Lookup(dst); ok && r.Type == packet.Broadcast {
			return notRunnable("the kernel sends a broadcast twice")
		}
	}
	return nil
}

// headerSum is 0 when the checksum of an IPv4 header is right (RFC 1071).
func headerSum(data []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < int(data[0]&15)*4; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// typeOf is the packet type that an Ethernet destination gives.
//
// Kernel: net/ethernet/eth.c, eth_type_trans.
func typeOf(d *packet.Device, dst [6]byte) uint8 {
	switch {
	case dst == d.MAC:
		return packet.TypeHost
	case dst == [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}:
		return packet.TypeBroadcast
	case dst[0]&1 != 0:
		return packet.TypeMulticast
	}
	return packet.TypeOtherHost
}

// destinations are Ethernet destinations that give a packet type; that of
// TypeHost is the address of the device.
var destinations = map[uint8][6]byte{
	packet.TypeBroadcast: {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	packet.TypeMulticast: {0x01, 0x00, 0x5e, 0x00, 0x00, 0x01},
	packet.TypeOtherHost: {0x02, 0xff, 0xff, 0xff, 0xff, 0xfe},
}

// neighbour is the source of frames that do not name one.
var neighbour = [6]byte{0x02, 0xff, 0xff, 0xff, 0xff, 0x01}

// send gives the packet to the kernel. The caller has checked it. What is sent is
// handled by the CPU that sends it.
func (s *sender) send(p *packet.Packet) error {
	if !s.pinned {
		return s.give(p)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("ask for the CPUs of a thread: %w", err)
	}
	only.Set(int(p.CPU))
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return notRunnable("the CPU is not to be had")
	}
	defer unix.SchedSetaffinity(0, &before)
	return s.give(p)
}

func (s *sender) give(p *packet.Packet) error {
	if p.Path == packet.Leaving {
		return s.leave(p)
	}
	d := s.host.Device(p.In)
	if d.Loopback {
		return s.loop(p)
	}
	if err := s.join(d, p); err != nil {
		return err
	}
	s.frame = s.frame[:0]
	if d.Ethernet {
		src, dst := neighbour, d.MAC
		if p.Type != packet.TypeHost {
			dst = destinations[p.Type]
		}
		if p.Link != nil {
			src, dst = p.Link.Src, p.Link.Dst
		}
		s.frame = append(append(s.frame, dst[:]...), src[:]...)
		s.frame = binary.BigEndian.AppendUint16(s.frame, etherType(p))
	}
	s.frame = append(s.frame, p.Data...)
	if _, err := unix.Write(s.devices[d.Name], s.frame); err != nil {
		return fmt.Errorf("write to device %s: %w", d.Name, err)
	}
	return nil
}

func etherType(p *packet.Packet) uint16 {
	if p.Version() == 6 {
		return unix.ETH_P_IPV6
	}
	return unix.ETH_P_IP
}

// loop sends on the loopback device, from where the packet comes back as an
// arriving one, before the send returns.
//
// Kernel: drivers/net/loopback.c; man page packet(7).
func (s *sender) loop(p *packet.Packet) error {
	if s.looped == nil {
		err := s.inside(func() error {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return &MissingError{"right", "CAP_NET_RAW", err}
			}
			s.looped = &rawSocket{fd: fd}
			return nil
		})
		if err != nil {
			return err
		}
	}
	s.frame = append(s.frame[:0], make([]byte, 12)...)
	s.frame = binary.BigEndian.AppendUint16(s.frame, etherType(p))
	s.frame = append(s.frame, p.Data...)
	to := &unix.SockaddrLinklayer{Ifindex: 1, Protocol: hostToNet(etherType(p)), Halen: 6}
	if err := unix.Sendto(s.looped.fd, s.frame, 0, to); err != nil {
		return fmt.Errorf("send on the loopback device: %w", err)
	}
	return nil
}

// queued says whether the packet goes through a queue on its way in.
func (s *sender) queued(p *packet.Packet) bool {
	return p.Path == packet.Arriving && s.host.Device(p.In).Loopback
}

func hostToNet(v uint16) uint16 { return binary.NativeEndian.Uint16(be16(v)) }

// unsent are the errors of a raw socket that mean that the packet did not come
// as far as the first hook, with what they mean.
var unsent = map[unix.Errno]string{
	unix.ENETUNREACH:   "there is no route",
	unix.EHOSTUNREACH:  "there is no route",
	unix.EACCES:        "the route forbids it",
	unix.EINVAL:        "a raw socket does not send it",
	unix.EMSGSIZE:      "it is longer than the device allows",
	unix.ENETDOWN:      "the device is down",
	unix.EADDRNOTAVAIL: "its address is not available",
}

// leave sends by a raw socket that gives the whole IP packet.
//
// Kernel: net/ipv4/raw.c, raw_send_hdrinc; net/ipv6/raw.c, rawv6_send_hdrinc.
func (s *sender) leave(p *packet.Packet) error {
	out, _ := s.host.Output(packet.Endpoints(p.Data).Dst)
	if d := s.host.Device(out); d != nil {
		if err := s.join(d, p); err != nil {
			return err
		}
	}
	o := ownerOf(p)
	r := s.sockets[o]
	if r == nil {
		err := s.inside(func() (err error) {
			r, err = newRawSocket(o)
			return err
		})
		if err != nil {
			return err
		}
		s.sockets[o] = r
	}
	if err := r.set(p.Mark, p.Priority); err != nil {
		return err
	}
	var to unix.Sockaddr
	if o.version == 4 {
		to = &unix.SockaddrInet4{Addr: [4]byte(p.Data[16:20])}
	} else {
		to = &unix.SockaddrInet6{Addr: [16]byte(p.Data[24:40])}
	}
	err := unix.Sendto(r.fd, p.Data, 0, to)
	// A drop by any hook is reported as EPERM, the observers' own included.
	if err == nil || err == unix.EPERM {
		return nil
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		if reason, ok := unsent[errno]; ok {
			return notRunnable(reason)
		}
	}
	return fmt.Errorf("send by a raw socket: %w", err)
}

// set sets mark and priority of what is sent next.
func (r *rawSocket) set(mark, priority uint32) error {
	for _, o := range []struct {
		option int
		now    *uint32
		want   uint32
	}{{unix.SO_MARK, &r.mark, mark}, {unix.SO_PRIORITY, &r.priority, priority}} {
		if *o.now == o.want {
			continue
		}
		if err := unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, o.option, int(int32(o.want))); err != nil {
			return fmt.Errorf("set mark and priority of a raw socket: %w", err)
		}
		*o.now = o.want
	}
	return nil
}

// newRawSocket makes a socket whose file belongs to the owner. It is called on
// a thread of its own; the file takes the thread's file system user and group.
//
// Man page: setfsuid(2).
func newRawSocket(o owner) (*rawSocket, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	restore, err := become(o)
	if err != nil {
		return nil, err
	}
	defer restore()
	domain := unix.AF_INET
	if o.version == 6 {
		domain = unix.AF_INET6
	}
	// A socket of protocol RAW gives the IP header itself.
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, &MissingError{"right", "CAP_NET_RAW", err}
	}
	options := [][3]int{{unix.SOL_IP, unix.IP_MULTICAST_LOOP, 0}, {unix.SOL_SOCKET, unix.SO_BROADCAST, 1}}
	if o.version == 6 {
		options = [][3]int{{unix.SOL_IPV6, unix.IPV6_MULTICAST_LOOP, 0}}
	}
	for _, option := range options {
		if err := unix.SetsockoptInt(fd, option[0], option[1], option[2]); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("configure a raw socket: %w", err)
		}
	}
	return &rawSocket{fd: fd}, nil
}

// become changes the file system user and group of the calling thread, and its
// supplementary groups where there are some.
func become(o owner) (restore func(), err error) {
	undoGroups, err := joinGroups(o.groups)
	if err != nil {
		return nil, err
	}
	uid, gid := o.uid, o.gid
	oldGID, _ := unix.SetfsgidRetGid(int(gid))
	oldUID, _ := unix.SetfsuidRetUid(int(uid))
	restore = func() {
		unix.Setfsuid(oldUID)
		unix.Setfsgid(oldGID)
		undoGroups()
	}
	// The calls report no failure; asking for an impossible one tells.
	nowGID, _ := unix.SetfsgidRetGid(-1)
	nowUID, _ := unix.SetfsuidRetUid(-1)
	if uint32(nowUID) != uid || uint32(nowGID) != gid {
		restore()
		return nil, notRunnable("the user namespace does not have its owner")
	}
	return restore, nil
}

// joinGroups gives the calling thread supplementary groups. The call of the
// library would change those of all threads.
//
// Man page: setgroups(2).
func joinGroups(groups string) (undo func(), err error) {
	if groups == "" {
		return func() {}, nil
	}
	old, err := unix.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("read the supplementary groups: %w", err)
	}
	var before []byte
	for _, g := range old {
		before = binary.NativeEndian.AppendUint32(before, uint32(g))
	}
	set := func(list []byte) error {
		var first *byte
		if len(list) > 0 {
			first = &list[0]
		}
		_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(list)/4), uintptr(unsafe.Pointer(first)), 0)
		if errno != 0 {
			return errno
		}
		return nil
	}
	if err := set([]byte(groups)); err != nil {
		return nil, notRunnable("the user namespace does not let a thread choose its groups")
	}
	return func() { _ = set(before) }, nil
}

// ownerOf is the owner of a packet that leaves by a raw socket.
func ownerOf(p *packet.Packet) owner {
	o := owner{version: p.Version(), uid: p.Socket.UID, gid: p.Socket.GID}
	for _, g := range p.Socket.Groups {
		o.groups += string(binary.NativeEndian.AppendUint32(nil, g))
	}
	return o
}
