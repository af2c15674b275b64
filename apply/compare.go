package apply

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// compare says how what was read back differs from what is expected, and which
// item is at fault when one is.
func (s *state) compare(got []netlink.Message) (*item, error) {
	found := hold(got)
	for _, h := range s.holdings {
		other := found.find(h.table)
		if other == nil {
			return &h.self, fmt.Errorf("want %s, found nothing", describe(h.self.message))
		}
		if where, err := h.compare(other); err != nil {
			return where, err
		}
	}
	for _, h := range found.holdings {
		if s.find(h.table) == nil {
			return nil, fmt.Errorf("found %s, which nobody sent", describe(h.self.message))
		}
	}
	return nil, nil
}

func (h *holding) compare(got *holding) (*item, error) {
	names, err := h.names(got)
	if err != nil {
		return nil, err
	}
	if err := same(h.self, got.self, names); err != nil {
		return &h.self, err
	}
	for _, kind := range namedKinds {
		r := got.named[kind]
		all := h.named[kind].all()
		for i, want := range all {
			at, ok := r.at[resolved(want, names)]
			if !ok {
				return &all[i], fmt.Errorf("want %s, found nothing", describe(nfnetlink.Resolve(want.message, names)))
			}
			if err := same(want, r.order[at], names); err != nil {
				return &all[i], err
			}
		}
		if len(r.order) > len(all) {
			known := map[string]bool{}
			for _, want := range all {
				known[resolved(want, names)] = true
			}
			for _, have := range r.order {
				if !known[have.name()] {
					return nil, fmt.Errorf("found %s, which nobody sent", describe(have.message))
				}
			}
		}
	}
	if where, err := compareRules(h.rules, got.rules, names); err != nil {
		return where, err
	}
	return h.compareElements(got, names)
}

// resolved is the name that the kernel has for something.
func resolved(i item, names nfnetlink.Names) string {
	var id uint16
	from := names.Sets
	switch made(i) {
	case unix.NFT_MSG_NEWSET:
		id = unix.NFTA_SET_ID
	case unix.NFT_MSG_NEWSETELEM:
		id = unix.NFTA_SET_ELEM_LIST_SET_ID
	case unix.NFT_MSG_NEWCHAIN:
		id, from = chainID, names.Chains
	case unix.NFT_MSG_NEWRULE:
		id, from = ruleChainID, names.Chains
	}
	if id != 0 && i.index >= 0 {
		if n := nfnetlink.Find(i.attrs(), id); len(n) == 4 {
			if name, ok := from[nfnetlink.Number(i.attrs(), id)]; ok {
				return name
			}
		}
	}
	return i.name()
}

func compareRules(want, got map[string][]item, names nfnetlink.Names) (*item, error) {
	seen := map[string]bool{}
	for _, rules := range want {
		if len(rules) == 0 {
			continue
		}
		chain := resolved(rules[0], names)
		seen[chain] = true
		have := got[chain]
		for i := range rules {
			if i >= len(have) {
				return &rules[i], fmt.Errorf("want %s, found nothing", describe(nfnetlink.Resolve(rules[i].message, names)))
			}
			if err := same(rules[i], have[i], names); err != nil {
				return &rules[i], err
			}
		}
		if len(have) > len(rules) {
			return nil, fmt.Errorf("found %s, which nobody sent", describe(have[len(rules)].message))
		}
	}
	for chain, rules := range got {
		if !seen[chain] && len(rules) > 0 {
			return nil, fmt.Errorf("found %s, which nobody sent", describe(rules[0].message))
		}
	}
	return nil, nil
}

// same says how one thing that was read back differs from what is expected.
func same(want, have item, names nfnetlink.Names) error {
	m := nfnetlink.Matches
	message := asMade([]netlink.Message{want.message})[0]
	if want.index < 0 {
		names = nfnetlink.Names{}
	}
	if m(message, have.message, names) {
		return nil
	}
	w := nfnetlink.Normalise([]netlink.Message{nfnetlink.Resolve(message, names)}, 0)
	g := nfnetlink.Normalise([]netlink.Message{have.message}, 0)
	if len(w) != 1 || len(g) != 1 || !sameThing(w[0], g[0]) {
		return fmt.Errorf("want %s, found %s", describe(message), describe(have.message))
	}
	if err := nfnetlink.Stored(w[0], g[0]); err != nil {
		return fmt.Errorf("%s: %w", describe(w[0]), err)
	}
	return nil
}

// asMade gives messages the type of the message that makes the thing, which is
// what a dump has.
func asMade(messages []netlink.Message) []netlink.Message {
	for i := range messages {
		messages[i].Header.Type = netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | made(item{message: messages[i]}))
	}
	return messages
}

func sameThing(a, b netlink.Message) bool {
	return a.Header.Type == b.Header.Type && nfnetlink.TableOf(a) == nfnetlink.TableOf(b) &&
		item{message: a}.name() == item{message: b}.name()
}

// names finds out what the kernel called what the batch made under numbers: it
// keeps sets and chains in the order in which they were made, so the place in
// that order tells.
func (h *holding) names(got *holding) (nfnetlink.Names, error) {
	names := nfnetlink.Names{Sets: map[uint32]string{}, Chains: map[uint32]string{}}
	for _, named := range []struct {
		kind int
		id   uint16
		by   map[uint32]string
	}{
		{unix.NFT_MSG_NEWSET, unix.NFTA_SET_ID, names.Sets},
		{unix.NFT_MSG_NEWCHAIN, chainID, names.Chains},
	} {
		found, all := got.named[named.kind].order, h.named[named.kind].all()
		if len(found) != len(all) {
			return names, fmt.Errorf("table %s has %d %ss, want %d", h.table.Name, len(found), nouns[named.kind], len(all))
		}
		for at, i := range all {
			if i.index < 0 {
				continue
			}
			if id := nfnetlink.Find(i.attrs(), named.id); id != nil {
				named.by[nfnetlink.Number(i.attrs(), named.id)] = found[at].name()
			}
		}
	}
	return names, nil
}
