package predicate

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// A RecentOp is what "-m recent" does with its list.
type RecentOp uint8

// The operations. The zero value is invalid.
const (
	RecentSet    RecentOp = iota + 1 // --set
	RecentCheck                      // --rcheck
	RecentUpdate                     // --update
	RecentRemove                     // --remove
)

func (o RecentOp) String() string {
	if o >= RecentSet && o <= RecentRemove {
		return [...]string{"set", "rcheck", "update", "remove"}[o-1]
	}
	return "invalid operation"
}

// Recent is "-m recent": a named list of addresses with the times at which
// they were seen. The list is one for all rules that name it.
//
// An address that the list does not hold makes --set add it and every other
// operation false. For one that it holds, --set is true, --remove is true and
// forgets it, --rcheck and --update are true when at least HitCount of the
// remembered times are at most Seconds old; --update and --set then remember
// the present time. Negate turns the answer around, and --update goes by the
// turned answer: "! --update" remembers the time when the test failed.
//
// A list holds 100 addresses; a new one takes the place of the one that was
// seen the longest time ago. It remembers the last times of an address, as many
// as the largest HitCount among its rules needs, rounded up to a power of two,
// and at least 32.
//
// Kernel: net/netfilter/xt_recent.c, with the module's default parameters.
type Recent struct {
	List        string
	Op          RecentOp
	Negate      bool
	Destination bool // the address is the destination, else the source
	// Mask is applied to the address before it is looked up. The kernel uses
	// the mask of the rule that made the list for all rules of the list.
	Mask     Bits
	Seconds  uint32 // 0: of any age
	HitCount uint32 // 0 is like 1
	CheckTTL bool   // --rttl: the TTL must be that of the entry
	Reap     bool   // --reap: forget the oldest address when it is older than Seconds
	IPv6     bool   // the family of the rule
}

var _ Loader = Recent{}

const (
	recentListSize = 100 // ip_list_tot
	recentStamps   = 32  // times per address when no rule asks for more
)

type recentKey struct {
	addr Bits
	ipv6 bool
}

type recentEntry struct {
	key    recentKey
	ttl    uint8
	index  int // where the next time goes, 1 to len(stamps)
	filled int
	stamps []int64 // jiffies
}

type recentList struct {
	// lost has the addresses that the list forgot for another reason than
	// --remove, with the code by which translations declare that.
	lost     map[recentKey]string
	mask     Bits
	masked   bool // mask was given by the first rule
	stamps   int
	unsure   bool // a kernel may have found a time too old, or not
	entries  map[recentKey]*recentEntry
	byUpdate []*recentEntry // the longest unseen first
}

// Identity is the list.
func (m Recent) Identity() string { return "recent " + m.List }

// Describe says the operation and its parameters.
func (m Recent) Describe() string {
	var b strings.Builder
	if m.Negate {
		b.WriteString("not ")
	}
	fmt.Fprintf(&b, "recent %v %v in list %s", m.Op, m.side(), m.List)
	if m.Seconds != 0 {
		fmt.Fprintf(&b, " within %ds", m.Seconds)
	}
	if m.HitCount != 0 {
		fmt.Fprintf(&b, " at least %d times", m.HitCount)
	}
	if m.CheckTTL {
		b.WriteString(" of equal ttl")
	}
	if m.Reap {
		b.WriteString(" reaping")
	}
	return b.String()
}

// Keys is the address.
func (m Recent) Keys() []Field { return []Field{m.side()} }

func (m Recent) side() Field {
	if m.Destination {
		return Field{ID: DstAddr}
	}
	return Field{ID: SrcAddr}
}

func (m Recent) list(s *States) *recentList {
	return Get(s, m.Identity(), func() *recentList {
		return &recentList{stamps: recentStamps, entries: make(map[recentKey]*recentEntry), lost: make(map[recentKey]string)}
	})
}

// Load gives the list its mask, by its first rule, and its room for times.
func (m Recent) Load(s *States) {
	l := m.list(s)
	if !l.masked {
		l.mask, l.masked = m.Mask, true
	}
	if n := m.HitCount; n > recentStamps {
		l.stamps = max(l.stamps, 1<<bits.Len32(n-1))
	}
}

