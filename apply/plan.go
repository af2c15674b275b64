package apply

import (
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// PlanOptions say how a batch is split into stages.
type PlanOptions struct {
	// Limit is the most bytes that one stage may have, where a stage can be
	// split; 0 is no limit.
	Limit int
	// ElementsInPlace says that the kernel replaces the elements of one set so
	// that packets see old or new; see [ElementsInPlace].
	ElementsInPlace bool
}

// Plan splits a batch into stages for [Commit], such that every packet that
// passes while they are committed is judged by the rules before the batch or
// by those after it. One transaction is not enough for that: the kernel makes
// rules, policies and the contents of sets effective one after the other.
//
// Now are the tables that the batch names, as [nfnetlink.DumpRuleset] reads
// them; what the batch leaves behind is worked out from both. Chains, sets and
// objects that stay the same are left alone, with their counters and elements,
// and a batch that changes nothing is no stages. So are elements that packets
// add: a set of the same name, key, flags and timeout keeps what it holds.
// Rules that are made anew begin with fresh counters, limits and quotas.
//
//   - A table that does not exist is made with its base chains closed off: their
//     first rule accepts. When everything is there, these rules go.
//   - In a table that exists, what changes is made under names that end in
//     ".new", and base chains first jump there. Then what was before is deleted
//     and made under its own name, the jump goes, and the ".new" go.
//   - In a table that goes, base chains get a first rule that accepts, then
//     accepting policies; then the table goes.
//   - Elements of one set alone are changed in place, with
//     PlanOptions.ElementsInPlace.
//
// Rules with the comment of [Mark] and names that end in ".new" are of a
// switch that is under way, or was cut off; planning the same batch again
// cleans up.
//
// A packet that is between two hooks at the moment of a switch was judged by
// the old rules at the first and is judged by the new at the second. Base
// chains of one hook that are made, moved or removed switch one after the
// other, so that for a moment both old and new judge, never neither.
//
// Chains inside of rules, and changes of flowtables and of flags of tables,
// cannot be staged; they are an error.
func Plan(now []netlink.Message, batch Batch, o PlanOptions) ([]Batch, error) {
	target, err := expect(now, batch.Messages)
	if err != nil {
		return nil, fmt.Errorf("plan the stages: %w", err)
	}
	if target == nil {
		return nil, nil
	}
	stages, err := plan(hold(now), target, batch.Labels, o)
	if err != nil {
		return nil, fmt.Errorf("plan the stages: %w", err)
	}
	return stages, nil
}

// plan returns the stages that turn what tables hold into something else.
func plan(now, target *state, labels []string, o PlanOptions) ([]Batch, error) {
	b := &builder{labels: labels}
	for _, h := range now.holdings {
		if target.find(h.table) == nil {
			m, err := modelOf(h)
			if err != nil {
				return nil, err
			}
			b.remove(m)
		}
	}
	for _, h := range target.holdings {
		want, err := modelOf(h)
		if err != nil {
			return nil, err
		}
		old := now.find(h.table)
		if old == nil {
			b.create(want)
			continue
		}
		have, err := modelOf(old)
		if err != nil {
			return nil, err
		}
		c := change{builder: b, now: have, target: want, inPlace: o.ElementsInPlace}
		if err := c.plan(); err != nil {
			return nil, err
		}
	}
	return b.batches(o.Limit), nil
}

// create makes a table that does not exist.
func (b *builder) create(m *model) {
	w := &writer{builder: b, model: m}
	w.put(prepare, m.self, nil, true)
	w.closedChains(m.nodes)
	for _, kind := range []int{unix.NFT_MSG_NEWOBJ, unix.NFT_MSG_NEWSET} {
		for _, n := range m.nodes {
			if n.key.kind == kind {
				w.self(prepare, n)
			}
		}
	}
	for _, f := range m.flows {
		w.put(prepare, f, nil, true)
	}
	for _, kind := range []int{unix.NFT_MSG_NEWSET, unix.NFT_MSG_NEWCHAIN} {
		for _, n := range m.nodes {
			if n.key.kind == kind {
				w.inside(prepare, n)
			}
		}
	}
	for _, n := range m.nodes {
		if n.isBase() {
			b.one(activate1+rank(n), deleteMarked(m.table, n.key.name))
		}
	}
}

// closedChains makes chains, base chains with a first rule that accepts.
func (w *writer) closedChains(nodes []*node) {
	for _, n := range nodes {
		if n.key.kind != unix.NFT_MSG_NEWCHAIN {
			continue
		}
		w.self(prepare, n)
		if n.isBase() {
			w.add(prepare, verdictRule(w.model.table, n.key.name, verdictAccept, "", netlink.Append), -1)
		}
	}
}

// remove takes a table away.
func (b *builder) remove(m *model) {
	for _, n := range m.nodes {
		if n.isBase() {
			b.retire(m.table, n, retire1+2-rank(n))
		}
	}
	b.one(discard, nfnetlink.Message(unix.NFT_MSG_DELTABLE, 0, m.table.Family,
		nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, m.table.Name)))
}

