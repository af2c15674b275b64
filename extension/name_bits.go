package extension

import (
	"fmt"
	"strings"
)

// nameBits are the words of an option that takes a list of words, each with its
// bit, in the order in which iptables-save prints them.
type nameBits []struct {
	name string
	bit  uint32
}

// parse reads words with commas between them, in any case; a word may be cut
// short, and then stands for the first that begins like it.
func (n nameBits) parse(arg string) (uint32, error) {
	var bits uint32
	for word := range strings.SplitSeq(arg, ",") {
		bit, ok := n.find(word)
		if !ok {
			return 0, fmt.Errorf("%q is none of %s", word, n.join(^uint32(0)))
		}
		bits |= bit
	}
	return bits, nil
}

func (n nameBits) find(word string) (bit uint32, ok bool) {
	if word == "" {
		return 0, false
	}
	word = strings.ToUpper(word)
	for _, e := range n {
		if strings.HasPrefix(e.name, word) {
			return e.bit, true
		}
	}
	return 0, false
}

// join writes the names of bits.
func (n nameBits) join(bits uint32) string {
	var names []string
	for _, e := range n {
		if bits&e.bit != 0 {
			names = append(names, e.name)
		}
	}
	return strings.Join(names, ",")
}
