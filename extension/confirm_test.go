package extension_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"

	"nftmigrate/diag"
	"nftmigrate/equivalence/kernel"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/scratch"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// TestConfirm holds what the archives say against the real tools and the
// kernel, in private namespaces: iptables-save prints what we print, nft loads
// our text and makes of it what our batch makes, and both planes treat the
// archives' packets as the archives say. What we refuse to read is refused
// there too.
func TestConfirm(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("nft"),
		testkit.Tool("iptables-legacy-restore"), testkit.Tool("iptables-legacy-save"),
		testkit.Tool("ip6tables-legacy-restore"), testkit.Tool("ip6tables-legacy-save"))
	for _, path := range archives(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a := readArchive(t, path)
			r := a.run(t)
			a.confirmTools(t, r)
			switch {
			case r.batch == nil:
				return
			case a.lacking(t, r):
				r.lacking = true
				a.confirmNotation(t, r)
			case a.keeps():
				a.confirmKept(t, r)
			default:
				a.confirmText(t, r)
			}
			a.confirmPackets(t, r)
		})
	}
}

// confirmTools loads and saves the rules with the legacy tools.
func (a *archive) confirmTools(t *testing.T, r *result) {
	t.Helper()
	if a.lackingSets() {
		return
	}
	a.confirmSets(t)
	for _, side := range []struct{ rules, print, tool string }{
		{"rules.v4", "out/print.v4", "iptables-legacy"},
		{"rules.v6", "out/print.v6", "ip6tables-legacy"},
	} {
		rules := a.file(side.rules)
		if rules == nil {
			continue
		}
		saved, err := restoreAndSave(t, side.tool, rules, a.file("sets"))
		switch {
		case r.source == nil && err == nil && a.file("rules.v6") == nil:
			t.Errorf("%s takes what we refuse:\n%s", side.tool, saved)
		case r.source == nil:
		case err != nil && a.file("lacks") != nil:
			t.Logf("this kernel is without %s: %v", bytes.TrimSpace(a.file("lacks")), err)
		case err != nil:
			t.Errorf("%s refuses what we take: %v", side.tool, err)
		case !slices.Equal(tables(saved), tables(a.file(side.print))):
			t.Errorf("%s-save prints\n%s\nwe print\n%s", side.tool, saved, a.file(side.print))
		}
	}
}

// confirmSets has ipset load the sets; it prints of them what we print. Its
// hashes have an order of their own, and times go by.
func (a *archive) confirmSets(t *testing.T) {
	t.Helper()
	if a.file("sets") == nil {
		return
	}
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a namespace: %v", err)
	}
	defer ns.Close()
	if err := kernel.LoadSets(ns, a.file("sets")); err != nil {
		if a.file("out/print.sets") != nil {
			t.Errorf("ipset refuses what we take: %v", err)
		}
		return
	}
	saved, err := ns.Command("ipset", "save").Output()
	if err != nil {
		t.Fatalf("ipset save: %v", err)
	}
	if got, want := setLines(saved), setLines(a.file("out/print.sets")); got != want {
		t.Errorf("ipset prints\n%s\nwe print\n%s", got, want)
	}
}

// setLines sorts the lines of sets and leaves out what is up to the moment.
func setLines(text []byte) string {
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "create ") {
			line = regexp.MustCompile(` initval 0x[0-9a-f]+`).ReplaceAllString(line, "")
		} else {
			line = regexp.MustCompile(` timeout [1-9][0-9]*`).ReplaceAllString(line, " timeout N")
		}
		lines[i] = line
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// tables splits a save file into its tables, sorted: in which order the tool
// prints them depends on what the kernel loaded first.
func tables(save []byte) []string {
	list := strings.SplitAfter(string(save), "COMMIT\n")
	slices.Sort(list)
	return list
}

