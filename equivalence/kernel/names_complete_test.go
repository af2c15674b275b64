package kernel_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// An excuse says why no row is about a group.
type excuse struct {
	group symbolic.Group
	why   string
	// word is one that the sources, by a pattern, do not hold as long as the excuse
	// is true.
	sources, word string
}

// oneSided is the excuse of a group that iptsim never names.
func oneSided(g symbolic.Group, word string) excuse {
	return excuse{g, "only nftables has a name for it", "../iptsim/*.go", "symbolic." + word}
}

// unread is the excuse of a group whose field no match of iptables reads.
func unread(g symbolic.Group, match, word string) excuse {
	return excuse{g, "no iptables match that is modelled reads it (it would be " + match + ")", "../../extension/match_*.go", "predicate." + word}
}

// unsent is the excuse of the groups of IPv6 authentication headers, of which the
// engines make different protocols (deviation ipv6-ah).
func unsent(g symbolic.Group) excuse {
	return excuse{g, "no row sends packets with an authentication header; TestConfirm/match_ah6 does", "*.go", "packet.AH"}
}

// archived is the excuse of a group whose names an archive runs through the kernel.
func archived(g symbolic.Group, archive string) excuse {
	return excuse{g, "TestConfirm/" + archive + " runs it", "doc.go", "CTLabels"}
}

// unsecured is the excuse of what is told of IPsec.
func unsecured(g symbolic.Group) excuse {
	return excuse{g, "no host of the tests has IPsec", "../../packet/*.go", "IPsec"}
}

// listened is the excuse of what is told of local sockets, which TestSocket of package
// extension opens.
func listened(g symbolic.Group) excuse {
	return excuse{g, "no socket of a host takes packets; TestSocket opens some", "../../packet/*.go", "Listener"}
}

var excuses = []excuse{
	{symbolic.Hook, "a stage stands at one hook, which AtStage fixes", "../iptsim/*.go", "symbolic.Hook"},
	unsent(symbolic.BehindAuth), unsent(symbolic.Auth), oneSided(symbolic.NetworkRest, "NetworkRest"),
	oneSided(symbolic.OutType, "OutType"), oneSided(symbolic.HeaderWords, "HeaderWords"), oneSided(symbolic.NextHeader, "NextHeader"), oneSided(symbolic.PacketBytes, "PacketBytes"),
	archived(symbolic.SocketClass, "match_cgroup"), archived(symbolic.Chunk, "match_sctp_chunks"), archived(symbolic.ChunksCut, "match_sctp_chunks"),
	unsecured(symbolic.TransformsIn), unsecured(symbolic.TransformsOut), unsecured(symbolic.RequestsIn), unsecured(symbolic.RequestsOut),
	listened(symbolic.Taker), listened(symbolic.TakerWhole), listened(symbolic.TakerTransparent), listened(symbolic.TakerWildcard), listened(symbolic.TakerMark),
	{symbolic.Realm, "no route of a host has a realm", "../../packet/*.go", "Realm"},
	{symbolic.Clock, "no namespace has a clock of its own", "machine.go", "Clock"}, {symbolic.ClockSecond, "likewise", "machine.go", "Clock"}, {symbolic.ClockDay, "likewise", "machine.go", "Clock"},
	oneSided(symbolic.CTZone, "CTZone"), archived(symbolic.Secmark, "target_connsecmark"), archived(symbolic.CTSecmark, "target_connsecmark"), archived(symbolic.Given, "target_ct_helper"), oneSided(symbolic.Helped, "Helped"),
	archived(symbolic.CTLabels, "match_connlabel"), archived(symbolic.CTHasHelper, "match_helper"), archived(symbolic.CTHelper, "match_helper"),
	unread(symbolic.MoreFragments, "frag", "MoreFragments"),
	unread(symbolic.PathMSS, "none", "PathMSS"), unread(symbolic.Priority, "none", "Priority"),
}

// TestNamesComplete wants a row, or an excuse that is still true, for each group
// of variables.
func TestNamesComplete(t *testing.T) {
	named := map[symbolic.Group]bool{}
	for _, version := range []int{4, 6} {
		for _, r := range rowsOf(version) {
			for _, p := range r.parts {
				named[p.group] = true
			}
		}
	}
	for _, gap := range gaps(t, named, excuses) {
		t.Error(gap)
	}
	// What it looks for it finds.
	delete(named, symbolic.TTL)
	lost := append(slices.Clone(excuses[1:]), oneSided(symbolic.TTL, "TTL"), unread(symbolic.Source, "s", "SrcAddr"))
	if found := gaps(t, named, lost); len(found) != 3 {
		t.Errorf("planted 3 gaps, found %q", found)
	}
}

