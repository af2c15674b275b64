package extension

import (
	"fmt"
	"slices"
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
	windows     bool // a rule counts in windows
	set         *nftgen.Set
}

// hashNumbers are the numbers of a table, and the fields that are its key.
type hashNumbers struct {
	period              time.Duration // of packets
	bytes               uint64        // per second, 0 of packets
	burst               uint64
	expire              time.Duration
	size                uint32
	mode                hashMode
	source, destination uint8 // bits of the masks
}

type hashKey struct {
	family iptables.Family
	name   hashName
}

// Collect notes the numbers of the rule.
func (m *hashlimitMatch) Collect(s *translate.Shared, c iptables.Context) error {
	t := translate.Value(s, hashKey{c.Family, m.Table.Value}, func() *hashTable { return &hashTable{} })
	n := m.numbers()
	t.unlike = t.unlike || t.rules > 0 && t.numbers != n
	t.numbers = n
	t.windows = t.windows || m.RateMatch.Present
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

func (m *hashlimitMatch) numbers() hashNumbers {
	written := m.written()
	n := hashNumbers{
		period: time.Duration(written.average) * time.Microsecond, burst: uint64(m.Burst.Value),
		expire: time.Duration(written.seconds) * time.Second, size: uint32(m.Most.Value), mode: m.Mode.Value,
		source: m.SrcMask.Value.bits, destination: m.DstMask.Value.bits,
	}
	if written.bytes {
		n.inBytes(written.average, m.Burst.Present)
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
	return n
}

// inBytes makes the numbers those of a rate of bytes: cost is what 16 of them
// take. The kernel's bucket is one second of the rate, which the burst fills
// again so many times, rounded up.
func (n *hashNumbers) inBytes(cost uint64, burst bool) {
	n.bytes = (1<<32 - 1) / cost * 16
	const chunk, longer = 16, time.Minute
	second := n.bytes - chunk
	n.bytes = max(second, chunk)
	if !burst {
		n.burst = 0
		return
	}
	n.burst, n.expire = (n.burst+second-1)/second*second, longer
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

// Translate adds a limit for each element of a set, or a plain one when packets
// are not told apart. The elements live as long as xtables keeps a bucket.
func (m *hashlimitMatch) Translate(r *translate.Rule) error {
	t := translate.Value(r.Shared, hashKey{r.Family, m.Table.Value}, func() *hashTable { return nil })
	if u := m.refusal(t); u != nil {
		return u
	}
	key := m.key(r.Context)
	limit, exact := m.limit(t.numbers)
	m.declare(r, t.numbers, limit, exact, len(key) > 0)
	if len(key) == 0 && t.rules == 1 {
		limit.Over = m.holdsOver()
		r.Add(limit)
		return nil
	}
	if len(key) == 0 {
		key = hashPlain(r.Context)
	}
	set := t.makeSet(r, string(m.Table.Value), key)
	// An element holds one limit, for both kinds of rules.
	hit, miss := translate.Match, translate.Fail
	if over := m.holdsOver(); t.upto && t.above && over {
		hit, miss = miss, hit
	} else {
		limit.Over = over
	}
	ways := m.ways(r, key)
	if len(ways) == 1 && len(ways[0].guard) == 0 && hit == translate.Match {
		r.Add(hashUpdate(set, ways[0].key, limit))
		return nil
	}
	branch := translate.Branch{Otherwise: miss}
	for _, w := range ways {
		update := hashUpdate(set, w.key, limit)
		branch.Rows = append(branch.Rows, translate.Row{Stmts: append(slices.Clip(w.guard), update), Then: hit})
		if w.last {
			branch.Rows = append(branch.Rows, translate.Row{Stmts: w.guard, Then: miss})
		}
	}
	r.Branch(branch)
	return nil
}

// hashUpdate is the statement that asks the limit of a key.
func hashUpdate(set *nftgen.Set, key []hashField, limit nftgen.Limit) nftgen.Update {
	update := nftgen.Update{Op: nftgen.OpUpdate, Set: set, Stmts: []nftgen.Stmt{limit}}
	masked := false
	for _, f := range key {
		update.Fields = append(update.Fields, f.field)
		update.Masks = append(update.Masks, f.mask)
		masked = masked || f.mask != nil
	}
	if !masked {
		update.Masks = nil
	}
	return update
}

// refusal refuses what has no form in nftables.
func (m *hashlimitMatch) refusal(t *hashTable) *translate.Untranslatable {
	switch {
	case m.RateMatch.Present:
		return &translate.Untranslatable{
			Code: "untranslatable-option", Summary: "--hashlimit-rate-match has no nftables counterpart",
			Detail: "It counts the packets of a window, and matches by what the window before it had. A limit of nftables is a bucket, " +
				"which forgets continuously, and nothing in a set can be compared with a number. Write --hashlimit-upto or --hashlimit-above without it.",
			Range: m.RateMatch.Range,
		}
	case t.windows:
		return &translate.Untranslatable{
			Code: "untranslatable-option", Summary: "another rule of the --hashlimit-name has --hashlimit-rate-match",
			Detail: fmt.Sprintf("Rules of a family that name %q share one table, and nftables has no form of that rule. Give them a name each.", string(m.Table.Value)),
			Range:  m.Table.Range,
		}
	case t.unlike:
		return &translate.Untranslatable{
			Code: "untranslatable-option", Summary: "rules of one --hashlimit-name have unlike parameters",
			Detail: fmt.Sprintf("Rules of a family that name %q share one table, with the parameters of the rule that the kernel loads first. "+
				"Give rules with other rates, modes, masks or times a name of their own.", string(m.Table.Value)),
			Range: m.Table.Range,
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
	if n.bytes != 0 {
		return nftgen.Limit{Rate: n.bytes, Unit: time.Second, Burst: uint32(min(n.burst, 1<<32-1)), Bytes: true}, true
	}
	for _, unit := range []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
		if rate := unit / n.period; rate > 0 && unit/rate == n.period {
			return nftgen.Limit{Rate: uint64(rate), Unit: unit, Burst: uint32(n.burst)}, true
		}
	}
	written := m.written()
	rate, unit := written.perUnit()
	return nftgen.Limit{Rate: rate, Unit: time.Duration(rateUnits[unit].seconds) * time.Second, Burst: uint32(n.burst)}, false
}

// mayBeAuthentication reports whether packets of the rule can have an
// authentication header before ports that count. In IPv6 the kernel looks behind
// it.
func (m *hashlimitMatch) mayBeAuthentication(c iptables.Context) bool {
	proto, known := c.ProtocolNumber()
	ported := m.Mode.Value&(hashSrcPort|hashDstPort) != 0
	return ported && c.Family == iptables.IPv4 && (!known || proto == 0 || proto == protocolAH)
}

// declare declares how the buckets differ.
func (m *hashlimitMatch) declare(r *translate.Rule, n hashNumbers, limit nftgen.Limit, exact, keyed bool) {
	full := n.period * time.Duration(n.burst)
	if n.bytes != 0 {
		full = time.Second + time.Duration(float64(n.burst)/float64(n.bytes)*float64(time.Second))
		r.Declare(translate.Deviation{
			Code: "hashlimit-bytes",
			Detail: "xtables counts each packet as its length and 1 to 16 bytes more, in a bucket of one second that a burst fills again a number of times until " +
				"the bucket is forgotten. nftables counts the bytes of the packet, and its burst comes back with time.",
		})
	}
	if m.mayBeAuthentication(r.Context) {
		r.Declare(translate.Deviation{
			Code:   "hashlimit-ah-ports",
			Detail: "xtables takes the index of an authentication header for two ports. In nftables its packets count as those of protocols without ports.",
		})
	}
	if !exact {
		r.Declare(translate.Deviation{
			Code: "limit-resolution",
			Detail: fmt.Sprintf("xtables counts this rate in whole microseconds: one packet per %v. nftables refills one packet per %v.",
				n.period, limit.Unit/time.Duration(limit.Rate)),
		})
	}
	if n.bytes == 0 && full < limitTick {
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