// restoreAndSave returns what a tool prints of rules, without comments.
func restoreAndSave(t *testing.T, tool string, rules, sets []byte) ([]byte, error) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a namespace: %v", err)
	}
	defer ns.Close()
	if err := kernel.MakeAccounts(ns, rules); err != nil {
		t.Fatal(err)
	}
	if err := kernel.LoadSets(ns, sets); err != nil {
		return nil, err
	}
	lock := "XTABLES_LOCKFILE=" + filepath.Join(t.TempDir(), "lock")
	restore := ns.Command(tool + "-restore")
	restore.Env = append(restore.Environ(), lock)
	restore.Stdin = bytes.NewReader(rules)
	if out, err := restore.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	save := ns.Command(tool + "-save")
	save.Env = append(save.Environ(), lock)
	out, err := save.Output()
	if err != nil {
		t.Fatalf("%s-save: %v", tool, err)
	}
	var kept []byte
	for line := range bytes.Lines(out) {
		if !bytes.HasPrefix(line, []byte("#")) {
			kept = append(kept, line...)
		}
	}
	return kept, nil
}

// confirmText loads the text with nft and the batch by netlink, and compares
// what the kernel holds.
func (a *archive) confirmText(t *testing.T, r *result) {
	t.Helper()
	loaded, list, err := scratch.Load(context.Background(), diag.NewSource("out/nft", r.text))
	if err != nil || loaded == nil {
		t.Fatalf("nft refuses our text: %v %v", err, list)
	}
	dump := commit(t, r.batch.Messages)
	if !nfnetlink.Equal(loaded.Dump, dump, 0) {
		t.Errorf("the kernel makes something else of the text than of the batch; nft lists the text as\n%s", loaded.Listing)
	}
	again, list, err := scratch.Load(context.Background(), diag.NewSource("listing", []byte(loaded.Listing)))
	if known := bytes.TrimSpace(a.file("listing")); known != nil {
		// nft is known to list something that it does not read, and why.
		if again != nil || !strings.Contains(fmt.Sprint(err, list), string(known)) {
			t.Errorf("nft does not say %q of its listing, but %v %v", known, err, list)
		}
		return
	}
	if err != nil || again == nil {
		t.Errorf("nft does not read again what it lists: %v %v\n%s", err, list, loaded.Listing)
	}
}

// lacking reports whether the kernel is without something that the archive's file
// "lacks" names, an option of the kernel's configuration or a thing per line: it then
// refuses our text, and the xtables plane alone runs the packets.
func (a *archive) lacking(t *testing.T, r *result) bool {
	t.Helper()
	if a.file("lacks") == nil {
		return false
	}
	loaded, _, err := scratch.Load(context.Background(), diag.NewSource("out/nft", r.text))
	if err == nil && loaded != nil {
		return false
	}
	t.Logf("this kernel is without %s", bytes.TrimSpace(a.file("lacks")))
	return true
}

// confirmNotation compares what nft makes of our text, before it asks the kernel,
// with our batch, in the notation of both.
func (a *archive) confirmNotation(t *testing.T, r *result) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a namespace: %v", err)
	}
	defer ns.Close()
	nft := ns.Command("nft", "--debug=netlink", "--check", "--file", "-")
	nft.Stdin = bytes.NewReader(r.text)
	said, _ := nft.Output() // the kernel refuses what it does not have
	if got, want := instructions(said), instructions(bytecode(r.target)); !slices.Equal(got, want) {
		t.Errorf("nft makes of our text\n%s\nour batch is\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// instructions are the lines of a notation that are instructions.
func instructions(notation []byte) []string {
	var list []string
	for line := range strings.Lines(string(notation)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "[ ") {
			list = append(list, line)
		}
	}
	return list
}

// commit sends a batch into a namespace and returns what the kernel made of it.
func commit(t *testing.T, batch []netlink.Message) []netlink.Message {
	t.Helper()
	stored, err := tryCommit(t, batch)
	if err != nil {
		t.Fatalf("commit the batch: %v", err)
	}
	return stored
}

// tryCommit is commit of a batch that the kernel may refuse.
func tryCommit(t *testing.T, batch []netlink.Message) ([]netlink.Message, error) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a namespace: %v", err)
	}
	defer ns.Close()
	var dump *nfnetlink.Dump
	err = ns.Do(func() error {
		conn, err := nfnetlink.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := nfnetlink.Send(conn, batch, nfnetlink.Options{}); err != nil {
			return err
		}
		dump, err = nfnetlink.DumpRuleset(conn)
		return err
	})
	if err != nil {
		return nil, err
	}
	return dump.Messages, nil
}

