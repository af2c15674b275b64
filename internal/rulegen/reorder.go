package rulegen

import (
	"bytes"
	"math/rand/v2"
)

// Reorder returns a text that says the same: in chain FORWARD of table filter,
// neighbours change places, in as many passes as are asked for, when no packet
// can notice.
//
// That is so for two rules that test nothing but addresses, interfaces, protocol
// and ports, when no packet matches both, or both have the same action. A packet
// that ends before its ports counts too: the kernel drops it in a match that
// reads them. Any other rule stays where it is, and all stay on their side of it.
func Reorder(save []byte, passes int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 201))
	lines, first, end := forward(save)
	type pair struct {
		line  []byte
		tuple tuple
	}
	rules := make([]pair, end-first)
	for i, line := range lines[first:end] {
		rules[i] = pair{line, parseTuple(line)}
	}
	for range passes {
		for i := 1; i < len(rules); i++ {
			if a, b := &rules[i-1], &rules[i]; oneIn(r, 2) && swappable(&a.tuple, &b.tuple) {
				*a, *b = *b, *a
			}
		}
	}
	for i, p := range rules {
		lines[first+i] = p.line
	}
	return bytes.Join(lines, nil)
}
