package kernel_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nftmigrate/equivalence"
	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// TestNames runs each name that both languages have for the same bits through
// both engines, which have to agree. The functions of both sides, with what Bind
// says of the packets, have to say what the kernel did, and have to be equal for
// all packets that can come there.
func TestNames(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("nft"),
		testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"))
	start := time.Now()
	rows, ran, hidden, skipped := 0, 0, 0, map[string]int{}
	for _, version := range []int{4, 6} {
		list := trials(version, rowsOf(version))
		for _, trial := range list {
			trial.open(t)
			trial.run(t)
			for i, r := range trial.rows {
				t.Run(fmt.Sprintf("IPv%d/%s", version, r.name), func(t *testing.T) { trial.check(t, i) })
			}
			rows += len(trial.rows)
			ran += len(trial.runs)
			hidden += trial.hidden
			for why, n := range trial.skipped {
				skipped[why] += n
			}
			for _, k := range trial.kernels {
				k.Close()
			}
		}
		t.Run(fmt.Sprintf("IPv%d/every byte", version), func(t *testing.T) { everyByte(t, list) })
		t.Run(fmt.Sprintf("IPv%d/exchanged names", version), func(t *testing.T) { exchangedNames(t, list) })
		t.Run(fmt.Sprintf("IPv%d/exchanged rules", version), func(t *testing.T) { exchangedRules(t, list) })
	}
	t.Logf("%d rows, %d packets through both engines in %v; %d that the stack dropped, %v that were not run",
		rows, ran, time.Since(start), hidden, skipped)
}

// A part is a part of a group that has a name of its own in a language: the
// source port is one of the transport header.
type part struct {
	group        symbolic.Group
	first, width int // bits
}

func whole(g symbolic.Group) part { return part{g, 0, g.Width()} }

func (p part) String() string {
	if p == whole(p.group) {
		return p.group.String()
	}
	return fmt.Sprintf("%v %d+%d", p.group, p.first, p.width)
}

func (p part) holds(g symbolic.Group, bit int) bool {
	return g == p.group && bit >= p.first && bit < p.first+p.width
}

// A row is one name of both languages.
type row struct {
	name string
	hook packet.Hook
	// parts are what both rules ask for.
	parts []part
	// iptables and nft are matches of the same packets. The marks that the
	// rules set are added.
	iptables, nft string
	// raw are rules of both languages before connection tracking, or empty.
	raw [2]string
	// declared are deviations that a translation of the rule declares.
	declared []string
	// setup rows of a kind run together, those that are alone by themselves.
	setup setup
	// samples run in this order.
	samples []sample
}

// A setup is how a row is run.
type setup uint8

const (
	shared    setup = iota
	alone           // its rule reads the mark, or drops
	early           // before connections are tracked, behind the rule of raw
	flowing         // connections are kept from packet to packet
	untracked       // connections are not tracked
)

// The two sides.
const (
	xtables = iota
	nftables
)

var sides = [2]string{"xtables", "nf_tables"}

// A renaming turns a variable into the one that is read for it.
type renaming func(l bdd.Level) bdd.Level

func asNamed(l bdd.Level) bdd.Level { return l }

// value is that of a variable of a packet: what Bind says, or what the sample
// says of the routing tables.
func (t *trial) value(r *run, side int, l bdd.Level) (bit, ok bool) {
	if t.space.Knows(l) {
		return r.values[side](l), true
	}
	g, place, _ := symbolic.GroupOf(l)
	kind, ok := r.sample.types[g]
	return kind>>(g.Width()-1-place)&1 == 1, ok
}

// follow is the end of a function for a packet on one side. ok is false when the
// function asks for something that nobody said of the packet.
func (t *trial) follow(f bdd.Ref, r *run, side int, names renaming) (end bdd.Ref, ok bool) {
	for !t.space.IsTerminal(f) {
		bit, known := t.value(r, side, names(t.space.Level(f)))
		switch {
		case !known:
			return f, false
		case bit:
			f = t.space.High(f)
		default:
			f = t.space.Low(f)
		}
	}
	return f, true
}

// predict is the leaf of a function for a packet on one side, and the mark that
// it leaves.
func (t *trial) predict(f bdd.Ref, r *run, side int, names renaming) (leaf symbolic.Leaf, mark uint32, ok bool) {
	s := t.space
	end, ok := t.follow(f, r, side, names)
	if !ok {
		return leaf, 0, false
	}
	v, _ := s.Value(end)
	leaf = s.LeafOf(v)
	value := func(l bdd.Level) bool {
		bit, _ := t.value(r, side, names(l))
		return bit
	}
	for _, l := range s.Levels(symbolic.Mark) {
		bit := value(l)
		if c, written := s.Written(leaf.Effect, l); written {
			if from, complement, isOld := c.Variable(); isOld {
				bit = value(from) != complement
			} else {
				bit = c == symbolic.One
			}
		}
		mark <<= 1
		if bit {
			mark |= 1
		}
	}
	return leaf, mark, true
}

