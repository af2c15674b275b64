package kernel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/kernel"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/extension"
	"nftmigrate/internal/scratch"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

// A trial is rows that run together: each packet of each row meets the rules of
// all.
type trial struct {
	version int
	rows    []*row
	host    *packet.Host

	space     *symbolic.Space
	functions [][2]bdd.Ref // by row
	machines  [2]equivalence.Machine
	kernels   [2]*kernel.Machine
	runs      []*run
	skipped   map[string]int // packets that cannot be run, by reason
	lost      map[*row]bool  // rows that have some
	hidden    int            // packets that the stack dropped
}

// A run is a packet that both kernels ran.
type run struct {
	sample *sample
	row    int // whose packet it is
	// values is what Bind says of the packet in flight, by side.
	values [2]func(bdd.Level) bool
	fates  [2]packet.Fate
	models [2]packet.Fate // what the machines make of it
}

// most is how many rows have a bit of the mark of their own.
const most = 32

// trials puts rows that can run together into trials.
func trials(version int, rows []*row) []*trial {
	var list []*trial
	for _, r := range rows {
		i := slices.IndexFunc(list, func(t *trial) bool {
			first := t.rows[0]
			return r.setup != alone && r.setup != early && r.setup == first.setup && r.hook == first.hook && len(t.rows) < most
		})
		if i < 0 {
			i = len(list)
			list = append(list, &trial{version: version, host: host(), skipped: map[string]int{}, lost: map[*row]bool{}})
		}
		list[i].rows = append(list[i].rows, r)
	}
	return list
}

// alonesMark is what a rule that is alone sets.
const alonesMark = 0xc0ffee01

// marks returns the bits of the mark that tell whether the rule of a row
// matched, and their value when it did.
func (t *trial) marks(row int) (mask, value uint32) {
	if s := t.rows[row].setup; s == alone || s == early {
		return 0xffffffff, alonesMark
	}
	return 1 << row, 1 << row
}

var chains = map[packet.Hook]string{
	packet.Prerouting: "PREROUTING", packet.Input: "INPUT", packet.Forward: "FORWARD", packet.Output: "OUTPUT", packet.Postrouting: "POSTROUTING",
}

// place is the table of iptables where a rule stands, and its priority.
//
// Kernel: include/uapi/linux/netfilter_ipv4.h, enum nf_ip_hook_priorities.
func (r *row) place() (table string, priority int32) {
	if r.setup == early {
		return "raw", -300
	}
	return "mangle", -150
}

// save is the iptables text of some rows.
func (t *trial) save(rows ...int) string {
	tables := map[string]*strings.Builder{"raw": {}, "mangle": {}}
	for _, i := range rows {
		r := t.rows[i]
		mask, value := t.marks(i)
		if r.raw[xtables] != "" {
			fmt.Fprintf(tables["raw"], "-A PREROUTING %s\n", r.raw[xtables])
		}
		table, _ := r.place()
		fmt.Fprintf(tables[table], "-A %s %s -j MARK --set-xmark %#x/%#x\n", chains[r.hook], r.iptables, value, mask)
	}
	return "*raw\n" + tables["raw"].String() + "COMMIT\n*mangle\n" + tables["mangle"].String() + "COMMIT\n"
}

// text is the nft text of all rows, each in a base chain of its own.
func (t *trial) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s names {\n", familyOf(t.version).ip)
	for i, r := range t.rows {
		kind, before := "filter", r.raw[nftables]
		if before != "" && r.setup != early {
			fmt.Fprintf(&b, "chain raw%d {\ntype filter hook prerouting priority -300;\n%s\n}\n", i, before)
			before = ""
		}
		if r.hook == packet.Output {
			kind = "route"
		}
		mask, value := t.marks(i)
		set := fmt.Sprintf("meta mark set meta mark & %#x | %#x", ^mask, value)
		if ^mask == 0 {
			set = fmt.Sprintf("meta mark set %#x", value)
		}
		_, priority := r.place()
		fmt.Fprintf(&b, "chain %s {\ntype %s hook %v priority %d;\n%s\n%s %s\n}\n", chainOf(i), kind, r.hook, priority, before, r.nft, set)
	}
	return b.String() + "}\n"
}

func chainOf(row int) string { return fmt.Sprintf("row%d", row) }

// parse reads the iptables text of some rows.
func (t *trial) parse(tb testing.TB, rows ...int) *iptsim.Machine {
	tb.Helper()
	text := t.save(rows...)
	rs, list := iptables.Parse(diag.NewSource("names", []byte(text)), iptables.Family(t.version), extension.Registry)
	if list.HasErrors() {
		tb.Fatalf("%v\n%s", list, text)
	}
	return iptsim.New(rs)
}

// open compiles the rules and loads them into the kernel.
func (t *trial) open(tb testing.TB) {
	tb.Helper()
	all := make([]int, len(t.rows))
	for i := range all {
		all[i] = i
	}
	options := kernel.Options{Flow: t.rows[0].setup == flowing, Untracked: t.rows[0].setup == untracked}
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() { errs[nftables] = t.openNftables(options) })
	save, nothing := []byte(t.save(all...)), []byte("*filter\nCOMMIT\n")
	v4, v6 := save, nothing
	if t.version == 6 {
		v4, v6 = nothing, save
	}
	t.kernels[xtables], errs[xtables] = kernel.NewXtables(t.host, v4, v6, options)
	wg.Wait()
	for _, k := range t.kernels {
		if k != nil {
			tb.Cleanup(func() { k.Close() })
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		tb.Fatalf("%v\n%s\n%s", err, save, t.text())
	}
	t.machines[xtables] = t.parse(tb, all...)
	t.compile(tb)
}

