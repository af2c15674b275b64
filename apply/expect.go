package apply

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// An item is something that a table is expected to hold: the message that made
// it, and its place in the batch, -1 for what was there before.
type item struct {
	message netlink.Message
	index   int
}

func (i item) attrs() []nfnetlink.Attr { return nfnetlink.Attributes(i.message) }

// A holding is what one table is expected to hold, each kind in the order in
// which the kernel keeps it.
type holding struct {
	table nfnetlink.Table
	self  item
	named map[int]*register // chains, sets, objects, flowtables
	// elements are by the name of their set, rules by that of their chain; see
	// [item.home].
	elements, rules map[string][]item
}

// A register is things of one kind, in the order in which they were made.
type register struct {
	order []item
	at    map[string]int // of those that have a name
	gone  map[int]bool
}

// all are the things that are there.
func (r *register) all() []item {
	if len(r.gone) == 0 {
		return r.order
	}
	var left []item
	for i, x := range r.order {
		if !r.gone[i] {
			left = append(left, x)
		}
	}
	return left
}

func (r *register) add(i item) {
	if name := i.name(); name != "" && !strings.Contains(name, "%") {
		r.at[name] = len(r.order)
	}
	r.order = append(r.order, i)
}

func (r *register) delete(name string) {
	if at, ok := r.at[name]; ok {
		r.gone[at] = true
		delete(r.at, name)
	}
}

// namedKinds are the kinds of what has a name of its own.
var namedKinds = []int{
	unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_NEWSET, unix.NFT_MSG_NEWOBJ, unix.NFT_MSG_NEWFLOWTABLE,
}

// each calls f for everything that the table holds, itself first.
func (h *holding) each(f func(item)) {
	f(h.self)
	for _, kind := range namedKinds {
		for _, i := range h.named[kind].all() {
			f(i)
		}
	}
	for _, kind := range []int{unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_NEWRULE} {
		homes := h.elements
		if kind == unix.NFT_MSG_NEWRULE {
			homes = h.rules
		}
		for _, name := range slices.Sorted(maps.Keys(homes)) {
			for _, i := range homes[name] {
				f(i)
			}
		}
	}
}

// A state is what our tables are expected to hold after a batch.
type state struct {
	holdings []*holding
}

// heldKinds are the kinds of messages that a table is made of.
var heldKinds = []int{
	unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_NEWSET, unix.NFT_MSG_NEWOBJ,
	unix.NFT_MSG_NEWFLOWTABLE, unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_NEWRULE,
}

// effects say what a message does to the table that it names, by NFT_MSG_*
// number. What is not here cannot be committed, because what it leaves behind
// could not be checked.
var effects = map[int]func(*state, item) error{
	unix.NFT_MSG_NEWTABLE:     (*state).newTable,
	unix.NFT_MSG_DELTABLE:     (*state).deleteTable,
	unix.NFT_MSG_NEWCHAIN:     inTable((*holding).newChain),
	unix.NFT_MSG_NEWSET:       inTable((*holding).newNamed),
	unix.NFT_MSG_NEWOBJ:       inTable((*holding).newNamed),
	unix.NFT_MSG_NEWFLOWTABLE: inTable((*holding).newNamed),
	unix.NFT_MSG_NEWSETELEM:   inTable((*holding).newElements),
	unix.NFT_MSG_NEWRULE:      inTable((*holding).newRule),
	unix.NFT_MSG_DELCHAIN:     inTable((*holding).deleteNamed),
	unix.NFT_MSG_DELSET:       inTable((*holding).deleteNamed),
	unix.NFT_MSG_DELOBJ:       inTable((*holding).deleteNamed),
	unix.NFT_MSG_DELFLOWTABLE: inTable((*holding).deleteNamed),
	unix.NFT_MSG_DELSETELEM:   inTable((*holding).deleteElements),
	unix.NFT_MSG_DELRULE:      inTable((*holding).deleteRules),
}

// expect returns what our tables hold after a batch, given what they hold now.
// It is nil for a batch without messages.
func expect(now, batch []netlink.Message) (*state, error) {
	return expectAfter(nil, now, batch)
}

// expectAfter goes on from what is expected already, if that is not nil.
func expectAfter(s *state, now, batch []netlink.Message) (*state, error) {
	if s == nil {
		s = hold(now)
	}
	empty := true
	for i, m := range batch {
		kind, ours := nfnetlink.Kind(m)
		if !ours {
			continue
		}
		empty = false
		effect := effects[kind]
		if effect == nil {
			return nil, fmt.Errorf("message %d: what message %d does is not known", i, kind)
		}
		if err := effect(s, item{m, i}); err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
	}
	if empty {
		return nil, nil
	}
	for _, h := range s.holdings {
		h.dropUnused()
	}
	return s, nil
}

