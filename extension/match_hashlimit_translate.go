package extension

import (
	"fmt"
	"time"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// A hashTable is what the rules of a family share that give the same name.
type hashTable struct {
	numbers     hashNumbers
	rules       int
	upto, above bool
	unlike      bool // rules have unlike numbers
	set         *nftgen.Set
}

// hashNumbers are the numbers of a table, and the fields that are its key.
type hashNumbers struct {
	period              time.Duration
	burst               uint64
	expire              time.Duration
	size                uint32
	key                 string
	source, destination uint8 // bits of the masks
}

type hashKey struct {
	family iptables.Family
	name   hashName
}

// Collect notes the numbers of the rule.
func (m *hashlimitMatch) Collect(s *translate.Shared, c iptables.Context) error {
	t := translate.Value(s, hashKey{c.Family, m.Table.Value}, func() *hashTable { return &hashTable{} })
	n := m.numbers(c)
	t.unlike = t.unlike || t.rules > 0 && t.numbers != n
	t.numbers = n
	t.rules++
	if m.holdsOver() {
		t.above = true
	} else {
		t.upto = true
	}
	return nil
}

// holdsOver reports whether the rule is for packets beyond the rate.
func (m *hashlimitMatch) holdsOver() bool {
	if m.Above.Present {
		return !m.Above.Negated
	}
	return m.Upto.Negated
}

func (m *hashlimitMatch) numbers(c iptables.Context) hashNumbers {
	written := m.written()
	n := hashNumbers{
		period: time.Duration(written.average) * time.Microsecond, burst: m.Burst.Value.packets,
		expire: time.Duration(written.seconds) * time.Second, size: uint32(m.Most.Value),
		source: m.SrcMask.Value.bits, destination: m.DstMask.Value.bits,
	}
	if m.Expire.Present {
		n.expire = time.Duration(m.Expire.Value) * time.Millisecond
	}
	buckets := uint32(m.Size.Value)
	if buckets == 0 {
		buckets = hashBuckets
	}
	if n.size == 0 {
		n.size = 8 * buckets
	}
	n.size = max(n.size, buckets)
	fields, _ := m.key(c)
	for _, f := range fields {
		n.key += f.kind + " "
	}
	return n
}

// hashBuckets is the size of a hash table without --hashlimit-htable-size, on a
// machine of more than 1 GB.
//
// Kernel: net/netfilter/xt_hashlimit.c, htable_create.
const hashBuckets = 8192

func (m *hashlimitMatch) written() hashRate {
	if m.Upto.Present {
		return m.Upto.Value
	}
	return m.Above.Value
}

// A hashField is a part of a key.
type hashField struct {
	kind  string
	field nftgen.Field
	mask  nftgen.Value
}

// key returns the fields that tell packets apart. ok is false when the ports
// depend on the packet's protocol.
func (m *hashlimitMatch) key(c iptables.Context) (fields []hashField, ok bool) {
	source, destination, width := nftgen.IPSaddr, nftgen.IPDaddr, 32
	if c.Family == iptables.IPv6 {
		source, destination, width = nftgen.IP6Saddr, nftgen.IP6Daddr, 128
	}
	address := func(kind string, f nftgen.Field, bits uint8) {
		if bits == 0 {
			return
		}
		h := hashField{kind: kind, field: f}
		if int(bits) < width {
			h.mask = make(nftgen.Value, width/8)
			for i := range int(bits) {
				h.mask[i/8] |= 0x80 >> (i % 8)
			}
		}
		fields = append(fields, h)
	}
	proto, known := c.ProtocolNumber()
	ported := false
	switch proto {
	case 6, 17, 33, 132, 136: // TCP, UDP, DCCP, SCTP, UDP-Lite
		ported = true
	case 50, 51: // ESP, AH: other bytes are taken for ports
		known = false
	}
	ok = true
	port := func(kind string, f nftgen.Field) {
		ok = ok && known
		if ported {
			fields = append(fields, hashField{kind: kind, field: f})
		}
	}
	if m.Mode.Value&hashSrcIP != 0 {
		address("source", source, m.SrcMask.Value.bits)
	}
	if m.Mode.Value&hashSrcPort != 0 {
		port("source port", nftgen.Sport(proto))
	}
	if m.Mode.Value&hashDstIP != 0 {
		address("destination", destination, m.DstMask.Value.bits)
	}
	if m.Mode.Value&hashDstPort != 0 {
		port("destination port", nftgen.Dport(proto))
	}
	return fields, ok
}

// Translate adds a limit for each element of a set, or a plain one when packets
// are not told apart. The elements live as long as xtables keeps a bucket.
func (m *hashlimitMatch) Translate(r *translate.Rule) error {
	if u := m.refusal(); u != nil {
		return u
	}
	t := translate.Value(r.Shared, hashKey{r.Family, m.Table.Value}, func() *hashTable { return nil })
	fields, ok := m.key(r.Context)
	switch {
	case !ok:
		return &translate.Untranslatable{
			Code: "untranslatable-option", Summary: "hashlimit by ports needs a protocol with ports",
			Detail: "What the kernel takes for ports depends on the protocol of the packet. Write one rule per protocol, with -p.",
			Range:  m.Mode.Range,
		}
	case t.unlike:
		return &translate.Untranslatable{
			Code: "untranslatable-option", Summary: "rules of one --hashlimit-name have unlike parameters",
			Detail: fmt.Sprintf("Rules of a family that name %q share one table, with the parameters of the rule that the kernel loads first. "+
				"Give rules with other rates, modes, masks, times or protocols a name of their own.", string(m.Table.Value)),
			Range: m.Table.Range,
		}
	case len(fields) == 0 && t.rules > 1:
		return &translate.Untranslatable{
			Code: "untranslatable-option", Summary: "several rules share one --hashlimit-name without a mode",
			Detail: "The rules have one bucket for all packets together. Give --hashlimit-mode, or names of their own.",
			Range:  m.Table.Range,
		}
	}
	limit, exact := m.limit(t.numbers)
	m.declare(r, t.numbers, limit, exact, len(fields) > 0)
	over := m.holdsOver()
	if len(fields) == 0 {
		limit.Over = over
		r.Add(limit)
		return nil
	}
	update := nftgen.Update{Op: nftgen.OpUpdate, Set: t.makeSet(r, string(m.Table.Value), fields)}
	masked := false
	for _, f := range fields {
		update.Fields = append(update.Fields, f.field)
		update.Masks = append(update.Masks, f.mask)
		masked = masked || f.mask != nil
	}
	if !masked {
		update.Masks = nil
	}
	if t.upto && t.above {
		// An element holds one limit, for both kinds of rules.
		update.Stmts = []nftgen.Stmt{limit}
		if over {
			r.Branch(translate.Branch{Rows: []translate.Row{{Stmts: []nftgen.Stmt{update}, Then: translate.Fail}}, Otherwise: translate.Match})
			return nil
		}
	}
	limit.Over = over
	update.Stmts = []nftgen.Stmt{limit}
	r.Add(update)
	return nil
}

// refusal refuses what has no form in nftables.
func (m *hashlimitMatch) refusal() *translate.Untranslatable {
	rate := m.Upto
	if m.Above.Present {
		rate = m.Above
	}
	switch {
	case m.RateMatch.Present:
		return &translate.Untranslatable{
			Code: "untranslatable-option", Summary: "--hashlimit-rate-match is not translated",
			Detail: "It compares the rate of the last window; a limit of nftables is a bucket. Write --hashlimit-upto or --hashlimit-above without it.",
			Range:  m.RateMatch.Range,
		}
	case m.RateInterval.Present:
		return &translate.Untranslatable{
			Code: "untranslatable-option", Summary: "--hashlimit-rate-interval is not translated",
			Detail: "It belongs to --hashlimit-rate-match, which has no counterpart.", Range: m.RateInterval.Range,
		}
	case rate.Value.bytes != "" || m.Burst.Value.bytes != "":
		return &translate.Untranslatable{
			Code: "untranslatable-option", Summary: "hashlimit of bytes is not translated",
			Detail: "xtables counts bytes in steps of 16, with a bucket of its own kind; a limit of nftables would pass other packets. Write a rate of packets.",
			Range:  rate.Range,
		}
	}
	return nil
}

// makeSet returns the set of the table.
func (t *hashTable) makeSet(r *translate.Rule, name string, fields []hashField) *nftgen.Set {
	if t.set != nil {
		return t.set
	}
	if r.Family == iptables.IPv6 {
		name += "6"
	}
	t.set = &nftgen.Set{
		Name: "hashlimit_" + name, Dynamic: true, HasTimeout: true, Timeout: t.numbers.expire, Size: t.numbers.size,
	}
	for _, f := range fields {
		t.set.Key = append(t.set.Key, f.field.Type)
	}
	r.Shared.AddSet(t.set)
	return t.set
}

// limit returns the limit of the table, and whether nft has exactly the rate.
func (m *hashlimitMatch) limit(n hashNumbers) (limit nftgen.Limit, exact bool) {
	for _, unit := range []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
		if rate := unit / n.period; rate > 0 && unit/rate == n.period {
			return nftgen.Limit{Rate: uint64(rate), Unit: unit, Burst: uint32(n.burst)}, true
		}
	}
	written := m.written()
	rate, unit := written.perUnit()
	return nftgen.Limit{Rate: rate, Unit: time.Duration(rateUnits[unit].seconds) * time.Second, Burst: uint32(n.burst)}, false
}

