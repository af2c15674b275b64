package kernel

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

// A reading turns the reports about one packet into its fate.
type reading struct {
	host *packet.Host
	p    *packet.Packet
	fate packet.Fate
	// routed says that the packet left the prerouting hook; what the host
	// answers before the next hook is by the stack, not by a rule.
	routed bool
	ended  bool
	// made is the entry that the packet made, nil when it made none.
	made *packet.Entry
	// zoned says that it has a zone in one direction only.
	zoned bool
	// What connection tracking found.
	state, status, mark uint32
	reply               bool
}

// readReports reads the reports about a packet in their order.
func readReports(host *packet.Host, p *packet.Packet, reports []report) *reading {
	r := &reading{host: host, p: p, fate: packet.Fate{Verdict: packet.Drop, Last: packet.Prerouting}}
	if p.Path == packet.Leaving {
		r.fate.Last = packet.Output
	}
	for i := range reports {
		m := &reports[i]
		switch {
		case m.connection != nil:
			if r.made == nil {
				r.made, r.zoned = parseEntry(m.connection), zonedByDirection(m.connection)
			}
		case m.expectation:
			r.fate.Expects = true
		case m.group == groupSeen:
			r.seen(m)
		case m.group == groupStep:
			r.step(m)
		case m.group == groupEnd:
			r.end(m)
		case m.group == groupAnswer:
			r.answer(m)
		default:
			r.fate.Events = append(r.fate.Events, logEvent(m.group, m.prefix))
		}
	}
	r.fate.Announced = r.made != nil
	if e := r.made; e != nil && e.Helper != "" && r.state == stateNew {
		r.fate.Events = append(r.fate.Events, packet.HelperEvent{Name: e.Helper, Protocol: e.Protocol})
	}
	return r
}

func (r *reading) seen(m *report) {
	switch m.prefix {
	case seenStatus:
		r.status = m.mark
	case seenMark:
		r.mark = m.mark
	default:
		r.state, r.reply = m.mark, m.prefix == seenReply
	}
}

func (r *reading) step(m *report) {
	switch {
	case m.prefix == stepArrived:
	case m.prefix == endPriority:
		r.fate.Priority = m.mark
	case m.prefix == endConnMark:
		r.fate.ConnMark, r.fate.Tracked = m.mark, true
	case m.hook == packet.Prerouting:
		r.routed = true
	default:
		r.routed = false
		r.fate.Last = m.hook
	}
}

// end reads the report of a packet that reached its end. Only the first counts:
// a second one would be a copy that the stack made.
func (r *reading) end(m *report) {
	if r.ended {
		return
	}
	r.ended = true
	r.fate.Verdict, r.fate.Last = packet.Accept, m.hook
	r.fate.Data, r.fate.Mark = m.data, m.mark
	r.fate.Tracked = m.prefix == endPlain
	if m.hook == packet.Postrouting {
		for i := range r.host.Devices {
			if r.host.Devices[i].Index == m.out {
				r.fate.Out = r.host.Devices[i].Name
			}
		}
	}
	if r.p.Path == packet.Leaving {
		restoreID(r.p.Data, r.fate.Data)
	}
}

// restoreID takes back the identification that a raw socket put into an IPv4
// header that had none.
//
// Kernel: net/ipv4/raw.c, raw_send_hdrinc.
func restoreID(sent, data []byte) {
	if len(sent) < 20 || len(data) < 20 || sent[0]>>4 != 4 || data[4] == 0 && data[5] == 0 || sent[4] != 0 || sent[5] != 0 {
		return
	}
	size := int(data[0]&15) * 4
	if size < 20 || len(data) < size {
		return
	}
	data[4], data[5], data[10], data[11] = 0, 0, 0, 0
	binary.BigEndian.PutUint16(data[10:], headerSum(data))
}

// unreachable are the ICMP types that rules answer with: destination
// unreachable of both IP versions (RFC 792, RFC 4443 section 3.1).
var unreachable = map[uint8]uint8{unix.IPPROTO_ICMP: 3, unix.IPPROTO_ICMPV6: 1}

// answer reads a packet that the host made by itself. A TCP reset or an
// unreachable error is the answer of a rule, unless the stack gave it between
// two hooks. Other errors are the stack's, and may be about an earlier packet:
// fragments that were never completed.
func (r *reading) answer(m *report) {
	h, ok := headerOf(m.data)
	switch {
	case !ok:
	case h.proto == unix.IPPROTO_TCP && h.flags&packet.RST != 0:
		r.fate.Events = append(r.fate.Events, packet.RejectEvent{Reset: true})
		return
	case h.quoted != nil:
		kind := uint8(h.tuple.DstPort >> 8)
		if !r.routed && (kind == unreachable[h.proto] || h.blames(kind)) {
			r.fate.Events = append(r.fate.Events, packet.RejectEvent{Type: kind, Code: uint8(h.tuple.DstPort)})
		}
		return
	}
	r.fate.Events = append(r.fate.Events, packet.StateEvent{What: "the host made another packet"})
}

// blames reports whether an ICMPv6 error says that an address of the header is wrong,
// which no part of the stack does but the translation of prefixes (RFC 4443,
// section 3.4).
//
// Kernel: net/ipv6/netfilter/ip6t_NPT.c.
func (h header) blames(kind uint8) bool {
	const parameterProblem, source, destination = 4, 8, 24
	return h.proto == unix.IPPROTO_ICMPV6 && kind == parameterProblem && (h.pointer == source || h.pointer == destination)
}

// states are the kernel's bits of a state.
var states = map[uint32]packet.State{
	stateInvalid: packet.Invalid, stateEstablished: packet.Established, stateRelated: packet.Related,
	stateNew: packet.New, stateUntracked: packet.Untracked,
}

// tracking returns what connection tracking found among the connections that the
// packet met.
func (r *reading) tracking(met circumstances) packet.Tracking {
	t := packet.Tracking{State: states[r.state], Reply: r.reply}
	switch t.State {
	case packet.New, packet.Established, packet.Related:
	default:
		return t
	}
	e := packet.Entry{}
	h, _ := headerOf(r.p.Data)
	switch {
	case met.own != nil && t.State != packet.New:
		e = *met.own
	case r.made != nil:
		// When tracking looked, the reply tuple was not translated yet, and there
		// were no labels.
		e = *r.made
		e.Reply = invert(e.Protocol, e.Original)
		e.Labels = [16]byte{}
	default:
		e.Protocol, e.Original = h.proto, h.tuple
		e.Reply = invert(h.proto, h.tuple)
	}
	// The kernel tells the helper that the connection has, not the one that
	// expected it.
	e.Helper = ""
	if t.State == packet.Related && h.quoted == nil {
		e.Helper = met.helper
	}
	e.Status, e.Mark = r.status, r.mark
	t.Entry = &e
	return t
}
