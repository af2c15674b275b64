package apply

import (
	"errors"
	"fmt"
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
	table  nfnetlink.Table
	self   item
	byKind map[int][]item // chains, sets, objects, flowtables, elements, rules
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
	unix.NFT_MSG_NEWSETELEM:   inTable((*holding).add),
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
	s := new(state)
	for _, m := range now {
		if kind, _ := nfnetlink.Kind(m); kind == unix.NFT_MSG_NEWTABLE {
			s.holdings = append(s.holdings, newHolding(item{m, -1}))
		} else if h := s.find(nfnetlink.TableOf(m)); h != nil {
			h.byKind[kind] = append(h.byKind[kind], item{m, -1})
		}
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

func newHolding(self item) *holding {
	return &holding{table: nfnetlink.TableOf(self.message), self: self, byKind: map[int][]item{}}
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

func (h *holding) add(i item) error {
	kind := made(i)
	h.byKind[kind] = append(h.byKind[kind], i)
	return nil
}

func (h *holding) newChain(i item) error {
	chains := h.byKind[unix.NFT_MSG_NEWCHAIN]
	for at, c := range chains {
		if name := i.name(); name != "" && c.name() == name {
			chains[at] = merge(c, i)
			return nil
		}
	}
	return h.add(i)
}

func (h *holding) newNamed(i item) error {
	kind := made(i)
	for at, old := range h.byKind[kind] {
		if name := i.name(); !strings.Contains(name, "%") && old.name() == name {
			if kind == unix.NFT_MSG_NEWOBJ {
				h.byKind[kind][at] = merge(old, i)
			}
			return nil
		}
	}
	return h.add(i)
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
	rules := h.byKind[unix.NFT_MSG_NEWRULE]
	at := func(handle []byte) int {
		return slices.IndexFunc(rules, func(r item) bool {
			return r.index < 0 && r.name() == i.name() && string(nfnetlink.Find(r.attrs(), unix.NFTA_RULE_HANDLE)) == string(handle)
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
	h.byKind[unix.NFT_MSG_NEWRULE] = rules
	return nil
}

func (h *holding) deleteNamed(i item) error {
	kind, name := made(i), i.name()
	if name == "" {
		return errors.New("deleting by handle is not supported")
	}
	gone := func(old item) bool { return old.name() == name }
	h.byKind[kind] = slices.DeleteFunc(h.byKind[kind], gone)
	if kind == unix.NFT_MSG_NEWSET {
		h.byKind[unix.NFT_MSG_NEWSETELEM] = slices.DeleteFunc(h.byKind[unix.NFT_MSG_NEWSETELEM], gone)
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
	h.byKind[unix.NFT_MSG_NEWRULE] = slices.DeleteFunc(h.byKind[unix.NFT_MSG_NEWRULE], func(r item) bool {
		if chain != "" && r.name() != chain {
			return false
		}
		return handle == nil || r.index < 0 && string(nfnetlink.Find(r.attrs(), unix.NFTA_RULE_HANDLE)) == string(handle)
	})
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
	elements := h.byKind[unix.NFT_MSG_NEWSETELEM]
	for at, old := range elements {
		if old.name() != set {
			continue
		}
		var kept []byte
		for _, e := range nfnetlink.Nested(nfnetlink.Find(old.attrs(), unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			if deleted != nil && !keys[elementKey(e)] {
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
	used := map[string]bool{}
	for _, r := range h.byKind[unix.NFT_MSG_NEWRULE] {
		for _, name := range nfnetlink.SetsOf(r.message) {
			used[name] = true
		}
	}
	gone := map[string]bool{}
	h.byKind[unix.NFT_MSG_NEWSET] = slices.DeleteFunc(h.byKind[unix.NFT_MSG_NEWSET], func(i item) bool {
		flags := nfnetlink.Number(i.attrs(), unix.NFTA_SET_FLAGS)
		if i.index < 0 && flags&unix.NFT_SET_ANONYMOUS != 0 && !used[i.name()] {
			gone[i.name()] = true
			return true
		}
		return false
	})
	h.byKind[unix.NFT_MSG_NEWSETELEM] = slices.DeleteFunc(h.byKind[unix.NFT_MSG_NEWSETELEM], func(i item) bool {
		return i.index < 0 && gone[i.name()]
	})
}

// Attributes that x/sys lacks.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h.
const (
	rulePositionID = 10 // NFTA_RULE_POSITION_ID
	chainID        = 11 // NFTA_CHAIN_ID
)