// retire makes a base chain one that accepts, first by a rule, then by its
// policy.
func (b *builder) retire(t nfnetlink.Table, n *node, s slot) {
	b.one(s, verdictRule(t, n.key.name, verdictAccept, "", 0))
	if n.drops() {
		b.one(policies, policyMessage(t, n.key.name, false))
	}
}

// A change is that of one table.
type change struct {
	*builder
	now, target *model
	inPlace     bool

	renewed map[key]bool   // what is made twice: under another name, then under its own
	created []*node        // what is made under its own name at once
	swapped []*node        // base chains that stay, whose rules are made anew
	moved   []*node        // base chains that are made anew under a name that is taken
	policy  []*node        // base chains whose policy alone changes
	gone    []*node        // of now: what goes
	names   map[key]string // what stands in, for renewed, swapped and moved
	bases   map[*node]string
}

func (c *change) plan() error {
	if err := same(c.target.self, c.now.self, nfnetlink.Names{}); err != nil {
		return fmt.Errorf("%w; this %w", err, errUnstaged)
	}
	if len(c.target.flows) != len(c.now.flows) {
		return fmt.Errorf("the flowtables of table %q: %w", c.target.table.Name, errUnstaged)
	}
	for i := range c.target.flows {
		if err := same(c.target.flows[i], c.now.flows[i], nfnetlink.Names{}); err != nil {
			return fmt.Errorf("%w; this %w", err, errUnstaged)
		}
	}
	onlyElements := c.classify()
	switch {
	case len(c.renewed)+len(c.created)+len(c.swapped)+len(c.moved)+len(c.gone) == 0:
		for _, n := range c.policy {
			c.one(policies, policyMessage(c.target.table, n.key.name, n.drops()))
		}
		return nil
	case onlyElements != nil && c.inPlace:
		c.elements(onlyElements)
		return nil
	}
	c.swapped = append(c.swapped, c.policy...)
	c.prepare()
	c.switchOver()
	c.discard()
	c.rebuild()
	c.discardStandIns()
	return nil
}

// classify finds out what changes. The set is the one whose elements are all
// that changes, or nil.
func (c *change) classify() *node {
	c.renewed = map[key]bool{}
	differs := map[key]bool{}
	var sets []*node // whose elements alone differ
	for _, n := range c.target.nodes {
		old := c.now.byKey[n.key]
		if old == nil {
			continue
		}
		self := sameSelf(n, old)
		if self && c.target.sameInside(n, c.now, old) {
			continue
		}
		differs[n.key] = true
		if self && n.key.kind == unix.NFT_MSG_NEWSET {
			sets = append(sets, n)
		}
		if !n.isBase() {
			c.renewed[n.key] = true
		}
	}
	// What depends on something that is made anew is made anew.
	for again := true; again; {
		again = false
		for _, n := range c.target.nodes {
			if !n.isBase() && !c.renewed[n.key] && c.depends(n) {
				c.renewed[n.key], again = true, true
			}
		}
	}
	for _, n := range c.target.nodes {
		old := c.now.byKey[n.key]
		switch {
		case !n.isBase():
			if old == nil && !c.renewed[n.key] {
				c.created = append(c.created, n)
			}
		case old == nil && !c.depends(n):
			c.created = append(c.created, n)
		case old == nil || !sameSelf(n, old):
			c.moved = append(c.moved, n)
		case differs[n.key] || c.depends(n):
			c.swapped = append(c.swapped, n)
		case n.drops() != old.drops():
			c.policy = append(c.policy, n)
		}
	}
	for _, old := range c.now.nodes {
		n := c.target.byKey[old.key]
		if n == nil || c.renewed[n.key] || slices.Contains(c.moved, n) {
			c.gone = append(c.gone, old)
		}
	}
	if len(sets) == 1 && len(differs) == 1 && len(c.created)+len(c.moved)+len(c.policy) == 0 && !c.goes() &&
		!slices.ContainsFunc(c.swapped, func(n *node) bool { return n.drops() != c.now.byKey[n.key].drops() }) {
		return sets[0]
	}
	return nil
}

