package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/ipsetlink"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/xtables"
)

// A Part is one thing that a snapshot can be restored of: a table, or a set.
type Part struct {
	// Name is what [TableName], [LegacyName] and [SetName] return.
	Name string
	// Hash identifies what it does with packets.
	Hash string
}

// How names of parts begin.
const (
	tablePrefix  = "nf_tables table "
	legacyPrefix = "legacy table "
	setPrefix    = "ipset "
)

// families are the words for families of nf_tables.
var families = map[uint8]string{
	unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_ARP: "arp",
	unix.NFPROTO_NETDEV: "netdev", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_IPV6: "ip6",
}

// legacyFamilies are the words for families of legacy xtables.
var legacyFamilies = map[uint8]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_ARP: "arp"}

// TableName is the name of a part that is a table of nf_tables: "nf_tables table
// inet firewall".
func TableName(t nfnetlink.Table) string {
	family, ok := families[t.Family]
	if !ok {
		family = fmt.Sprint(t.Family)
	}
	return tablePrefix + family + " " + t.Name
}

// LegacyName is the name of a part that is a table of legacy xtables: "legacy
// table ip filter".
func LegacyName(family uint8, name string) string {
	return legacyPrefix + legacyFamilies[family] + " " + name
}

// SetName is the name of a part that is a set of ipset: "ipset hosts".
func SetName(name string) string { return setPrefix + name }

// A reference is what the name of a part means.
type reference struct {
	table  nfnetlink.Table // of nf_tables
	family uint8           // of a legacy table
	legacy string
	set    string
}

func parsePart(name string) (reference, error) {
	family := func(rest string, words map[uint8]string) (uint8, string) {
		word, name, _ := strings.Cut(rest, " ")
		for number, w := range words {
			if w == word {
				return number, name
			}
		}
		return 0, ""
	}
	var r reference
	if rest, ok := strings.CutPrefix(name, tablePrefix); ok {
		r.table.Family, r.table.Name = family(rest, families)
	} else if rest, ok := strings.CutPrefix(name, legacyPrefix); ok {
		r.family, r.legacy = family(rest, legacyFamilies)
	} else if rest, ok := strings.CutPrefix(name, setPrefix); ok {
		r.set = rest
	}
	if r == (reference{}) || r.table.Name == "" && r.legacy == "" && r.set == "" {
		return r, fmt.Errorf("%q is no part of a snapshot", name)
	}
	return r, nil
}

// Fingerprint returns the parts with a hash of each: sets, legacy tables, tables of
// nf_tables, each in order of their names. What packets and time change does not
// count: counters, what is left of timeouts, the private state of matches, and the
// elements of sets that packets fill or that expire.
func (s *Snapshot) Fingerprint() []Part { return s.fingerprint(s.moving()) }

func (s *Snapshot) fingerprint(moving map[string]bool) []Part {
	parts := []Part{}
	for _, set := range s.Sets {
		hash := set.Fingerprint(moving[set.Name])
		parts = append(parts, Part{SetName(set.Name), hex.EncodeToString(hash[:])})
	}
	for _, t := range s.Legacy {
		hash := t.Fingerprint()
		parts = append(parts, Part{LegacyName(t.Family(), t.Name()), hex.EncodeToString(hash[:])})
	}
	for table, messages := range byTable(s.Ruleset) {
		parts = append(parts, Part{TableName(table), hashOf(messages, s.numbered)})
	}
	slices.SortFunc(parts, func(a, b Part) int { return strings.Compare(a.Name, b.Name) })
	return parts
}

// Parts returns the names of all parts.
func (s *Snapshot) Parts() []string {
	var names []string
	for _, p := range s.Fingerprint() {
		names = append(names, p.Name)
	}
	return names
}

// hashes returns the hashes of parts by their names. Sets that move in one of the
// snapshots to compare move in both.
func (s *Snapshot) hashes(moving map[string]bool) map[string]string {
	hashes := map[string]string{}
	for _, p := range s.fingerprint(moving) {
		hashes[p.Name] = p.Hash
	}
	return hashes
}