// gaps says what is wrong with the groups that have a row and the excuses for
// the others.
func gaps(tb testing.TB, named map[symbolic.Group]bool, excuses []excuse) []string {
	tb.Helper()
	var list []string
	unnamed := regexp.MustCompile(`^group \d+$`)
	for g := symbolic.Group(1); !unnamed.MatchString(g.String()); g++ {
		i := slices.IndexFunc(excuses, func(e excuse) bool { return e.group == g })
		switch {
		case named[g] && i >= 0:
			list = append(list, fmt.Sprintf("%v has a row and an excuse", g))
		case named[g]:
		case i < 0:
			list = append(list, fmt.Sprintf("%v has no row that runs its names through the kernel, and no excuse", g))
		default:
			if file := holding(tb, excuses[i].sources, excuses[i].word); file != "" {
				list = append(list, fmt.Sprintf("%v is excused because %s, but %s holds %s", g, excuses[i].why, file, excuses[i].word))
			}
		}
	}
	return list
}

// holding is a source file, other than tests, that holds a word.
func holding(tb testing.TB, sources, word string) string {
	tb.Helper()
	files, err := filepath.Glob(sources)
	if err != nil || len(files) == 0 {
		tb.Fatalf("no sources %s: %v", sources, err)
	}
	whole := regexp.MustCompile(`\b` + regexp.QuoteMeta(word) + `\b`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		if whole.Match(text) {
			return file
		}
	}
	return ""
}

// unseen are bytes of numbers, the last byte being 0, of which no bit takes both
// values in the kernel, or which the rules of one language do not read.
var unseen = map[symbolic.Group]struct {
	bytes []int
	why   string
}{
	symbolic.InName:        {[]int{1}, "there are few classes of device names"},
	symbolic.OutName:       {[]int{1}, "there are few classes of device names"},
	symbolic.Notrack:       {[]int{0}, "where nf_tables reads it, a rule of the same stage set it"},
	symbolic.Template:      {[]int{0}, "where a rule reads it, a rule of the same stage set it"},
	symbolic.CTStatus:      {[]int{1, 2, 3}, "iptables reads the first six bits"},
	symbolic.Length:        {[]int{2, 3}, "a packet has at most 65,575 bytes"},
	symbolic.CPU:           {[]int{1, 2, 3}, "there are few"},
	symbolic.CTPacketsOrig: {[]int{2, 3, 4, 5, 6, 7}, "the kernel lets nobody set counters"},
	symbolic.CTPacketsRepl: {[]int{2, 3, 4, 5, 6, 7}, "the kernel lets nobody set counters"},
	symbolic.CTPacketsBoth: {[]int{2, 3, 4, 5, 6, 7}, "the kernel lets nobody set counters"},
	symbolic.CTBytesOrig:   {[]int{3, 4, 5, 6, 7}, "the kernel lets nobody set counters"},
	symbolic.CTBytesRepl:   {[]int{3, 4, 5, 6, 7}, "the kernel lets nobody set counters"},
	symbolic.CTBytesBoth:   {[]int{3, 4, 5, 6, 7}, "the kernel lets nobody set counters"},
	symbolic.CTAverageOrig: {[]int{2, 3, 4, 5, 6, 7}, "a packet has at most 65,575 bytes"},
	symbolic.CTAverageRepl: {[]int{2, 3, 4, 5, 6, 7}, "a packet has at most 65,575 bytes"},
	symbolic.CTAverageBoth: {[]int{2, 3, 4, 5, 6, 7}, "a packet has at most 65,575 bytes"},
}

// partsOf lists the parts of trials, as wide as the version has them.
func partsOf(trials []*trial) []part {
	var list []part
	for _, t := range trials {
		for _, r := range t.rows {
			for _, p := range r.parts {
				if p == whole(p.group) {
					levels := t.space.Levels(p.group)
					_, first, _ := symbolic.GroupOf(levels[0])
					p.first, p.width = first, len(levels)
				}
				if !slices.Contains(list, p) {
					list = append(list, p)
				}
			}
		}
	}
	return list
}

// everyByte wants of each byte of each part a row that reads it on both sides,
// and two packets of the row that differ in it, unless some cannot be run here.
func everyByte(tb testing.TB, trials []*trial) {
	for _, p := range partsOf(trials) {
		seen, lost := map[int]bool{}, false
		for _, t := range trials {
			for i, r := range t.rows {
				if slices.ContainsFunc(r.parts, func(q part) bool { return q.group == p.group }) {
					t.seenBytes(i, p, seen)
					lost = lost || t.lost[r]
				}
			}
		}
		for at := range (p.width + 7) / 8 {
			if dark := slices.Contains(unseen[p.group].bytes, at); dark == seen[at] && (dark || !lost) {
				tb.Errorf("%v: byte %d from its end is seen %v, listed as unseen %v", p, at, seen[at], dark)
			}
		}
	}
}

