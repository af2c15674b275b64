package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

// A membership is a multicast group on a device. The stack drops what comes for
// groups that nobody has joined, before the input hook, so that rules for them
// would never be met. What a member sends goes another way than what others send.
//
// Kernel: net/ipv4/route.c, ip_route_input_mc and __mkroute_output;
// net/ipv6/ip6_input.c, ip6_mc_input.
type membership struct {
	device uint32
	group  netip.Addr
}

// members holds the groups that were joined and the socket that joined last, by
// IP version.
type members struct {
	joined  map[membership]bool
	sockets []int
	last    map[int]int
}

func (m *members) close() {
	for _, fd := range m.sockets {
		unix.Close(fd)
	}
}

// join makes the host a member of the group that a packet is for. It does nothing
// for other packets.
func (s *sender) join(d *packet.Device, p *packet.Packet) error {
	version := p.Version()
	var group netip.Addr
	switch {
	case version == 4 && len(p.Data) >= 20:
		group = netip.AddrFrom4([4]byte(p.Data[16:20]))
	case version == 6 && len(p.Data) >= 40:
		group = netip.AddrFrom16([16]byte(p.Data[24:40]))
	}
	key := membership{d.Index, group}
	if !group.IsMulticast() || s.members.joined[key] {
		return nil
	}
	if fd, ok := s.members.last[version]; ok {
		err := joinGroup(fd, key)
		if !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.ENOMEM) {
			return s.members.note(key, err)
		}
	}
	// There is no socket yet, or its groups are as many as it may have.
	err := s.inside(func() error {
		domain := unix.AF_INET
		if version == 6 {
			domain = unix.AF_INET6
		}
		fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		s.members.sockets = append(s.members.sockets, fd)
		s.members.last[version] = fd
		return joinGroup(fd, key)
	})
	return s.members.note(key, err)
}

// note remembers a group that was joined or that nobody can join, for which the
// stack drops packets anywhere.
func (m *members) note(key membership, err error) error {
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("join the group %s: %w", key.group, err)
	}
	m.joined[key] = true
	return nil
}

// joinGroup joins by a socket.
//
// Man pages: ip(7), ipv6(7).
func joinGroup(fd int, m membership) error {
	if m.group.Is6() {
		return unix.SetsockoptIPv6Mreq(fd, unix.SOL_IPV6, unix.IPV6_JOIN_GROUP,
			&unix.IPv6Mreq{Multiaddr: m.group.As16(), Interface: m.device})
	}
	return unix.SetsockoptIPMreqn(fd, unix.SOL_IP, unix.IP_ADD_MEMBERSHIP,
		&unix.IPMreqn{Multiaddr: m.group.As4(), Ifindex: int32(m.device)})
}