// Ask looks the address up and changes the list.
func (m Recent) Ask(r Reader, _ string) Truth {
	addr, present := r.Field(m.side())
	if present != Yes {
		return present
	}
	ttl, ok := m.ttl(r)
	if !ok {
		return Unknown
	}
	l := m.list(r.States())
	if !l.masked {
		m.Load(r.States())
	}
	now := jiffies(r.Now())
	key := recentKey{addr.And(l.mask), m.IPv6}
	e := l.entries[key]
	if code := l.lost[key]; code != "" {
		declare(r, code)
	}
	if e != nil && m.CheckTTL && ttl != 0 && e.ttl != 0 && e.ttl != ttl {
		declare(r, "recent-ttl")
		e = nil
	}
	if e == nil {
		if m.Op != RecentSet {
			return Of(m.Negate)
		}
		l.add(key, ttl, now)
		return Of(!m.Negate)
	}

	l.unsure = l.unsure || (m.Op == RecentCheck || m.Op == RecentUpdate) && m.close(e, now)
	if l.unsure {
		doubt(r)
	}
	result := m.Negate
	switch m.Op {
	case RecentSet:
		result = !result
	case RecentRemove:
		l.remove(e)
		result = !result
	case RecentCheck, RecentUpdate:
		// The product wraps at 32 bits.
		oldest := now - int64(m.Seconds*HZ)
		if e.hit(m, oldest) {
			result = !result
		}
		if m.Reap {
			l.reap(oldest, e, m.Op == RecentUpdate && result)
		}
	}
	if m.Op == RecentSet || m.Op == RecentUpdate && result {
		l.touch(e, now)
		e.ttl = ttl
	}
	return Of(result)
}

// close reports whether one of the remembered times is about as old as the rule
// asks.
func (m Recent) close(e *recentEntry, now int64) bool {
	for _, stamp := range e.stamps[:e.filled] {
		age := now - stamp - int64(m.Seconds*HZ)
		if m.Seconds != 0 && max(age, -age) <= slack {
			return true
		}
	}
	return false
}

// ttl returns the TTL as the packet arrived with it: one more than now when a
// forwarded packet is already on its way out.
func (m Recent) ttl(r Reader) (ttl uint8, ok bool) {
	v, present := r.Field(Field{ID: TTL})
	if present != Yes {
		return 0, false
	}
	ttl = uint8(v.Lo)
	out, _ := r.Field(Field{ID: OutInterface})
	_, socket := r.Field(Field{ID: SocketExists})
	if socket == Unknown {
		return 0, false
	}
	if !out.IsZero() && socket == No {
		ttl++
	}
	return ttl, true
}

// hit reports whether enough of the remembered times are not before oldest.
func (e *recentEntry) hit(m Recent, oldest int64) bool {
	hits := uint32(0)
	for _, stamp := range e.stamps[:e.filled] {
		if m.Seconds != 0 && stamp < oldest {
			continue
		}
		if hits++; hits >= m.HitCount {
			return true
		}
	}
	return false
}

func (l *recentList) add(key recentKey, ttl uint8, now int64) {
	if len(l.byUpdate) >= recentListSize {
		l.lost[l.byUpdate[0].key] = "recent-list-size"
		l.remove(l.byUpdate[0])
	}
	e := &recentEntry{key: key, ttl: ttl, index: 1, filled: 1, stamps: make([]int64, l.stamps)}
	e.stamps[0] = now
	l.entries[key] = e
	l.byUpdate = append(l.byUpdate, e)
}

func (l *recentList) remove(e *recentEntry) {
	i := slices.Index(l.byUpdate, e)
	l.byUpdate = slices.Delete(l.byUpdate, i, i+1)
	delete(l.entries, e.key)
}

// touch remembers the present time and makes e the one seen last.
func (l *recentList) touch(e *recentEntry, now int64) {
	if e.index == len(e.stamps) {
		e.index = 0
	}
	e.stamps[e.index] = now
	e.index++
	e.filled = max(e.filled, e.index)
	i := slices.Index(l.byUpdate, e)
	l.byUpdate = append(slices.Delete(l.byUpdate, i, i+1), e)
}

// reap forgets the address seen the longest time ago when that was before
// oldest, unless it is the one about to be touched.
func (l *recentList) reap(oldest int64, working *recentEntry, touched bool) {
	e := l.byUpdate[0]
	if e == working && touched {
		return
	}
	if e.stamps[e.index-1] < oldest {
		l.lost[e.key] = "recent-reap"
		l.remove(e)
	}
}
