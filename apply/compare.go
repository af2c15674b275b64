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
	var expected []netlink.Message
	var items []item
	for _, h := range s.holdings {
		names, err := h.names(got)
		if err != nil {
			return nil, err
		}
		hold := func(i item) {
			expected = append(expected, nfnetlink.Resolve(i.message, names))
			items = append(items, i)
		}
		hold(h.self)
		for _, kind := range heldKinds {
			for _, i := range h.byKind[kind] {
				hold(i)
			}
		}
	}
	want, from := nfnetlink.NormaliseFrom(asMade(expected), 0)
	have := nfnetlink.Normalise(got, 0)
	for i := range want {
		at := &items[from[i]]
		if i >= len(have) || !sameThing(want[i], have[i]) {
			found := "nothing"
			if i < len(have) {
				found = describe(have[i])
			}
			return at, fmt.Errorf("want %s, found %s", describe(want[i]), found)
		}
		if err := nfnetlink.Stored(want[i], have[i]); err != nil {
			return at, fmt.Errorf("%s: %w", describe(want[i]), err)
		}
	}
	if len(have) > len(want) {
		return nil, fmt.Errorf("found %s, which nobody sent", describe(have[len(want)]))
	}
	return nil, nil
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
func (h *holding) names(got []netlink.Message) (nfnetlink.Names, error) {
	names := nfnetlink.Names{Sets: map[uint32]string{}, Chains: map[uint32]string{}}
	for _, named := range []struct {
		kind int
		id   uint16
		by   map[uint32]string
	}{
		{unix.NFT_MSG_NEWSET, unix.NFTA_SET_ID, names.Sets},
		{unix.NFT_MSG_NEWCHAIN, chainID, names.Chains},
	} {
		var found []item
		for _, m := range got {
			if kind, _ := nfnetlink.Kind(m); kind == named.kind && nfnetlink.TableOf(m) == h.table {
				found = append(found, item{m, -1})
			}
		}
		if len(found) != len(h.byKind[named.kind]) {
			return names, fmt.Errorf("table %s has %d %ss, want %d", h.table.Name, len(found), nouns[named.kind], len(h.byKind[named.kind]))
		}
		for at, i := range h.byKind[named.kind] {
			if id := nfnetlink.Find(i.attrs(), named.id); id != nil && i.index >= 0 {
				named.by[nfnetlink.Number(i.attrs(), named.id)] = found[at].name()
			}
		}
	}
	return names, nil
}