// hashOf returns the hash of messages of nf_tables, in which sets of ipset count
// by their names.
func hashOf(messages []netlink.Message, numbered map[uint16]string) string {
	h := sha256.New()
	for _, m := range normal(messages, numbered, h) {
		fmt.Fprintf(h, "%d %d\n", m.Header.Type, len(m.Data))
		h.Write(m.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// normal returns messages in a form that is the same for the same rules; names
// of sets of ipset are written to w instead of their numbers.
func normal(messages []netlink.Message, numbered map[uint16]string, w io.Writer) []netlink.Message {
	all := nfnetlink.Normalise(messages, 0)
	eachSetNumber(all, func(number []byte, _ bool) {
		fmt.Fprintf(w, "%q\n", numbered[byteOrder.Uint16(number)])
		byteOrder.PutUint16(number, 0)
	})
	return all
}

// moving returns the sets whose elements expire, or are changed by rules.
func (s *Snapshot) moving() map[string]bool {
	moving := map[string]bool{}
	for _, set := range s.Sets {
		moving[set.Name] = set.Expires()
	}
	for _, t := range s.Legacy {
		for _, name := range t.Filled() {
			moving[name] = true
		}
	}
	eachSetNumber(s.Ruleset, func(number []byte, changes bool) {
		if changes {
			moving[s.numbered[byteOrder.Uint16(number)]] = true
		}
	})
	return moving
}

// movingIn returns the sets that move in any of some snapshots.
func movingIn(snapshots ...*Snapshot) map[string]bool {
	moving := map[string]bool{}
	for _, s := range snapshots {
		for name, moves := range s.moving() {
			moving[name] = moving[name] || moves
		}
	}
	return moving
}

// set returns a set by its name, nil when there is none.
func (s *Snapshot) set(name string) *ipsetlink.Set {
	if i := slices.IndexFunc(s.Sets, func(set *ipsetlink.Set) bool { return set.Name == name }); i >= 0 {
		return s.Sets[i]
	}
	return nil
}

// legacy returns a legacy table, nil when there is none.
func (s *Snapshot) legacy(family uint8, name string) *xtables.Table {
	i := slices.IndexFunc(s.Legacy, func(t *xtables.Table) bool { return t.Family() == family && t.Name() == name })
	if i >= 0 {
		return s.Legacy[i]
	}
	return nil
}

// Changed says, for people, what is different in a second snapshot. It is empty
// when both have the same fingerprints.
func Changed(before, after *Snapshot) []string {
	moving := movingIn(before, after)
	was, is := before.hashes(moving), after.hashes(moving)
	all := maps.Clone(was)
	maps.Copy(all, is)
	var words []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch {
		case was[name] == is[name]:
		case was[name] == "":
			words = append(words, name+" was added")
		case is[name] == "":
			words = append(words, name+" was removed")
		default:
			words = append(words, name+" changed: "+strings.Join(details(before, after, name), ", "))
		}
	}
	return words
}

// details says how a part that both snapshots have changed.
func details(before, after *Snapshot, name string) []string {
	r, _ := parsePart(name)
	var words []string
	switch {
	case r.set != "":
		a, b := before.set(r.set), after.set(r.set)
		if a.Fingerprint(true) != b.Fingerprint(true) {
			words = append(words, "its type or options")
		}
		count := func(set *ipsetlink.Set) (all []string) {
			for _, e := range set.Sorted() {
				all = append(all, string(e))
			}
			return all
		}
		words = append(words, compared("element", count(a), count(b))...)
	case r.legacy != "":
		words = legacyDetails(before.legacy(r.family, r.legacy), after.legacy(r.family, r.legacy))
	default:
		words = tableDetails(before, after, r.table)
	}
	if len(words) == 0 {
		words = []string{"the order of its parts"}
	}
	return words
}

func legacyDetails(a, b *xtables.Table) []string {
	var words []string
	policies := b.Policies()
	for i, p := range a.Policies() {
		if i < len(policies) && policies[i] != p {
			words = append(words, fmt.Sprintf("the policy of %s was %s and is %s", p.Chain, p.Policy, policies[i].Policy))
		}
	}
	rulesA, chainsA := a.Size()
	rulesB, chainsB := b.Size()
	switch {
	case rulesA != rulesB:
		words = append(words, fmt.Sprintf("it had %d rules and has %d", rulesA, rulesB))
	case chainsA == chainsB && !xtables.Policies(a, xtables.Accept).Equal(xtables.Policies(b, xtables.Accept)):
		words = append(words, "rules are others than before")
	}
	if chainsA != chainsB {
		words = append(words, fmt.Sprintf("it had %d chains of its own and has %d", chainsA, chainsB))
	}
	return words
}

// nouns are the words for messages of nf_tables, and whether several make up one
// thing.
var nouns = map[int]struct {
	word string
	list string // what there can be several of, in the thing of that word
}{
	unix.NFT_MSG_NEWTABLE:     {"the flags of the table", ""},
	unix.NFT_MSG_NEWCHAIN:     {"chain", ""},
	unix.NFT_MSG_NEWRULE:      {"chain", "rule"},
	unix.NFT_MSG_NEWSET:       {"set", ""},
	unix.NFT_MSG_NEWSETELEM:   {"set", "element"},
	unix.NFT_MSG_NEWOBJ:       {"object", ""},
	unix.NFT_MSG_NEWFLOWTABLE: {"flowtable", ""},
}

func tableDetails(before, after *Snapshot, table nfnetlink.Table) []string {
	type thing struct{ word, list string }
	collect := func(s *Snapshot) map[thing][]string {
		things := map[thing][]string{}
		messages := normal(byTable(s.Ruleset)[table], s.numbered, io.Discard)
		for _, m := range messages {
			kind, _ := nfnetlink.Kind(m)
			n := nouns[kind]
			word, attribute := n.word, uint16(2)
			if kind == unix.NFT_MSG_NEWCHAIN {
				attribute = unix.NFTA_CHAIN_NAME
			}
			if kind != unix.NFT_MSG_NEWTABLE {
				word += " " + nfnetlink.FindString(nfnetlink.Attributes(m), attribute)
			}
			at := thing{word, n.list}
			things[at] = append(things[at], string(m.Data))
		}
		return things
	}
	a, b := collect(before), collect(after)
	all := maps.Clone(a)
	maps.Copy(all, b)
	var words []string
	for _, at := range slices.SortedFunc(maps.Keys(all), func(x, y thing) int { return strings.Compare(x.word+"\x00"+x.list, y.word+"\x00"+y.list) }) {
		was, is := a[at], b[at]
		switch {
		case slices.Equal(was, is):
		case at.list != "":
			for _, c := range compared(at.list, was, is) {
				words = append(words, at.word+": "+c)
			}
		case len(was) == 0:
			words = append(words, at.word+" was added")
		case len(is) == 0:
			words = append(words, at.word+" was removed")
		default:
			words = append(words, at.word+" changed")
		}
	}
	return words
}

// compared says how many of a list were added and removed, or that their order
// changed.
func compared(noun string, was, is []string) []string {
	if slices.Equal(was, is) {
		return nil
	}
	count := map[string]int{}
	for _, x := range was {
		count[x]--
	}
	for _, x := range is {
		count[x]++
	}
	added, removed := 0, 0
	for _, n := range count {
		added, removed = added+max(n, 0), removed+max(-n, 0)
	}
	switch {
	case added == 0 && removed == 0:
		return []string{"the order of its " + noun + "s"}
	case removed == 0:
		return []string{several(added, noun) + " added"}
	case added == 0:
		return []string{several(removed, noun) + " removed"}
	}
	return []string{fmt.Sprintf("%s added and %d removed", several(added, noun), removed)}
}

// several is "1 rule was" or "2 rules were".
func several(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " was"
	}
	return fmt.Sprintf("%d %ss were", n, noun)
}
