package iptsim

import (
	"encoding/binary"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/packet"
)

// apply carries out the effects of a target. outcome is not zero when an effect
// decided by itself; unknown names an effect that is not modelled.
func apply(effects []predicate.Effect, v *view) (outcome predicate.Outcome, unknown string) {
	for _, e := range effects {
		switch e := e.(type) {
		case predicate.Assign:
			unknown = assign(v, e)
		case predicate.Label:
			v.f.Secmark = packet.SecurityID(e.Context)
			v.f.Emit(packet.LabelEvent{Context: e.Context})
		case predicate.Log:
			v.f.Emit(packet.LogEvent{Prefix: e.Prefix, Level: e.Level, Flags: e.Flags, Group: -1})
		case predicate.LogGroup:
			v.f.Emit(groupEvent(e))
		case predicate.Reject:
			unknown = reject(v, e.With)
		case predicate.NAT:
			outcome, unknown = translate(v, e)
		case predicate.Notrack:
			notrack(v.f)
		case predicate.Zone:
			unknown = setZone(v.f, e)
		case predicate.Lookup:
			unknown = lookup(v, e)
		case predicate.Trace:
			v.f.Emit(packet.TraceEvent{})
		case predicate.SynProxy:
			outcome = synProxy(v, e)
		case predicate.Offer:
			outcome = offer(v, e)
		case predicate.Dup:
			v.f.Emit(packet.DupEvent(e))
		case predicate.Audit:
			v.f.Emit(packet.AuditEvent{})
		case predicate.StripOptions:
			outcome = stripOptions(v, e.Kinds)
		case predicate.SetTCPFlags:
			outcome = setTCPFlags(v, e)
		case predicate.Queue:
			v.f.Queue(packet.QueueEvent(e))
		case predicate.External:
			v.f.Emit(packet.ExternalEvent{What: e.What})
		case predicate.SetChange:
			unknown = e.Change(v)
		case predicate.SetMap:
			unknown = setMap(v, e)
		case predicate.HashMark:
			unknown = hashMark(v, e)
		case predicate.TranslatePrefix:
			outcome = translatePrefix(v, e)
		case predicate.SetMSS:
			outcome = setMSS(v, e.MSS, e.MSS == 0 && !e.Zero)
		case predicate.UnmodelledEffect:
			unknown = e.What
		default:
			unknown = "effect"
		}
		if outcome != 0 || unknown != "" {
			return outcome, unknown
		}
	}
	return 0, ""
}

// groupEvent is a message to a group.
func groupEvent(e predicate.LogGroup) packet.LogEvent {
	return packet.LogEvent{Prefix: e.Prefix, Group: int(e.Group), SnapLen: e.SnapLen, Threshold: e.Threshold}
}

// notrack exempts a packet that nothing has been said of yet.
//
// Kernel: net/netfilter/xt_CT.c.
func notrack(f *packet.Flight) {
	if told(f) {
		return
	}
	f.Notrack = true
	f.Emit(packet.NotrackEvent{})
}

// setZone tells of a zone a packet that nothing was told of.
func setZone(f *packet.Flight, e predicate.Zone) (unknown string) {
	switch {
	case told(f):
		return ""
	case e.Mark:
		return "a zone by the mark"
	}
	f.Template, f.Given = true, given(e.Connection)
	f.Emit(packet.ZoneEvent{Zone: e.Number, Of: zoneDirections[e.Of]})
	return ""
}

// given is what connection tracking is told beside the zone.
func given(c predicate.Connection) packet.Given {
	return packet.Given{Helper: c.Helper, Protocol: c.Protocol, Mask: c.Mask, Told: c.Events}
}

var zoneDirections = map[predicate.ZoneDirection]packet.ZoneDirection{
	predicate.ZoneBoth: packet.ZoneBoth, predicate.ZoneOriginal: packet.ZoneOriginal, predicate.ZoneReply: packet.ZoneReply,
}