// confirmPackets sends the archive's packets through both planes of the kernel.
// Fragments are run where nothing tracks connections, which would put them
// together again.
func (a *archive) confirmPackets(t *testing.T, r *result) {
	t.Helper()
	if len(a.packets) == 0 {
		return
	}
	var whole, fragments []expectation
	for _, e := range a.packets {
		switch tracked := r.source.NeedsConntrack(e.packet.Version()); {
		case !packet.IsFragment(e.packet.Data):
			whole = append(whole, e)
		case !tracked:
			fragments = append(fragments, e)
		}
	}
	a.confirmRun(t, r, whole, kernel.Options{})
	a.confirmRun(t, r, fragments, kernel.Options{Untracked: true})
}

func (a *archive) confirmRun(t *testing.T, r *result, packets []expectation, o kernel.Options) {
	t.Helper()
	if len(packets) == 0 {
		return
	}
	all := a.planes(t, r, o)
	defer all.close()
	run := 0
	for _, e := range packets {
		ran, wrong := all.run(t, e)
		if wrong != nil {
			// Packets of an archive are alone; the planes remember.
			alone := a.planes(t, r, o)
			ran, wrong = alone.run(t, e)
			alone.close()
		}
		for _, w := range wrong {
			t.Error(w)
		}
		if ran {
			run++
		}
	}
	if run == 0 {
		t.Errorf("none of %d packets can be run in the kernel", len(packets))
	}
}

// planes are both planes of the kernel with an archive's rules.
type planes struct{ xtables, nftables *kernel.Machine }

func (a *archive) planes(t *testing.T, r *result, o kernel.Options) planes {
	t.Helper()
	var p planes
	var err error
	o.Sets = a.file("sets")
	if a.lackingSets() {
		t.Log("xtables: the kernel lacks a type of ipset; the packets go through nf_tables alone")
	} else if p.xtables, err = kernel.NewXtables(host(), a.file("rules.v4"), a.file("rules.v6"), o); err != nil {
		t.Fatalf("xtables: %v", err)
	}
	if r.lacking {
		return p
	}
	if p.nftables, err = kernel.NewNftables(host(), r.batch.Messages, o); err != nil {
		if p.xtables != nil {
			p.xtables.Close()
		}
		t.Fatalf("nf_tables: %v", err)
	}
	return p
}

func (p planes) close() {
	if p.xtables != nil {
		p.xtables.Close()
	}
	if p.nftables != nil {
		p.nftables.Close()
	}
}

// run sends one packet through both planes and returns what is wrong. ran is
// false when the kernel cannot be brought to see the packet as the archive
// describes it.
func (p planes) run(t *testing.T, e expectation) (ran bool, wrong []string) {
	t.Helper()
	for _, plane := range []struct {
		name    string
		machine *kernel.Machine
		want    string
	}{{"xtables", p.xtables, e.source}, {"nf_tables", p.nftables, e.target}} {
		if plane.machine == nil {
			continue
		}
		fate, err := plane.machine.Run(e.packet)
		if errors.Is(err, kernel.ErrNotRunnable) {
			t.Logf("%s: not run: %v", e.words, err)
			return false, nil
		}
		if err != nil {
			t.Fatalf("%s: %s: %v", plane.name, e.words, err)
		}
		if got := fateWord(fate); got != plane.want {
			if why := otherwise(e.packet.Tracking, fate.Observed); why != "" {
				t.Logf("%s: not run: %s", e.words, why)
				return false, nil
			}
			wrong = append(wrong, fmt.Sprintf("%s: %s: %s, want %s", plane.name, e.words, got, plane.want))
		}
	}
	return true, wrong
}

// otherwise says how connection tracking saw a packet otherwise than wished.
func otherwise(wish, observed packet.Tracking) string {
	switch {
	case observed.State != 0 && wish.State != observed.State:
		return fmt.Sprintf("tracking says %v", observed.State)
	case wish.State == packet.New && wish.Entry.Mark != 0:
		return "a new connection has no mark"
	}
	return ""
}
