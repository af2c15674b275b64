package kernel

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

// Prepare brings connection tracking into the state that the Tracking of a
// packet asks for: it makes the entry that the packet belongs to or is related
// to, or deletes one that would be in the way. [Machine.Run] does this by
// itself; a machine of flows needs it for the first packet of a flow whose
// beginning is not run. The error wraps [ErrNotRunnable] when the kernel cannot
// be brought there.
//
// Whether a packet is invalid is decided by its bytes alone; one that wishes to
// be untracked is exempted by Run. Both need no entry.
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

// circumstances are the connections that a packet meets.
type circumstances struct {
	// own is the entry that the packet belongs to, or, of an ICMP error, the
	// one it is about; nil when there is none.
	own *packet.Entry
	// helper is the name of the helper that expects the packet.
	helper string
	// made are the entries to delete afterwards.
	made []*packet.Entry
}

// meet returns the connections that the packet will meet, which it makes unless
// the machine is one of flows.
func (m *Machine) meet(p *packet.Packet) (circumstances, error) {
	if !m.options.Flow {
		return m.prepare(p)
	}
	h, ok := headerOf(p.Data)
	if !ok {
		return circumstances{}, nil
	}
	if h.quoted != nil {
		if h, ok = headerOf(h.quoted); !ok {
			return circumstances{}, nil
		}
	}
	e, err := m.tracker.find(h.proto, h.tuple)
	return circumstances{own: e}, err
}

func (m *Machine) prepare(p *packet.Packet) (circumstances, error) {
	state := p.Tracking.State
	if state != packet.Established && state != packet.Related {
		if m.options.Flow {
			return circumstances{}, m.clear(p)
		}
		return circumstances{}, nil
	}
	if m.options.Untracked {
		return circumstances{}, notRunnable("connections are not tracked")
	}
	h, ok := headerOf(p.Data)
	if !ok {
		return circumstances{}, notRunnable("a part of a datagram belongs to no connection")
	}
	var wanted packet.Entry
	if p.Tracking.Entry != nil {
		wanted = *p.Tracking.Entry
	}
	if state == packet.Related && h.quoted == nil {
		// NAT takes every related ICMP packet for an error and drops others
		// (nf_nat_proto.c, nf_nat_ipv4_fn), which no helper lets happen.
		if h.proto == unix.IPPROTO_ICMP || h.proto == unix.IPPROTO_ICMPV6 {
			return circumstances{}, notRunnable("no connection expects an ICMP query")
		}
		// In the reply direction it would be established, so that a wish for
		// that is met in the original one.
		master, err := m.tracker.expect(h.proto, h.tuple, wanted)
		if err != nil {
			return circumstances{}, err
		}
		return circumstances{helper: master.Helper, made: []*packet.Entry{master}}, nil
	}
	if wanted.Helper != "" {
		return circumstances{}, notRunnable("a helper expects new connections only")
	}
	e, vtag, err := entryFor(p, h, wanted)
	if err != nil {
		return circumstances{}, err
	}
	if err := m.tracker.inject(&e, vtag); err != nil {
		return circumstances{}, err
	}
	return circumstances{own: &e, made: []*packet.Entry{&e}}, nil
}

// icmpRedirect is the type of an ICMP redirect (RFC 792).
const icmpRedirect = 5