// goes reports whether something goes and does not come again.
func (c *change) goes() bool {
	return slices.ContainsFunc(c.gone, func(n *node) bool { return c.target.byKey[n.key] == nil })
}

func (c *change) depends(n *node) bool {
	return slices.ContainsFunc(n.refs, func(k key) bool { return c.renewed[k] })
}

// elements changes the elements of one set in place. Those of intervals go and
// come as a whole, because the kernel keeps the two ends of one apart.
func (c *change) elements(n *node) {
	w := &writer{builder: c.builder, model: c.target}
	flush := deletion(c.target.table, n.key)
	flush.Header.Type = netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELSETELEM)
	c.one(activate1, flush)
	for _, i := range n.inside {
		w.put(activate1, i, nil, true)
	}
}

// prepare makes everything new that no packet reaches yet.
func (c *change) prepare() {
	c.names, c.bases = map[key]string{}, map[*node]string{}
	used := map[key]bool{}
	standIn := func(k key) string {
		name := fresh(k.name, func(name string) bool {
			other := key{k.kind, name}
			return used[other] || c.now.byKey[other] != nil || c.target.byKey[other] != nil
		})
		used[key{k.kind, name}] = true
		return name
	}
	for _, n := range c.target.nodes {
		if c.renewed[n.key] {
			c.names[n.key] = standIn(n.key)
		}
	}
	for _, n := range slices.Concat(c.swapped, c.moved) {
		c.names[n.key] = standIn(n.key)
	}
	for _, n := range c.moved {
		c.bases[n] = standIn(n.key)
	}
	own := &writer{builder: c.builder, model: c.target}
	other := &writer{builder: c.builder, model: c.target, names: c.names}
	t := c.target.table
	own.closedChains(c.created)
	for _, n := range c.target.nodes {
		if c.renewed[n.key] && n.key.kind == unix.NFT_MSG_NEWCHAIN {
			other.self(prepare, n)
		}
	}
	for _, n := range slices.Concat(c.swapped, c.moved) {
		c.one(prepare, chainMessage(unix.NFT_MSG_NEWCHAIN, t, c.names[n.key]))
	}
	c.fill(prepare, other, own)
	for _, n := range slices.Concat(c.swapped, c.moved) {
		other.inside(prepare, n)
	}
	for _, n := range c.moved {
		// A base chain that stands in for one that has another hook, its rules in
		// a chain of their own as for the others.
		base := &writer{builder: c.builder, model: c.target, names: map[key]string{n.key: c.bases[n]}}
		base.put(prepare, withPolicy(n.self, false), nil, true)
		c.add(prepare, verdictRule(t, c.bases[n], verdictAccept, "", netlink.Append), -1)
		c.add(prepare, unmarked(verdictRule(t, c.bases[n], verdictJump, c.names[n.key], netlink.Append)), -1)
		c.add(prepare, unmarked(verdictRule(t, c.bases[n], policyVerdict(n.drops()), "", netlink.Append)), -1)
	}
}

// fill makes what is renewed by one writer, and what is created, if there is a
// writer for it: objects, sets, then what is in sets and chains.
func (c *change) fill(s slot, renewed, created *writer) {
	for _, step := range []struct {
		kind   int
		inside bool
	}{{unix.NFT_MSG_NEWOBJ, false}, {unix.NFT_MSG_NEWSET, false}, {unix.NFT_MSG_NEWSET, true}, {unix.NFT_MSG_NEWCHAIN, true}} {
		write := func(w *writer, n *node) {
			switch {
			case n.key.kind != step.kind:
			case step.inside:
				w.inside(s, n)
			default:
				w.self(s, n)
			}
		}
		for _, n := range c.target.nodes {
			if c.renewed[n.key] {
				write(renewed, n)
			}
		}
		if created != nil {
			for _, n := range c.created {
				write(created, n)
			}
		}
	}
}

func withPolicy(chain item, drops bool) item {
	chain = withoutPolicy(chain)
	chain.message.Data = nfnetlink.AppendUint32(chain.message.Data, unix.NFTA_CHAIN_POLICY, uint32(policyVerdict(drops)))
	return chain
}