func (t *trial) openNftables(options kernel.Options) error {
	messages, list, err := scratch.Compile(context.Background(), diag.NewSource("names.nft", []byte(t.text())))
	switch {
	case err != nil:
		return err
	case list.HasErrors():
		return fmt.Errorf("nft: %v", list)
	}
	m, err := nftsim.Decode(messages)
	if err != nil {
		return err
	}
	t.machines[nftables] = m
	t.kernels[nftables], err = kernel.NewNftables(t.host, messages, options)
	return err
}

// compile makes the functions of all rows in one space.
func (t *trial) compile(tb testing.TB) {
	tb.Helper()
	var tests symbolic.NameTests
	var single []*iptsim.Machine
	nft := t.machines[nftables].(symbolic.Compiler)
	asked := len(nft.Collect(t.version, &tests))
	for i := range t.rows {
		m := t.parse(tb, i)
		single = append(single, m)
		asked += len(m.Collect(t.version, &tests))
	}
	if asked > 0 {
		tb.Fatalf("%d states are asked", asked)
	}
	t.space = symbolic.NewSpace(bdd.New(bdd.Options{}), t.version, &tests, nil)
	stages := nft.Compile(t.space, nil).Stages
	for i, m := range single {
		f, ok := t.function(m.Compile(t.space, nil).Stages, i, "")
		g, found := t.function(stages, i, " "+chainOf(i))
		if !ok || !found {
			tb.Fatalf("%s: no stage", t.rows[i].name)
		}
		t.functions = append(t.functions, [2]bdd.Ref{f, g})
	}
}

// function is that of the stage where a row stands whose name ends so.
func (t *trial) function(stages []symbolic.Stage, row int, name string) (bdd.Ref, bool) {
	r := t.rows[row]
	_, priority := r.place()
	i := slices.IndexFunc(stages, func(s symbolic.Stage) bool {
		return s.Hook == r.hook && s.Priority == priority && strings.HasSuffix(s.Name, name)
	})
	if i < 0 {
		return 0, false
	}
	return t.space.Function(&stages[i]), true
}

// watched is a machine that shows packets as they come to the stages where a row
// stands.
type watched struct {
	equivalence.Machine
	at   *row
	seen *packet.Flight // the first look at a packet
}

// Stages returns the machine's stages with a look before each of the row's.
func (w *watched) Stages() []packet.Stage {
	stages := slices.Clone(w.Machine.Stages())
	_, priority := w.at.place()
	for i := range stages {
		st := &stages[i]
		if st.Hook != w.at.hook || st.Priority != priority {
			continue
		}
		through := st.Run
		st.Run = func(f *packet.Flight) packet.Verdict {
			if w.seen == nil {
				look := *f
				look.Data = bytes.Clone(f.Data)
				if f.Tracking.Entry != nil {
					e := *f.Tracking.Entry
					look.Tracking.Entry = &e
				}
				w.seen = &look
			}
			return through(f)
		}
	}
	return stages
}

// run sends the packets of all rows through both kernels, and through both
// machines for a look at them in flight.
func (t *trial) run(tb testing.TB) {
	tb.Helper()
	var packets []*packet.Packet
	for i, r := range t.rows {
		for k := range r.samples {
			s := &r.samples[k]
			p, err := s.make(t.host)
			if err != nil {
				tb.Fatalf("%s, packet %d: %v", r.name, k, err)
			}
			packets = append(packets, p)
			t.runs = append(t.runs, &run{sample: s, row: i})
		}
	}
	var outcomes [2][]kernel.Outcome
	var errs [2]error
	var wg sync.WaitGroup
	for side, k := range t.kernels {
		wg.Go(func() { outcomes[side], errs[side] = k.RunAll(packets) })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		tb.Fatal(err)
	}
	var looks [2]*watched
	var walkers [2]*equivalence.Walker
	for side := range sides {
		looks[side] = &watched{Machine: t.machines[side], at: t.rows[0]}
		walkers[side] = equivalence.NewWalker(looks[side], t.host)
		walkers[side].Untracked = t.rows[0].setup == untracked
	}
	ran := t.runs[:0]
	for i, r := range t.runs {
		if err := errors.Join(outcomes[xtables][i].Err, outcomes[nftables][i].Err); err != nil {
			t.skipped[err.Error()]++
			t.lost[t.rows[r.row]] = true
			continue
		}
		reached := true
		for side := range sides {
			p := *packets[i]
			r.fates[side] = outcomes[side][i].Fate
			if r.fates[side].Observed.State != 0 {
				p.Tracking = r.fates[side].Observed
			}
			looks[side].seen = nil
			r.models[side] = walkers[side].Run(&p)
			if f := looks[side].seen; f != nil {
				r.values[side] = t.space.Bind(f)
			} else {
				reached = false
			}
		}
		// What the stack drops on its way nobody sees.
		if !reached || !r.sample.hotdrop && r.fates[xtables].Verdict == packet.Drop && r.fates[nftables].Verdict == packet.Drop {
			t.hidden++
			continue
		}
		ran = append(ran, r)
	}
	t.runs = ran
}