// told reports whether a packet has a connection, a template or an exemption.
//
// Kernel: net/netfilter/xt_CT.c, xt_ct_target.
func told(f *packet.Flight) bool {
	return f.Notrack || f.Template || f.Tracking.Entry != nil || f.Tracking.State == packet.Untracked
}

// A setter writes a field that the packet has.
type setter func(v *view, value predicate.Bits)

// setters are the fields that a target can set. The names of a connection's
// fields are set only where there is an entry.
var setters = map[predicate.FieldID]setter{
	predicate.Mark:      func(v *view, value predicate.Bits) { v.f.Mark = uint32(value.Lo) },
	predicate.Priority:  func(v *view, value predicate.Bits) { v.f.Priority = uint32(value.Lo) },
	predicate.CTMark:    func(v *view, value predicate.Bits) { v.f.Tracking.Entry.Mark = uint32(value.Lo) },
	predicate.CTSecmark: func(v *view, value predicate.Bits) { v.f.Tracking.Entry.Secmark = uint32(value.Lo) },
	predicate.Secmark:   func(v *view, value predicate.Bits) { v.f.Secmark = uint32(value.Lo) },
	predicate.TTL:       setTTL,
	predicate.TOS:       setTOS,
}

// assign computes and sets a field. A field, or one to take from, that the
// packet does not have makes it do nothing.
func assign(v *view, e predicate.Assign) (unknown string) {
	set := setters[e.Field.ID]
	if set == nil {
		return "setting " + e.Field.String()
	}
	old, present := v.Field(e.Field)
	if present != predicate.Yes || e.Unset && old != (predicate.Bits{}) {
		return ""
	}
	value := old.And(e.Keep)
	if e.From.ID != 0 {
		from, present := v.Field(e.From)
		switch present {
		case predicate.No:
			return ""
		case predicate.Unknown:
			return "reading " + e.From.String()
		}
		value = value.Xor(from.And(e.Take).Shift(e.Shift))
	}
	set(v, value.Xor(e.Xor))
	return ""
}

// lookup sets a field to what a table has for it.
func lookup(v *view, e predicate.Lookup) (unknown string) {
	set := setters[e.Field.ID]
	if set == nil {
		return "setting " + e.Field.String()
	}
	if old, present := v.Field(e.Field); present == predicate.Yes {
		set(v, predicate.Number(uint64(e.Values[uint8(old.Lo)])))
	}
	return ""
}

// setTOS sets the type of service, with the header checksum, or the traffic class.
//
// Kernel: include/net/dsfield.h, ipv4_change_dsfield and ipv6_change_dsfield.
func setTOS(v *view, value predicate.Bits) {
	data, fresh := v.f.Data, byte(value.Lo)
	if v.version == 4 {
		replaceSum(data[10:12], uint16(data[1]), uint16(fresh))
		data[1] = fresh
		return
	}
	data[0] = data[0]&0xf0 | fresh>>4
	data[1] = data[1]&0x0f | fresh<<4
}

// setTTL sets the TTL, with the header checksum, or the hop limit.
//
// Kernel: net/netfilter/xt_HL.c.
func setTTL(v *view, value predicate.Bits) {
	data, at := v.f.Data, v.ttlAt()
	fresh := byte(value.Lo)
	if v.version == 4 {
		replaceSum(data[10:12], uint16(data[at])<<8, uint16(fresh)<<8)
	}
	data[at] = fresh
}

// replaceSum adapts an Internet checksum to a 16-bit word that changes.
//
// RFC 1624; Kernel: include/net/checksum.h, csum_replace2.
func replaceSum(sum []byte, old, fresh uint16) {
	n := uint32(^binary.BigEndian.Uint16(sum)) + uint32(^old) + uint32(fresh)
	n = n&0xffff + n>>16
	n = n&0xffff + n>>16
	binary.BigEndian.PutUint16(sum, ^uint16(n))
}