// entryFor completes the entry that an established packet belongs to or that an
// ICMP error is about. vtag is the verification tag of an SCTP connection.
func entryFor(p *packet.Packet, h header, e packet.Entry) (_ packet.Entry, vtag uint32, err error) {
	reply := p.Tracking.Reply
	complete := p.Tracking.Entry != nil && e.Protocol == h.proto
	if p.Tracking.State == packet.Related {
		if h.proto == unix.IPPROTO_ICMP && h.tuple.DstPort>>8 == icmpRedirect {
			// nf_nat_proto.c, nf_nat_icmp_reply_translation: NAT has looked at
			// every connection that packets made.
			return e, 0, notRunnable("NAT drops a redirect about a connection that it did not see begin")
		}
		if h, complete = headerOf(h.quoted); !complete {
			return e, 0, notRunnable("an ICMP error that quotes no transport header is related to nothing")
		}
		// The error goes against what it quotes, whatever entry is wished.
		reply, complete = !reply, false
	}
	if !complete {
		e.Protocol, e.Original = h.proto, h.tuple
		if reply {
			e.Original = invert(h.proto, h.tuple)
		}
		e.Reply = invert(e.Protocol, e.Original)
	}
	if p.Tracking.Entry == nil {
		e.Status = packet.StatusAssured
	}
	// Without a reply seen, a packet in the original direction would be new.
	e.Status |= packet.StatusSeenReply
	return e, h.vtag, nil
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

// missed says that a packet was to meet a connection that is still there, and
// began another one, because rules look for it in a zone of one direction. The
// other direction is the same for both, so that the kernel gives the second one
// another port or drops the packet.
//
// Kernel: net/netfilter/nf_conntrack_core.c, __nf_conntrack_confirm; nf_nat_core.c,
// get_unique_tuple.
func (m *Machine) missed(own *packet.Entry, r *reading) error {
	if own == nil || r.state != stateNew || r.ended && !r.zoned {
		return nil
	}
	there, err := m.tracker.find(own.Protocol, own.Original)
	if err != nil || there == nil {
		return err
	}
	return notRunnable("its connection is in another zone than that where rules look")
}

// refreshed reads how long a connection that was made for a packet lives on. Tracking
// says so anew with most packets, before rules look. The kernel tells whole
// seconds that are left; what it gives to a connection are tens of seconds, of
// which the first may have begun.
//
// Kernel: net/netfilter/nf_conntrack_core.c, __nf_ct_refresh_acct.
func (m *Machine) refreshed(own, observed *packet.Entry) error {
	if own == nil || observed == nil || observed.Protocol != own.Protocol || observed.Original != own.Original {
		return nil
	}
	now, err := m.tracker.find(own.Protocol, own.Original)
	if err != nil || now == nil {
		return err
	}
	wished := own.Expires
	if wished == 0 {
		wished = defaultExpiry
	}
	const tens = 10
	observed.Expires = now.Expires
	if next := now.Expires + 1; next == wished || next%tens == 0 {
		observed.Expires = next
	}
	return nil
}

// count reads the counters of the connection that the packet met. They are as
// the rules saw them: a packet is counted when tracking looks.
//
// Kernel: net/netfilter/nf_conntrack_core.c, __nf_ct_refresh_acct.
func (m *Machine) count(p *packet.Packet, r *reading) error {
	e := r.fate.Observed.Entry
	if e == nil {
		return nil
	}
	e.Accounting = true
	now, err := m.tracker.find(e.Protocol, e.Original)
	switch {
	case err != nil:
		return err
	case now != nil:
		e.Packets, e.Bytes = now.Packets, now.Bytes
	default:
		// A new connection that was dropped never came into the table, and one
		// of GRE that was made from outside runs out with its first packet.
		direction := 0
		if r.reply {
			direction = 1
		}
		e.Packets, e.Bytes = [2]uint64{}, [2]uint64{}
		e.Packets[direction], e.Bytes[direction] = 1, uint64(claimedLength(p.Data))
	}
	return nil
}

// claimedLength is the length in bytes that the stack takes a packet for.
func claimedLength(data []byte) int {
	claimed := len(data)
	switch {
	case len(data) >= 20 && data[0]>>4 == 4:
		claimed = int(binary.BigEndian.Uint16(data[2:]))
	case len(data) >= 40 && data[0]>>4 == 6:
		claimed = 40 + int(binary.BigEndian.Uint16(data[4:]))
	}
	return min(claimed, len(data))
}
