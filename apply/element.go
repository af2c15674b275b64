package apply

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// isMoving reports whether packets or time change the elements of a set.
func isMoving(set item) bool {
	return nfnetlink.Number(set.attrs(), unix.NFTA_SET_FLAGS)&(unix.NFT_SET_TIMEOUT|unix.NFT_SET_EVAL) != 0
}

// compareElements compares what the sets hold, but for those whose elements
// packets or time change.
func (h *holding) compareElements(got *holding, names nfnetlink.Names) (*item, error) {
	byName := map[string][]item{}
	for _, elements := range h.elements {
		if len(elements) == 0 {
			continue
		}
		name := resolved(elements[0], names)
		byName[name] = append(byName[name], elements...)
	}
	sets := got.named[unix.NFT_MSG_NEWSET].order
	for _, set := range sets {
		if isMoving(set) {
			continue
		}
		if where, err := sameElements(byName[set.name()], got.elements[set.name()], names); err != nil {
			return where, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if _, ok := got.named[unix.NFT_MSG_NEWSET].at[name]; !ok {
			return &byName[name][0], fmt.Errorf("want %s, found nothing", describe(byName[name][0].message))
		}
	}
	return nil, nil
}

// sameElements says how the elements of a set differ from what is expected.
func sameElements(want, got []item, names nfnetlink.Names) (*item, error) {
	if a, ok := digests(want); ok {
		if b, ok := digests(got); ok && slices.Equal(a, b) {
			return nil, nil
		}
	}
	resolvedWant := make([]netlink.Message, len(want))
	for i, w := range want {
		resolvedWant[i] = w.message
		if w.index >= 0 {
			resolvedWant[i] = nfnetlink.Resolve(w.message, names)
		}
	}
	have, from := nfnetlink.NormaliseFrom(messagesOf(got), 0)
	_ = from
	expected, from := nfnetlink.NormaliseFrom(asMade(resolvedWant), 0)
	for i := range expected {
		at := &want[from[i]]
		if i >= len(have) || !sameThing(expected[i], have[i]) {
			found := "nothing"
			if i < len(have) {
				found = describe(have[i])
			}
			return at, fmt.Errorf("want %s, found %s", describe(expected[i]), found)
		}
		if err := nfnetlink.Stored(expected[i], have[i]); err != nil {
			return at, fmt.Errorf("%s: %w", describe(expected[i]), err)
		}
	}
	if len(have) > len(expected) {
		return nil, fmt.Errorf("found %s, which nobody sent", describe(have[len(expected)]))
	}
	return nil, nil
}

func messagesOf(items []item) []netlink.Message {
	messages := make([]netlink.Message, len(items))
	for i, x := range items {
		messages[i] = x.message
	}
	return messages
}

// A digest stands for one element: two that are equal are, but for a chance of
// one in 2^128, of equal elements.
type digest [2]uint64

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// digests returns those of all elements, in order. It is false when an element
// has something that must be compared with more care.
func digests(items []item) (list []digest, ok bool) {
	count := 0
	for _, i := range items {
		count += len(nfnetlink.Find(i.attrs(), unix.NFTA_SET_ELEM_LIST_ELEMENTS)) / 16
	}
	list = make([]digest, 0, count)
	ok = true
	var buffer []byte
	for _, i := range items {
		nfnetlink.Each(nfnetlink.Find(i.attrs(), unix.NFTA_SET_ELEM_LIST_ELEMENTS), func(_ uint16, element []byte) bool {
			if buffer, ok = appendElement(buffer[:0], element); ok {
				list = append(list, digest{maphash.Bytes(seeds[0], buffer), maphash.Bytes(seeds[1], buffer)})
			}
			return ok
		})
		if !ok {
			return nil, false
		}
	}
	slices.SortFunc(list, func(a, b digest) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	return list, true
}

// appendElement appends an element in a form of its own, which does not depend
// on the order of attributes. It is false for an element that has more than
// keys, flags, data, a comment and the name of an object.
func appendElement(b, element []byte) (_ []byte, ok bool) {
	var parts [elementKeyEnd + 1][]byte
	ok = true
	nfnetlink.Each(element, func(kind uint16, payload []byte) bool {
		switch kind {
		case unix.NFTA_SET_ELEM_KEY, elementKeyEnd:
			var value []byte
			nfnetlink.Each(payload, func(_ uint16, p []byte) bool { value = p; return true })
			parts[kind] = value
		case unix.NFTA_SET_ELEM_DATA:
			parts[kind], ok = appendData(nil, payload)
		case unix.NFTA_SET_ELEM_FLAGS:
			if len(payload) == 4 && binary.BigEndian.Uint32(payload) != 0 {
				parts[kind] = payload
			}
		case unix.NFTA_SET_ELEM_USERDATA:
			parts[kind] = payload
		case unix.NFTA_SET_ELEM_OBJREF:
			for len(payload) > 0 && payload[len(payload)-1] == 0 {
				payload = payload[:len(payload)-1]
			}
			parts[kind] = payload
		case unix.NFTA_SET_ELEM_PAD:
		default:
			ok = false
		}
		return ok
	})
	for kind, p := range parts {
		if p != nil {
			b = append(binary.BigEndian.AppendUint16(append(b, byte(kind)), uint16(len(p))), p...)
		}
	}
	return b, ok
}

// appendData appends what an element maps to: a value, or a verdict.
func appendData(b, payload []byte) (_ []byte, ok bool) {
	ok = true
	nfnetlink.Each(payload, func(kind uint16, p []byte) bool {
		if kind != unix.NFTA_DATA_VERDICT {
			b = append(append(b, byte(kind)), p...)
			return true
		}
		var code, chain []byte
		nfnetlink.Each(p, func(kind uint16, p []byte) bool {
			switch kind {
			case unix.NFTA_VERDICT_CODE:
				code = p
			case unix.NFTA_VERDICT_CHAIN:
				chain = p
			default:
				ok = false
			}
			return ok
		})
		for len(chain) > 0 && chain[len(chain)-1] == 0 {
			chain = chain[:len(chain)-1]
		}
		b = append(append(append(b, byte(kind)), code...), chain...)
		return ok
	})
	return b, ok
}