// unmarked takes the mark off a rule, so that it stays when marked ones go.
func unmarked(m netlink.Message) netlink.Message {
	data := slices.Clone(m.Data[:4])
	for _, a := range nfnetlink.Attributes(m) {
		if a.Type != unix.NFTA_RULE_USERDATA {
			data = nfnetlink.AppendAttr(data, a.Type, a.Data)
		}
	}
	m.Data = data
	return m
}

// switchOver makes packets see the new rules, then those chains go out of
// their way that only the old rules have.
func (c *change) switchOver() {
	t := c.target.table
	for _, n := range c.swapped {
		c.head(activate1, n)
	}
	for _, n := range c.created {
		if n.isBase() {
			c.one(activate1, deleteMarked(t, n.key.name))
		}
	}
	for _, n := range c.moved {
		c.one(activate1, deleteMarked(t, c.bases[n]))
	}
	for _, n := range c.gone {
		if n.isBase() {
			c.retire(t, n, retire1)
		}
	}
	for _, n := range c.swapped {
		if old := c.now.byKey[n.key]; old.drops() != n.drops() {
			c.one(policies, policyMessage(t, n.key.name, n.drops()))
		}
	}
}

// head puts two rules before all others of a base chain: a jump to what stands
// in, and what happens to packets that come back.
func (c *change) head(s slot, n *node) {
	t := c.target.table
	c.unit(s)
	c.add(s, verdictRule(t, n.key.name, policyVerdict(n.drops()), "", 0), -1)
	c.add(s, verdictRule(t, n.key.name, verdictJump, c.names[n.key], 0), -1)
}

// discard deletes what was before and is not now.
func (c *change) discard() {
	t := c.target.table
	for _, n := range c.swapped {
		c.unit(discard)
		c.add(discard, flushChain(t, n.key.name), -1)
		c.add(discard, verdictRule(t, n.key.name, verdictJump, c.names[n.key], netlink.Append), -1)
		c.add(discard, verdictRule(t, n.key.name, policyVerdict(n.drops()), "", netlink.Append), -1)
	}
	names := make([]string, len(c.gone))
	for i, n := range c.gone {
		names[i] = n.key.name
	}
	c.delete(discard, c.gone, names)
}

// delete deletes nodes that have the names: rules, sets, chains, objects.
func (c *change) delete(s slot, nodes []*node, names []string) {
	t := c.target.table
	for i, n := range nodes {
		if n.key.kind == unix.NFT_MSG_NEWCHAIN {
			c.one(s, flushChain(t, names[i]))
		}
	}
	for _, kind := range []int{unix.NFT_MSG_NEWSET, unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_NEWOBJ} {
		for i, n := range nodes {
			switch {
			case n.key.kind != kind:
			case kind == unix.NFT_MSG_NEWOBJ:
				c.one(s, deleteObject(t, names[i], n.self))
			default:
				c.one(s, deletion(t, key{kind, names[i]}))
			}
		}
	}
}

// rebuild makes what is new under its own name, behind what stands in for it,
// and has packets go there.
func (c *change) rebuild() {
	own := &writer{builder: c.builder, model: c.target}
	t := c.target.table
	for _, n := range c.target.nodes {
		if c.renewed[n.key] && n.key.kind == unix.NFT_MSG_NEWCHAIN {
			own.self(rebuild, n)
		}
	}
	for _, n := range c.moved {
		own.self(rebuild, n)
		c.add(rebuild, verdictRule(t, n.key.name, verdictAccept, "", netlink.Append), -1)
	}
	c.fill(rebuild, own, nil)
	for _, n := range slices.Concat(c.swapped, c.moved) {
		own.inside(rebuild, n)
		c.one(back, deleteMarked(t, n.key.name))
	}
	for _, n := range c.moved {
		c.one(retireStandIns, verdictRule(t, c.bases[n], verdictAccept, "", 0))
	}
}

// discardStandIns deletes what stood in.
func (c *change) discardStandIns() {
	var nodes []*node
	var names []string
	for _, n := range c.moved {
		nodes, names = append(nodes, n), append(names, c.bases[n])
	}
	for _, n := range slices.Concat(c.swapped, c.moved) {
		nodes, names = append(nodes, n), append(names, c.names[n.key])
	}
	for _, n := range c.target.nodes {
		if c.renewed[n.key] {
			nodes, names = append(nodes, n), append(names, c.names[n.key])
		}
	}
	c.delete(discardStandIns, nodes, names)
}
