package host

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/snapshot"
)

// A Plane is where the rules of iptables are: the legacy tables of the kernel, or
// tables of nf_tables.
type Plane string

// The planes.
const (
	Legacy Plane = "iptables-legacy"
	NFT    Plane = "iptables-nft"
)

// A Family is the rules of one family as they are in one plane.
type Family struct {
	// Version is 4 or 6.
	Version int
	Plane   Plane
	// Parts are the tables that decide anything, as parts of a snapshot.
	Parts []string
}

// claimed are the names of the tables of iptables, in the order in which packets meet
// them.
var claimed = []string{"raw", "mangle", "nat", "filter", "security"}

var versions = map[uint8]int{unix.NFPROTO_IPV4: 4, unix.NFPROTO_IPV6: 6}

// InUse lists the families that have rules, with the planes and the tables that
// they are in. A family that has rules in both planes is
// there twice: packets go through both.
func InUse(s *snapshot.Snapshot) []Family {
	var list []Family
	note := func(version int, plane Plane, part string) {
		i := slices.IndexFunc(list, func(f Family) bool { return f.Version == version && f.Plane == plane })
		if i < 0 {
			i, list = len(list), append(list, Family{Version: version, Plane: plane})
		}
		list[i].Parts = append(list[i].Parts, part)
	}
	for _, t := range s.Legacy {
		if v := versions[t.Family()]; v != 0 && !t.Idle() {
			note(v, Legacy, snapshot.LegacyName(t.Family(), t.Name()))
		}
	}
	for _, t := range (&nfnetlink.Dump{Messages: s.Ruleset}).Tables() {
		if v := versions[t.Family]; v != 0 && slices.Contains(claimed, t.Name) && ofIPTables(s, t) && decides(s, t) {
			note(v, NFT, snapshot.TableName(t))
		}
	}
	slices.SortFunc(list, func(a, b Family) int {
		return cmp.Or(a.Version-b.Version, strings.Compare(string(a.Plane), string(b.Plane)))
	})
	return list
}

// builtin are the names of the chains that iptables has at hooks.
var builtin = []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// ofIPTables reports whether a table of nf_tables that has a name of iptables is one:
// people name tables "filter", too. Those of iptables have its chains at the hooks, and
// no sets, maps and objects with names.
func ofIPTables(s *snapshot.Snapshot, t nfnetlink.Table) bool {
	const anonymous = 1 // NFT_SET_ANONYMOUS
	for _, m := range s.Ruleset {
		if nfnetlink.TableOf(m) != t {
			continue
		}
		attrs := nfnetlink.Attributes(m)
		switch kind, _ := nfnetlink.Kind(m); kind {
		case unix.NFT_MSG_NEWCHAIN:
			if nfnetlink.Find(attrs, unix.NFTA_CHAIN_HOOK) != nil && !slices.Contains(builtin, nfnetlink.FindString(attrs, unix.NFTA_CHAIN_NAME)) {
				return false
			}
		case unix.NFT_MSG_NEWSET:
			if nfnetlink.Number(attrs, unix.NFTA_SET_FLAGS)&anonymous == 0 {
				return false
			}
		case unix.NFT_MSG_NEWOBJ, unix.NFT_MSG_NEWFLOWTABLE:
			return false
		}
	}
	return true
}

// decides reports whether a table of nf_tables has a rule, or a policy that drops.
func decides(s *snapshot.Snapshot, t nfnetlink.Table) bool {
	const drop = 0 // NF_DROP
	for _, m := range s.Ruleset {
		if nfnetlink.TableOf(m) != t {
			continue
		}
		switch kind, _ := nfnetlink.Kind(m); kind {
		case unix.NFT_MSG_NEWRULE:
			return true
		case unix.NFT_MSG_NEWCHAIN:
			attrs := nfnetlink.Attributes(m)
			if nfnetlink.Find(attrs, unix.NFTA_CHAIN_POLICY) != nil && nfnetlink.Number(attrs, unix.NFTA_CHAIN_POLICY) == drop {
				return true
			}
		}
	}
	return false
}

// A MissingError says that a program is missing that tells the rules.
type MissingError struct {
	Program string
	Err     error
}

