package optimize

import (
	"maps"
	"slices"

	"nftmigrate/nftgen"
)

// Options are the choices of an optimisation.
type Options struct {
	// Level is how much is done: 0 is nothing, 1 keeps the order of the rules, 2
	// moves rules that have nothing in common, and puts chains together.
	Level int
	// Off names passes that are left out.
	Off []string
	// Lines gives each element of a set its line in the source, as a comment.
	Lines bool
	// Explain asks for what the chains cost before and after.
	Explain bool
	// NoRanges says that sets of several fields hold single values only, as before
	// Linux 5.6 and nftables 0.9.4.
	NoRanges bool
}

// MostLevel is the highest level.
const MostLevel = 2

// A Pass is one way to make rules faster.
type Pass struct {
	Name, Doc string
	Level     int // from which level on it runs
	run       func(*optimizer)
}

// Passes are all passes, in the order in which they run.
var Passes = []Pass{
	{"unreachable", "leaves out rules that stand behind one which decides about all packets", 1, (*optimizer).unreachable},
	{"shortcut", "writes the verdict in the place of a jump to a chain that decides at once", 1, (*optimizer).shortcut},
	{"fold", "makes one chain of several with the same rules", 2, (*optimizer).fold},
	{"inline", "puts the rules of many small chains in the place of the jumps to them, where one lookup then serves all", 2, (*optimizer).inline},
	{"merge", "makes lookups in sets and maps of rules that differ in values", 1, (*optimizer).merge},
	{"masks", "compares networks by a mask where that is cheaper than reading some bytes", 1, (*optimizer).masks},
	{"unused", "leaves out chains to which no rule leads any more", 1, (*optimizer).unused},
}

// Run makes the rules of a table faster, in place, and says what that is worth when it
// is asked for.
func Run(t *nftgen.Table, o Options) []ChainCost {
	var before map[string]ChainCost
	if o.Explain {
		before = costs(t)
	}
	if o.Level > 0 {
		opt := newOptimizer(t, o)
		for _, p := range Passes {
			if p.Level <= o.Level && !slices.Contains(o.Off, p.Name) {
				p.run(opt)
			}
		}
	}
	if !o.Explain {
		return nil
	}
	var report []ChainCost
	after := costs(t)
	for _, c := range t.Chains {
		k := before[c.Name]
		k.Chain, k.Became, k.After = c.Name, after[c.Name].Rules, after[c.Name].Before
		report = append(report, k)
		delete(before, c.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		report = append(report, before[name])
	}
	return report
}

type optimizer struct {
	options Options
	table   *nftgen.Table
	chains  map[string]*nftgen.Chain
	names   map[string]bool
	effects map[string][]nftgen.Stmt // of chains and those they lead to
	current *nftgen.Chain
	led     map[string]int // how many rules led to a chain at first
	made    map[*nftgen.Set]bool
	stock   stock
	fresh   []span // elements of the item at hand
}

func newOptimizer(t *nftgen.Table, options Options) *optimizer {
	o := &optimizer{options: options, table: t, names: make(map[string]bool), made: make(map[*nftgen.Set]bool)}
	for _, c := range t.Chains {
		o.names[c.Name] = true
	}
	for _, s := range t.Sets {
		o.names[s.Name] = true
	}
	for _, s := range t.Objects {
		o.names[s.Name] = true
	}
	o.look()
	o.led = o.uses()
	return o
}

// look takes note of the chains as they are now.
func (o *optimizer) look() {
	o.chains = make(map[string]*nftgen.Chain, len(o.table.Chains))
	o.effects = make(map[string][]nftgen.Stmt)
	for _, c := range o.table.Chains {
		o.chains[c.Name] = c
	}
}

// uses counts the rules that lead to each chain.
func (o *optimizer) uses() map[string]int {
	n := make(map[string]int, len(o.table.Chains))
	for _, c := range o.table.Chains {
		for _, r := range c.Rules {
			for _, s := range r.Stmts {
				var few [1]string
				for _, to := range nftgen.AppendLeads(few[:0], s) {
					n[to]++
				}
			}
		}
	}
	return n
}