// hold returns what a dump says that tables hold.
func hold(dump []netlink.Message) *state {
	s := new(state)
	for _, m := range dump {
		i := item{m, -1}
		kind, _ := nfnetlink.Kind(m)
		if kind == unix.NFT_MSG_NEWTABLE {
			s.holdings = append(s.holdings, newHolding(i))
			continue
		}
		h := s.find(nfnetlink.TableOf(m))
		switch {
		case h == nil:
		case kind == unix.NFT_MSG_NEWRULE:
			h.rules[i.home()] = append(h.rules[i.home()], i)
		case kind == unix.NFT_MSG_NEWSETELEM:
			h.elements[i.home()] = append(h.elements[i.home()], i)
		case h.named[kind] != nil:
			h.named[kind].add(i)
		}
	}
	return s
}

func newHolding(self item) *holding {
	h := &holding{table: nfnetlink.TableOf(self.message), self: self, named: map[int]*register{}, elements: map[string][]item{}, rules: map[string][]item{}}
	for _, kind := range namedKinds {
		h.named[kind] = &register{at: map[string]int{}, gone: map[int]bool{}}
	}
	return h
}

func (s *state) find(t nfnetlink.Table) *holding {
	for _, h := range s.holdings {
		if h.table == t {
			return h
		}
	}
	return nil
}

func (s *state) newTable(i item) error {
	if h := s.find(nfnetlink.TableOf(i.message)); h != nil {
		h.self = merge(h.self, i)
		return nil
	}
	s.holdings = append(s.holdings, newHolding(i))
	return nil
}

func (s *state) deleteTable(i item) error {
	table := nfnetlink.TableOf(i.message)
	s.holdings = slices.DeleteFunc(s.holdings, func(h *holding) bool { return h.table == table })
	return nil
}

// inTable makes an effect on a table out of one inside of it. What the table's
// absence means is left to the kernel, which refuses it.
func inTable(f func(*holding, item) error) func(*state, item) error {
	return func(s *state, i item) error {
		h := s.find(nfnetlink.TableOf(i.message))
		if h == nil {
			return nil
		}
		return f(h, i)
	}
}

// made is the kind of message that makes what a message is about.
func made(i item) int {
	kind, _ := nfnetlink.Kind(i.message)
	for _, k := range heldKinds {
		if kind == k || kind == k+2 { // NEW, GET, DEL follow each other
			return k
		}
	}
	return kind
}

// nameAttribute is the attribute that names a thing of a kind: of elements the
// set, of rules the chain.
func nameAttribute(kind int) uint16 {
	if kind == unix.NFT_MSG_NEWCHAIN {
		return unix.NFTA_CHAIN_NAME
	}
	return 2
}

func (i item) name() string {
	return nfnetlink.FindString(i.attrs(), nameAttribute(made(i)))
}

// home is what elements and rules are filed under: the name of the set or
// chain, or its number where the batch has not named it.
func (i item) home() string {
	attrs, name := i.attrs(), i.name()
	id := nfnetlink.Find(attrs, unix.NFTA_SET_ELEM_LIST_SET_ID)
	if made(i) == unix.NFT_MSG_NEWRULE {
		id = nfnetlink.Find(attrs, ruleChainID)
	}
	if id != nil && (name == "" || strings.Contains(name, "%")) {
		return fmt.Sprintf("%s#%x", name, id)
	}
	return name
}

func (h *holding) newElements(i item) error {
	h.elements[i.home()] = append(h.elements[i.home()], i)
	return nil
}

func (h *holding) newChain(i item) error {
	r := h.named[unix.NFT_MSG_NEWCHAIN]
	if at, ok := r.at[i.name()]; ok {
		r.order[at] = merge(r.order[at], i)
		return nil
	}
	r.add(i)
	return nil
}

func (h *holding) newNamed(i item) error {
	kind := made(i)
	r := h.named[kind]
	if at, ok := r.at[i.name()]; ok {
		if kind == unix.NFT_MSG_NEWOBJ {
			r.order[at] = merge(r.order[at], i)
		}
		return nil
	}
	r.add(i)
	return nil
}

// merge is an item after a second message about it: what that names is new,
// the rest stays.
func merge(old, update item) item {
	changed := update.attrs()
	data := slices.Clone(old.message.Data[:4])
	for _, a := range old.attrs() {
		if nfnetlink.Find(changed, a.Type) == nil {
			data = nfnetlink.AppendAttr(data, a.Type, a.Data)
		}
	}
	for _, a := range changed {
		data = nfnetlink.AppendAttr(data, a.Type, a.Data)
	}
	return item{netlink.Message{Header: old.message.Header, Data: data}, update.index}
}

