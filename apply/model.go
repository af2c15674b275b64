package apply

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// A key names a chain, a set or an object of a table. The kind is
// NFT_MSG_NEWCHAIN, NFT_MSG_NEWSET or NFT_MSG_NEWOBJ.
type key struct {
	kind int
	name string
}

// A node is a chain with its rules, a set with its elements, or an object.
type node struct {
	key    key
	self   item
	inside []item
	// refs are what it depends on; what is inside of a rule is looked through.
	refs []key
}

// A model is one table, as what depends on what.
type model struct {
	table nfnetlink.Table
	self  item
	// nodes are what has a name, in the order in which it was made: chains,
	// sets, objects.
	nodes  []*node
	byKey  map[key]*node
	within map[string]*node // the sets inside of rules
	flows  []item
}

// errUnstaged says that something cannot be changed in stages.
var errUnstaged = errors.New("cannot be changed in stages")

// modelOf returns the model of what a table holds.
func modelOf(h *holding) (*model, error) {
	m := &model{
		table: h.table, self: h.self, byKey: map[key]*node{}, within: map[string]*node{},
		flows: h.named[unix.NFT_MSG_NEWFLOWTABLE].all(),
	}
	for _, kind := range []int{unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_NEWSET, unix.NFT_MSG_NEWOBJ} {
		for _, self := range h.named[kind].all() {
			n := &node{key: key{kind, self.name()}, self: self}
			switch kind {
			case unix.NFT_MSG_NEWCHAIN:
				if n.key.name == "" || nfnetlink.Number(self.attrs(), chainFlags)&chainBinding != 0 {
					return nil, fmt.Errorf("table %q: a chain inside of a rule %w", h.table.Name, errUnstaged)
				}
				n.inside = h.rules[n.key.name]
			case unix.NFT_MSG_NEWSET:
				if nfnetlink.Number(self.attrs(), unix.NFTA_SET_FLAGS)&unix.NFT_SET_ANONYMOUS != 0 {
					n.key.name = setHome(n.key.name, nfnetlink.Number(self.attrs(), unix.NFTA_SET_ID))
					n.inside = h.elements[n.key.name]
					m.within[n.key.name] = n
					continue
				}
				n.inside = h.elements[n.key.name]
			}
			m.nodes = append(m.nodes, n)
			m.byKey[n.key] = n
		}
	}
	for _, n := range m.within {
		m.refer(n)
	}
	for _, n := range m.nodes {
		m.refer(n)
	}
	return m, nil
}

// setHome is what a set is filed under, as [item.home] says it of its elements.
func setHome(name string, id uint32) string {
	if id != 0 && strings.Contains(name, "%") {
		return fmt.Sprintf("%s#%08x", name, id)
	}
	return name
}

func keyOf(r nfnetlink.Ref) key {
	if r.Kind == unix.NFT_MSG_NEWSET {
		return key{r.Kind, setHome(r.Name, r.ID)}
	}
	return key{r.Kind, r.Name}
}

// refer finds out what a node depends on.
func (m *model) refer(n *node) {
	seen := map[key]bool{n.key: true}
	var add func(k key)
	add = func(k key) {
		if seen[k] {
			return
		}
		seen[k] = true
		if inner := m.within[k.name]; inner != nil && k.kind == unix.NFT_MSG_NEWSET {
			for _, i := range inner.inside {
				nfnetlink.References(i.message, func(r nfnetlink.Ref) { add(keyOf(r)) })
			}
			return
		}
		n.refs = append(n.refs, k)
	}
	for _, i := range n.inside {
		nfnetlink.References(i.message, func(r nfnetlink.Ref) { add(keyOf(r)) })
	}
}

// anonymous are the sets inside of a rule, in the order in which it means
// them.
func (m *model) anonymous(rule item) []*node {
	var sets []*node
	nfnetlink.References(rule.message, func(r nfnetlink.Ref) {
		if n := m.within[keyOf(r).name]; n != nil && r.Kind == unix.NFT_MSG_NEWSET && !slices.Contains(sets, n) {
			sets = append(sets, n)
		}
	})
	return sets
}

// isBase reports whether a node is a chain that packets come to by a hook.
func (n *node) isBase() bool {
	return n.key.kind == unix.NFT_MSG_NEWCHAIN && nfnetlink.Find(n.self.attrs(), unix.NFTA_CHAIN_HOOK) != nil
}

// drops reports whether the policy of a base chain is to drop.
func (n *node) drops() bool {
	policy := nfnetlink.Find(n.self.attrs(), unix.NFTA_CHAIN_POLICY)
	return policy != nil && nfnetlink.Number(n.self.attrs(), unix.NFTA_CHAIN_POLICY) == 0
}

// sameSelf reports whether two nodes are the same but for what is inside of
// them and for the policy.
func sameSelf(want, have *node) bool {
	if want.isBase() != have.isBase() {
		return false
	}
	if want.key.kind != unix.NFT_MSG_NEWCHAIN {
		return same(want.self, have.self, nfnetlink.Names{}) == nil
	}
	return same(withoutPolicy(want.self), withoutPolicy(have.self), nfnetlink.Names{}) == nil
}

func withoutPolicy(chain item) item {
	data := slices.Clone(chain.message.Data[:4])
	for _, a := range chain.attrs() {
		if a.Type != unix.NFTA_CHAIN_POLICY {
			data = nfnetlink.AppendAttr(data, a.Type, a.Data)
		}
	}
	chain.message.Data = data
	return chain
}

// sameInside reports whether two nodes of two models hold the same. Elements
// that packets or time change do not count.
func (m *model) sameInside(want *node, now *model, have *node) bool {
	switch want.key.kind {
	case unix.NFT_MSG_NEWSET:
		if isMoving(want.self) && isMoving(have.self) {
			return true
		}
		_, err := sameElements(want.inside, have.inside, nfnetlink.Names{})
		return err == nil
	case unix.NFT_MSG_NEWCHAIN:
		if len(want.inside) != len(have.inside) {
			return false
		}
		for i := range want.inside {
			if !m.sameRule(want.inside[i], now, have.inside[i]) {
				return false
			}
		}
	}
	return true
}

func (m *model) sameRule(want item, now *model, have item) bool {
	if want.index < 0 && bytes.Equal(want.message.Data, have.message.Data) && len(now.anonymous(have)) == 0 {
		return true
	}
	wants, haves := m.anonymous(want), now.anonymous(have)
	if len(wants) != len(haves) {
		return false
	}
	if len(wants) == 0 {
		return same(want, have, nfnetlink.Names{}) == nil
	}
	names := map[string]string{}
	for i, w := range wants {
		names[w.key.name] = haves[i].self.name()
		self := item{renamed(w.self.message, names), -1}
		if same(self, haves[i].self, nfnetlink.Names{}) != nil {
			return false
		}
		elements := make([]item, len(w.inside))
		for j, e := range w.inside {
			elements[j] = item{renamed(e.message, names), -1}
		}
		if _, err := sameElements(elements, haves[i].inside, nfnetlink.Names{}); err != nil {
			return false
		}
	}
	return same(item{renamed(want.message, names), -1}, have, nfnetlink.Names{}) == nil
}

// renamed gives the sets inside of rules the names they have elsewhere.
func renamed(m netlink.Message, names map[string]string) netlink.Message {
	return nfnetlink.Rename(m, func(r nfnetlink.Ref) (string, uint32) {
		if name, ok := names[keyOf(r).name]; ok && r.Kind == unix.NFT_MSG_NEWSET {
			return name, 0
		}
		return r.Name, r.ID
	})
}
