package kernel

import (
	"nftmigrate/packet"
)

// Prepare brings connection tracking into the state that the Tracking of a
// packet asks for: it makes the entry that the packet belongs to or is related
// to, or deletes one that would be in the way. [Machine.Run] does this by
// itself; a machine of flows needs it for the first packet of a flow whose
// beginning is not run. The error wraps [ErrNotRunnable] when the kernel cannot
// be brought there.
//
// Whether a packet is invalid is decided by its bytes alone, and whether it is
// untracked by its kind or the ruleset; both need no entry.
func (m *Machine) Prepare(p *packet.Packet) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.prepare(p)
	return err
}

// Inject makes an entry of connection tracking. Status bits of translations
// follow from the tuples.
func (m *Machine) Inject(e packet.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tracker.inject(&e, 0)
}

// Forget deletes all connections of the machine.
func (m *Machine) Forget() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tracker.flush()
}

// connection returns the entry that the packet will find, nil when there is
// none.
func (m *Machine) connection(p *packet.Packet) (*packet.Entry, error) {
	if !m.options.Flow {
		return m.prepare(p)
	}
	h, ok := headerOf(p.Data)
	if !ok {
		return nil, nil
	}
	proto, tuple := h.proto, h.tuple
	if h.quoted != nil {
		inner, ok := headerOf(h.quoted)
		if !ok {
			return nil, nil
		}
		proto, tuple = inner.proto, inner.tuple
	}
	return m.tracker.find(proto, tuple)
}

func (m *Machine) prepare(p *packet.Packet) (*packet.Entry, error) {
	switch p.Tracking.State {
	case packet.Established, packet.Related:
	default:
		if m.options.Flow {
			return nil, m.clear(p)
		}
		return nil, nil
	}
	if m.options.Untracked {
		return nil, notRunnable("connections are not tracked")
	}
	h, ok := headerOf(p.Data)
	if !ok {
		return nil, notRunnable("a part of a datagram belongs to no connection")
	}
	vtag := h.vtag
	var e packet.Entry
	if p.Tracking.Entry != nil {
		e = *p.Tracking.Entry
	}
	if p.Tracking.State == packet.Related {
		if h.quoted == nil {
			return nil, notRunnable("only ICMP errors are made related")
		}
		inner, ok := headerOf(h.quoted)
		if !ok {
			return nil, notRunnable("an ICMP error that quotes no transport header is related to nothing")
		}
		// The error goes against what it quotes.
		e.Protocol, e.Original, vtag = inner.proto, inner.tuple, inner.vtag
		if !p.Tracking.Reply {
			e.Original = invert(inner.proto, inner.tuple)
		}
		e.Reply = invert(e.Protocol, e.Original)
	} else if p.Tracking.Entry == nil || e.Protocol != h.proto {
		e.Protocol, e.Original = h.proto, h.tuple
		if p.Tracking.Reply {
			e.Original = invert(h.proto, h.tuple)
		}
		e.Reply = invert(e.Protocol, e.Original)
	}
	if p.Tracking.Entry == nil {
		e.Status = packet.StatusSeenReply | packet.StatusAssured
	}
	if p.Tracking.State == packet.Established {
		// Without a reply seen, a packet in the original direction is new.
		e.Status |= packet.StatusSeenReply
	}
	if err := m.tracker.inject(&e, vtag); err != nil {
		return nil, err
	}
	return &e, nil
}

// clear deletes the entry that the packet would belong to.
func (m *Machine) clear(p *packet.Packet) error {
	h, ok := headerOf(p.Data)
	if !ok {
		return nil
	}
	e, err := m.tracker.find(h.proto, h.tuple)
	if err != nil || e == nil {
		return err
	}
	return m.tracker.remove(e)
}