// mismatch says in what a function of a row is not what the kernel did with a
// packet, or is "".
func (t *trial) mismatch(row int, f bdd.Ref, r *run, side int, names renaming) string {
	leaf, mark, known := t.predict(f, r, side, names)
	fate := r.fates[side]
	mask, _ := t.marks(row)
	switch {
	case !known && r.row != row:
		return "" // a packet of another row
	case !known:
		return "the type of an address is not said"
	case leaf.Verdict == symbolic.Undecided:
		return "the function is undecided: " + leaf.Why
	case (leaf.Verdict == symbolic.Drop) != (fate.Verdict == packet.Drop):
		return fmt.Sprintf("the function says %v, the kernel %v", leaf.Verdict, fate.Verdict)
	case fate.Verdict != packet.Drop && mark&mask != fate.Mark&mask:
		return fmt.Sprintf("the function says mark %#x, the kernel %#x", mark&mask, fate.Mark&mask)
	}
	return ""
}

// matched reports whether the rule of a row matched a packet in the kernel.
func (t *trial) matched(row int, r *run) bool {
	mask, value := t.marks(row)
	return !r.sample.hotdrop && r.fates[xtables].Mark&mask == value
}

// accepts says whether a row may differ by a deviation (docs/deviations.md): one
// of the engines, or one that it declares.
func (r *row) accepts(code string) bool {
	return code == "hotdrop" || code == "ipv6-ah" || slices.Contains(r.declared, code)
}

// domain holds for the packets that can come to where a row stands.
func (t *trial) domain(row int) bdd.Ref {
	r := t.rows[row]
	at := symbolic.Situation{Hook: r.hook, Early: r.setup == early, Tracked: r.setup != untracked, Accepts: r.accepts}
	d, _ := t.space.Domain(at, t.functions[row][xtables], t.functions[row][nftables])
	return d
}

// about reports whether a packet is one of a row's.
func (t *trial) about(row int, r *run) bool { return r.row == row || t.rows[row].setup == flowing }

// check holds the names of one row against the kernel.
func (t *trial) check(tb testing.TB, row int) {
	const enough = 5
	findings := 0
	found := func(r *run, format string, args ...any) {
		if findings++; findings <= enough {
			p, _ := r.sample.make(t.host)
			tb.Errorf("%v (of %q): %s", p, t.rows[r.row].name, fmt.Sprintf(format, args...))
		}
	}
	var matching, others int
	domain := t.domain(row)
	for _, r := range t.runs {
		x, n := r.fates[xtables], r.fates[nftables]
		if !r.sample.hotdrop && (x.Verdict != n.Verdict || x.Last != n.Last || x.Mark != n.Mark) {
			found(r, "the engines disagree: %s, %s", equivalence.Describe(x), equivalence.Describe(n))
		}
		for side, f := range t.functions[row] {
			if in, ok := t.follow(domain, r, side, asNamed); ok && in != bdd.True {
				found(r, "%s: the packet came there and is not of the domain", sides[side])
			}
			if why := t.mismatch(row, f, r, side, asNamed); why != "" {
				found(r, "%s: %s", sides[side], why)
			}
			model, fate := r.models[side], r.fates[side]
			if mask, _ := t.marks(row); fate.Verdict == packet.Accept && model.Mark&mask != fate.Mark&mask {
				found(r, "%s: the machine says mark %#x, the kernel %#x", sides[side], model.Mark&mask, fate.Mark&mask)
			}
		}
		switch {
		case !t.about(row, r):
		case t.matched(row, r):
			matching++
		default:
			others++
		}
	}
	if findings > enough {
		tb.Errorf("and %d more", findings-enough)
	}
	if matching == 0 || others == 0 {
		tb.Errorf("of its packets %d match and %d do not; both kinds must have run", matching, others)
	}
	for _, c := range t.space.Compare(t.functions[row][xtables], t.functions[row][nftables], domain, t.rows[row].accepts) {
		if c.Relation == symbolic.Explained {
			continue
		}
		path, _ := t.space.Pick(c.Where, func(bdd.Level) bool { return false })
		tb.Errorf("the functions are unlike (relation %d, %s) where %s", c.Relation, c.Why, t.words(path))
	}
	for _, p := range t.rows[row].parts {
		for side, f := range t.functions[row] {
			if !slices.ContainsFunc(t.space.Support(f), func(l bdd.Level) bool { return t.partHolds(p, l) }) {
				tb.Errorf("the function of %s does not ask for %v", sides[side], p)
			}
		}
	}
}

func (t *trial) partHolds(p part, l bdd.Level) bool {
	g, bit, ok := symbolic.GroupOf(l)
	return ok && p.holds(g, bit)
}

// words are the values of groups on a path.
func (t *trial) words(path map[bdd.Level]bool) string {
	values := map[string]string{}
	var levels []bdd.Level
	for l := range path {
		levels = append(levels, l)
	}
	slices.Sort(levels)
	var order []string
	for _, l := range levels {
		g, bit, _ := symbolic.GroupOf(l)
		if values[g.String()] == "" {
			order = append(order, g.String())
			values[g.String()] = fmt.Sprintf("bits from %d ", bit)
		}
		values[g.String()] += map[bool]string{true: "1", false: "0"}[path[l]]
	}
	for i, g := range order {
		order[i] = g + " " + values[g]
	}
	return strings.Join(order, ", ")
}