// Error names the program.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is needed to read the rules: %v", e.Program, e.Err)
}

// Unwrap returns why it is known to be missing.
func (e *MissingError) Unwrap() error { return e.Err }

// ErrDump is wrapped when what a tool tells of the rules is not what the kernel
// holds.
var ErrDump = errors.New("the tool does not tell what the kernel holds")

// Rules reads the text of a family that InUse listed. The tools end with success on
// a full disk and print wrong text for rules they do not know, so the text is
// loaded again in a namespace of its own and compared with the snapshot; when that
// is something else, the error wraps ErrDump. sets is what "ipset save" tells of the
// sets that rules name, nil without.
//
// Known case: iptables-nft 1.8.8 prints other ports and addresses for rules with
// marks (netfilter bug 1642).
func Rules(ctx context.Context, ns *netns.NS, s *snapshot.Snapshot, f Family, sets []byte) ([]byte, error) {
	tool := "iptables"
	if f.Version == 6 {
		tool = "ip6tables"
	}
	tool += map[Plane]string{Legacy: "-legacy", NFT: "-nft"}[f.Plane]
	text, err := run(ns, tool+"-save", nil, "-c")
	if err != nil {
		return nil, err
	}
	// Tables that decide nothing are left out, so that they are not emptied.
	text, err = only(text, f.Parts)
	if err != nil {
		return nil, fmt.Errorf("%s-save: %w", tool, err)
	}
	again, err := loaded(ctx, tool+"-restore", text, sets)
	if err != nil {
		return nil, err
	}
	here, there := hashes(s), hashes(again)
	for _, part := range f.Parts {
		if here[part] != there[part] {
			return nil, fmt.Errorf("%s-save: %s: %w: loaded again, it is something else. %s\nSave the rules by another version of iptables, check them, and give the file", tool, part, ErrDump, strings.Join(snapshot.Changed(s, again), "; "))
		}
	}
	return text, nil
}

func hashes(s *snapshot.Snapshot) map[string]string {
	m := map[string]string{}
	for _, p := range s.Fingerprint() {
		m[p.Name] = p.Hash
	}
	return m
}

// run runs a tool in a namespace, and takes anything it says on standard error for a
// failure, but for what every version says.
func run(ns *netns.NS, name string, input []byte, args ...string) ([]byte, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, &MissingError{name, err}
	}
	c := ns.Command(path, args...)
	var out, said bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(input), &out, &said
	c.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%.2000s", name, err, said.Bytes())
	}
	return out.Bytes(), nil
}

// only keeps the tables of some parts, in the order in which packets meet them, and
// wants all of them to be there, whole. The tools tell the table first that was
// registered last.
func only(text []byte, parts []string) ([]byte, error) {
	tables := map[string][]byte{}
	var table string
	var begun []byte
	for line := range bytes.Lines(text) {
		switch {
		case line[0] == '*':
			table, begun = string(bytes.TrimSpace(line[1:])), nil
		case line[0] == '#':
			continue
		}
		begun = append(begun, line...)
		if string(line) == "COMMIT\n" {
			tables[table], begun = begun, nil
		}
	}
	var out []byte
	found := 0
	for _, name := range claimed {
		if slices.ContainsFunc(parts, func(part string) bool { return strings.HasSuffix(part, " "+name) }) {
			if tables[name] == nil {
				return nil, fmt.Errorf("it tells nothing of table %s, or breaks off in it", name)
			}
			out = append(out, tables[name]...)
			found++
		}
	}
	if found != len(parts) {
		return nil, fmt.Errorf("a table is none of iptables: %q", parts)
	}
	return out, nil
}

// loaded loads a text in a namespace of its own, and says what is there then.
func loaded(ctx context.Context, tool string, text, sets []byte) (*snapshot.Snapshot, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, fmt.Errorf("make a namespace to load the rules in again: %w", err)
	}
	defer ns.Close()
	if len(sets) > 0 {
		if _, err := run(ns, "ipset", sets, "restore"); err != nil {
			return nil, err
		}
	}
	if _, err := run(ns, tool, text, "-c"); err != nil {
		return nil, fmt.Errorf("load the rules again: %w", err)
	}
	return snapshot.Take(ctx, ns)
}