// newRule puts a rule at the end or the start of its chain, or beside or in
// the place of the rule of a handle.
func (h *holding) newRule(i item) error {
	attrs := i.attrs()
	if nfnetlink.Find(attrs, rulePositionID) != nil {
		return errors.New("a rule placed by the number of another is not supported")
	}
	rules := h.rules[i.home()]
	at := func(handle []byte) int {
		return slices.IndexFunc(rules, func(r item) bool {
			return r.index < 0 && string(nfnetlink.Find(r.attrs(), unix.NFTA_RULE_HANDLE)) == string(handle)
		})
	}
	flags := i.message.Header.Flags
	switch position := nfnetlink.Find(attrs, unix.NFTA_RULE_POSITION); {
	case flags&netlink.Replace != 0:
		if place := at(nfnetlink.Find(attrs, unix.NFTA_RULE_HANDLE)); place >= 0 {
			rules[place] = i
		}
	case position != nil:
		place := at(position)
		if place < 0 {
			return nil
		}
		if flags&netlink.Append != 0 {
			place++
		}
		rules = slices.Insert(rules, place, i)
	case flags&netlink.Append != 0:
		rules = append(rules, i)
	default:
		rules = slices.Insert(rules, 0, i)
	}
	h.rules[i.home()] = rules
	return nil
}

func (h *holding) deleteNamed(i item) error {
	kind, name := made(i), i.name()
	if name == "" {
		return errors.New("deleting by handle is not supported")
	}
	h.named[kind].delete(name)
	if kind == unix.NFT_MSG_NEWSET {
		delete(h.elements, name)
	}
	if kind == unix.NFT_MSG_NEWCHAIN {
		delete(h.rules, name)
	}
	return nil
}

// deleteRules takes away the rule of a handle, or all of a chain, or all of
// the table.
func (h *holding) deleteRules(i item) error {
	chain, handle := i.name(), nfnetlink.Find(i.attrs(), unix.NFTA_RULE_HANDLE)
	if chain == "" && handle != nil {
		return errors.New("deleting a rule without its chain is not supported")
	}
	switch {
	case handle != nil:
		h.rules[chain] = slices.DeleteFunc(h.rules[chain], func(r item) bool {
			return r.index < 0 && string(nfnetlink.Find(r.attrs(), unix.NFTA_RULE_HANDLE)) == string(handle)
		})
	case chain != "":
		delete(h.rules, chain)
	default:
		clear(h.rules)
	}
	return nil
}

// deleteElements takes elements out of a set, or all of them.
func (h *holding) deleteElements(i item) error {
	set := i.name()
	deleted := nfnetlink.Find(i.attrs(), unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	keys := map[string]bool{}
	for _, e := range nfnetlink.Nested(deleted) {
		keys[elementKey(e)] = true
	}
	if deleted == nil {
		delete(h.elements, set)
		return nil
	}
	elements := h.elements[set]
	for at, old := range elements {
		var kept []byte
		for _, e := range nfnetlink.Nested(nfnetlink.Find(old.attrs(), unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			if !keys[elementKey(e)] {
				kept = nfnetlink.AppendAttr(kept, e.Type, e.Data)
			}
		}
		data := slices.Clone(old.message.Data[:4])
		for _, a := range old.attrs() {
			if a.Type == unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				a.Data = kept
			}
			data = nfnetlink.AppendAttr(data, a.Type, a.Data)
		}
		elements[at].message.Data = data
	}
	return nil
}

// elementKey is what an element is known by: its key, and whether it ends a
// span.
func elementKey(e nfnetlink.Attr) string {
	attrs := nfnetlink.Nested(e.Data)
	key := nfnetlink.Find(nfnetlink.Nested(nfnetlink.Find(attrs, unix.NFTA_SET_ELEM_KEY)), unix.NFTA_DATA_VALUE)
	return fmt.Sprintf("%x %d", key, nfnetlink.Number(attrs, unix.NFTA_SET_ELEM_FLAGS))
}

// dropUnused takes away the nameless sets whose rule is gone, as the kernel
// does.
func (h *holding) dropUnused() {
	var anonymous []string
	for _, i := range h.named[unix.NFT_MSG_NEWSET].all() {
		if i.index < 0 && nfnetlink.Number(i.attrs(), unix.NFTA_SET_FLAGS)&unix.NFT_SET_ANONYMOUS != 0 {
			anonymous = append(anonymous, i.name())
		}
	}
	if len(anonymous) == 0 {
		return
	}
	used := map[string]bool{}
	for _, rules := range h.rules {
		for _, r := range rules {
			nfnetlink.References(r.message, func(ref nfnetlink.Ref) {
				if ref.Kind == unix.NFT_MSG_NEWSET {
					used[ref.Name] = true
				}
			})
		}
	}
	for _, name := range anonymous {
		if !used[name] {
			h.named[unix.NFT_MSG_NEWSET].delete(name)
			delete(h.elements, name)
		}
	}
}

// Attributes that x/sys lacks.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h.
const (
	rulePositionID = 10 // NFTA_RULE_POSITION_ID
	ruleChainID    = 11 // NFTA_RULE_CHAIN_ID
	chainID        = 11 // NFTA_CHAIN_ID
	chainFlags     = 10 // NFTA_CHAIN_FLAGS
	chainBinding   = 4  // NFT_CHAIN_BINDING
	elementKeyEnd  = 10 // NFTA_SET_ELEM_KEY_END
)
