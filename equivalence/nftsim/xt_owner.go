package nftsim

import (
	"fmt"

	"nftmigrate/packet"
)

func init() { registerXtMatch("owner", 1, decodeXtOwner) }

// Bits of the options of owner.
//
// Kernel: include/uapi/linux/netfilter/xt_owner.h.
const (
	xtOwnerUser   = 1
	xtOwnerGroup  = 2
	xtOwnerSocket = 4
	xtOwnerGroups = 8
)

// xtOwner is the owner match.
//
// Kernel: net/netfilter/xt_owner.c, owner_mt.
type xtOwner struct {
	minUID, maxUID, minGID, maxGID uint32
	match, invert                  uint8
}

func decodeXtOwner(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	m := &xtOwner{r.u32(), r.u32(), r.u32(), r.u32(), r.u8(), r.u8()}
	if err := r.end(); err != nil {
		return nil, err
	}
	if m.match&^(xtOwnerUser|xtOwnerGroup|xtOwnerSocket|xtOwnerGroups) != 0 || m.invert&^m.match != 0 ||
		m.match&(xtOwnerGroup|xtOwnerGroups) != xtOwnerGroup|xtOwnerGroups || m.invert&(xtOwnerGroups|xtOwnerSocket) != 0 {
		return nil, notModelled{fmt.Sprintf("the options %#x and %#x of match owner", m.match, m.invert)}
	}
	return m, nil
}

func (m *xtOwner) String() string {
	span := func(option uint8, low, high uint32) string {
		switch {
		case m.match&option == 0:
			return "any"
		case m.invert&option != 0:
			return fmt.Sprintf("not %d-%d", low, high)
		}
		return fmt.Sprintf("%d-%d", low, high)
	}
	return fmt.Sprintf("owner user %s, one of whose groups is %s", span(xtOwnerUser, m.minUID, m.maxUID), span(xtOwnerGroup, m.minGID, m.maxGID))
}

// negated is false: each option has its own negation.
func (*xtOwner) negated() bool { return false }

func (m *xtOwner) holds(x *execution) (match, known bool) {
	s := x.flight.Packet.Socket
	switch {
	case s == nil:
		return m.match == m.invert, true
	case s.NoFile:
		return (m.match^m.invert)&(xtOwnerUser|xtOwnerGroup) == 0, true
	}
	if m.match&xtOwnerUser != 0 && (m.minUID <= s.UID && s.UID <= m.maxUID) == (m.invert&xtOwnerUser != 0) {
		return false, true
	}
	return m.member(s) != (m.invert&xtOwnerGroup != 0), true
}

// member reports whether one of the user's groups is in the span.
func (m *xtOwner) member(s *packet.Socket) bool {
	for _, g := range append([]uint32{s.GID}, s.Groups...) {
		if m.minGID <= g && g <= m.maxGID {
			return true
		}
	}
	return false
}