// seenBytes notes the bytes of a part that a row reads and its packets differ
// in.
func (t *trial) seenBytes(row int, p part, seen map[int]bool) {
	f, g := t.functions[row][0], t.functions[row][1]
	read := t.space.Support(g)
	for _, l := range t.space.Support(f) {
		if !slices.Contains(read, l) || !t.partHolds(p, l) {
			continue
		}
		_, bit, _ := symbolic.GroupOf(l)
		var values [2]bool
		for _, r := range t.runs {
			if !t.about(row, r) {
				continue
			}
			if v, ok := t.value(r, 0, l); ok && v {
				values[1] = true
			} else if ok {
				values[0] = true
			}
		}
		if values[0] && values[1] {
			seen[(p.first+p.width-1-bit)/8] = true
		}
	}
}

// exchanged reads one part for another.
func exchanged(a, b part) renaming {
	return func(l bdd.Level) bdd.Level {
		g, bit, ok := symbolic.GroupOf(l)
		switch {
		case ok && a.holds(g, bit):
			return b.group.Level(b.first + bit - a.first)
		case ok && b.holds(g, bit):
			return a.group.Level(a.first + bit - b.first)
		}
		return l
	}
}

// alike are parts whose exchange no packet can show.
var alike = [][2]symbolic.Group{
	{symbolic.HasSocket, symbolic.HasFile}, // nobody can make a socket of the kernel's own
	{symbolic.Template, symbolic.Notrack},  // both are 0 until a rule of the stage that reads them sets them
}

// exchangedNames plants a bug: what Bind says of two parts is exchanged. A packet
// of some row must show it, whichever two they are.
func exchangedNames(tb testing.TB, trials []*trial) {
	list := partsOf(trials)
	pairs := 0
	for i, a := range list {
		for _, b := range list[:i] {
			overlap := a.group == b.group && a.first < b.first+b.width && b.first < a.first+a.width
			hidden := slices.ContainsFunc(alike, func(p [2]symbolic.Group) bool {
				return p == [2]symbolic.Group{a.group, b.group} || p == [2]symbolic.Group{b.group, a.group}
			})
			if a.width != b.width || overlap || hidden {
				continue
			}
			pairs++
			if !shown(trials, exchanged(a, b), a, b) {
				tb.Errorf("nothing shows that %v and %v are exchanged", a, b)
			}
		}
	}
	tb.Logf("%d pairs", pairs)
}

// shown reports whether a packet of a row about one of the parts is not as its
// function says under other names.
func shown(trials []*trial, names renaming, about ...part) bool {
	for _, t := range trials {
		for row, of := range t.rows {
			if !slices.ContainsFunc(of.parts, func(p part) bool {
				return slices.ContainsFunc(about, func(q part) bool { return p.group == q.group })
			}) {
				continue
			}
			for _, r := range t.runs {
				if t.about(row, r) && (t.mismatch(row, t.functions[row][xtables], r, xtables, names) != "" ||
					t.mismatch(row, t.functions[row][nftables], r, nftables, names) != "") {
					return true
				}
			}
		}
	}
	return false
}

// exchangedRules plants another bug: the function of a row is that of another
// row. Where the two are not the same, packets must show it.
func exchangedRules(tb testing.TB, trials []*trial) {
	pairs, same := 0, 0
	for _, t := range trials {
		var matching, said [][]bool // by row and run: what the kernel did, and what the function says
		var where []bdd.Ref
		for row := range t.rows {
			var did, says []bool
			for _, r := range t.runs {
				_, value := t.marks(row)
				_, mark, ok := t.predict(t.functions[row][xtables], r, xtables, asNamed)
				did, says = append(did, t.matched(row, r)), append(says, ok && mark&value == value)
			}
			matching, said, where = append(matching, did), append(said, says), append(where, t.where(row))
		}
		for row := range t.rows {
			for other := range t.rows {
				switch {
				case row == other:
				case !slices.Equal(matching[row], said[other]):
					pairs++
				case t.space.And(t.domain(row), t.space.Xor(where[row], where[other])) == bdd.False:
					same++
				default:
					tb.Errorf("nothing shows that the function of %q is that of %q", t.rows[row].name, t.rows[other].name)
				}
			}
		}
	}
	tb.Logf("%d pairs, and %d that are the same", pairs, same)
}

// where holds for the packets that the iptables rule of a row matches.
func (t *trial) where(row int) bdd.Ref {
	return t.space.Map(t.space.Flag(func(l symbolic.Leaf) bool { return len(t.space.WrittenLevels(l.Effect)) > 0 }), t.functions[row][xtables])
}