// declare declares how the buckets differ.
func (m *hashlimitMatch) declare(r *translate.Rule, n hashNumbers, limit nftgen.Limit, exact, keyed bool) {
	full := n.period * time.Duration(n.burst)
	if !exact {
		r.Declare(translate.Deviation{
			Code: "limit-resolution",
			Detail: fmt.Sprintf("xtables counts this rate in whole microseconds: one packet per %v. nftables refills one packet per %v.",
				n.period, limit.Unit/time.Duration(limit.Rate)),
		})
	}
	if full < limitTick {
		r.Declare(translate.Deviation{
			Code: "limit-tick",
			Detail: fmt.Sprintf("xtables refills the bucket once a tick of the kernel (1 to 10 ms), and it is full after %v: "+
				"it passes fewer packets than --hashlimit says. nftables passes as many as it says.", full),
		})
	}
	if n.expire < full {
		detail := "nftables never forgets it."
		if keyed {
			detail = "nftables forgets it at once."
		}
		r.Declare(translate.Deviation{
			Code: "hashlimit-expiry",
			Detail: fmt.Sprintf("xtables forgets a bucket that nobody asked for %v, before it is full again (after %v), and only when it looks for such, "+
				"each --hashlimit-htable-gcinterval; the next packet finds a full one. %s", n.expire, full, detail),
		})
	}
	if keyed {
		r.Declare(translate.Deviation{
			Code: "hashlimit-table-size",
			Detail: fmt.Sprintf("When the table is full (%d keys; on machines of up to 1 GB, less without --hashlimit-htable-size), xtables drops packets with "+
				"a new key. In nftables the rule does not match them.", n.size),
		})
	}
}
