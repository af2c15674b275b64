package nftsim

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// An instanceID tells states apart: an instruction of a rule or of an element,
// or one of those that the elements of a set that packets change run, for a key,
// or whether such a set holds a key.
type instanceID struct {
	instruction Instruction
	element     *Element
	set         *Set
	ring        *ring
	nth         int // of the set's instructions, or membership
	key         string
}

const membership = -1

// owner is whose stateful instructions are running: those of an element, or of
// the elements of a set for a key.
type owner struct {
	element *Element
	set     *Set
	nth     int
	key     string
	life    int64 // of the elements, nanoseconds; 0 for ever
}

// ask asks the state of an instruction and notes that it was asked. Where the
// state is not known, the run ends.
func (x *symbolicRun) ask(i Instruction, in symbolic.Instance) (symbolic.Word, bool) {
	if x.owner.set != nil {
		in.Key = x.owner.key
		if x.owner.life != 0 {
			in.Key += fmt.Sprintf(" for %dms", x.owner.life/1e6)
		}
	}
	slot, w, ok := x.slot(x.stateOf(i), in)
	if !ok || x.collecting != nil {
		return w, ok
	}
	w, e := x.space.Ask(slot)
	w = x.now(w)
	x.effect = x.space.Along(x.effect, e)
	return w, true
}

// askFirm asks a state that answers yes or no, and goes on by its answer: a packet
// that it has refused it refuses again.
func (x *symbolicRun) askFirm(i Instruction, in symbolic.Instance, with func(y *symbolicRun, answer bool)) {
	s := x.space
	way := func(answer bool) func(y *symbolicRun) { return func(y *symbolicRun) { with(y, answer) } }
	if x.collecting != nil {
		if w, ok := x.ask(i, in); ok {
			x.split(w[0], way(true), way(false))
		}
		return
	}
	slot, _, ok := x.slot(x.stateOf(i), in)
	if !ok {
		return
	}
	x.split(x.now(symbolic.Word{s.Refused(slot)})[0], way(false), func(y *symbolicRun) {
		w, ok := y.ask(i, in)
		if !ok {
			return
		}
		y.split(w[0], way(true), func(z *symbolicRun) {
			z.effect = s.Along(z.effect, s.Refusal(slot))
			with(z, false)
		})
	})
}

// noteSole notes a state of the elements of a set whose key is a number, and that
// is lost only when it is as it was in the beginning.
func (x *symbolicRun) noteSole(kept bool) {
	digits, ok := strings.CutPrefix(x.owner.key, "0b")
	if c := x.collecting; c != nil && ok && kept && strings.Trim(digits, "01") == "" {
		c.sole[x.stateOf(nil)] = true
	}
}

// unite makes states that are noted ones for all packets, where packets meet no
// other element of the set, and leaves out of keys a beginning that is one number in
// all of the set.
func (c *collection) unite() {
	elements := map[*Set]map[string]bool{}
	for _, id := range c.ids {
		if id.set == nil {
			continue
		}
		if elements[id.set] == nil {
			elements[id.set] = map[string]bool{}
		}
		elements[id.set][id.key] = true
	}
	for n, id := range c.ids {
		switch {
		case id.set == nil || id.nth == membership:
		case c.sole[id] && len(elements[id.set]) == 1:
			c.instances[n].Key, c.instances[n].Firm = "", true
		default:
			c.instances[n].Key = withoutWord(c.instances[n].Key, elements[id.set])
		}
	}
}

// withoutWord leaves the first word of zeros out of a key that begins like all
// others of its set.
func withoutWord(key string, all map[string]bool) string {
	word := "0b" + strings.Repeat("0", 8*wordSize)
	for k := range all {
		if !strings.HasPrefix(k, word) || len(k) == len(word) {
			return key
		}
	}
	rest, _ := strings.CutPrefix(key, word)
	if rest[0] == ' ' {
		return rest[1:]
	}
	return "0b" + rest
}

// stateOf is the state of an instruction that is running.
func (x *symbolicRun) stateOf(i Instruction) instanceID {
	if x.owner.set != nil {
		return instanceID{set: x.owner.set, nth: x.owner.nth, key: x.owner.key}
	}
	return instanceID{instruction: i, element: x.owner.element}
}

// peek is ask without a note.
func (x *symbolicRun) peek(id instanceID, in symbolic.Instance) (symbolic.Word, bool) {
	slot, w, ok := x.slot(id, in)
	if !ok || x.collecting != nil {
		return w, ok
	}
	return x.now(x.space.Peek(slot)), true
}

// slot finds the slot of a state. While states are collected it notes the state
// and makes variables for its answer.
func (x *symbolicRun) slot(id instanceID, in symbolic.Instance) (symbolic.Slot, symbolic.Word, bool) {
	if c := x.collecting; c != nil {
		if !c.seen[id] {
			in.Identity = id
			in.Place = x.place(x.rule)
			c.seen[id] = true
			c.ids, c.instances = append(c.ids, id), append(c.instances, in)
		}
		const first = 1 << 24 // above all others
		w := make(symbolic.Word, in.Width)
		for bit := range w {
			w[bit] = x.space.Var(first + c.variables)
			c.variables++
		}
		return 0, w, true
	}
	slot, ok := x.slots[id]
	if !ok {
		x.undecided("a state that was not collected")
	}
	return slot, nil, ok
}

// asker is an instruction that can consult a state.
type asker interface {
	asks(c *compiler) bool
}

// stateful reports whether a rule can consult a state.
func (c *compiler) stateful(r *Rule) bool {
	return slices.ContainsFunc(r.Instructions, func(i Instruction) bool {
		a, ok := i.(asker)
		return ok && a.asks(c)
	})
}

// describe puts a key in words that are the same for the same key.
func (x *symbolicRun) describe(key symbolicKey) (string, bool) {
	var words []string
	for _, p := range key {
		if p.device != 0 {
			words = append(words, p.device.String())
			continue
		}
		w, ok := x.describeWord(p.word)
		if !ok {
			x.undecided("a key of a set that packets change depends on a state")
			return "", false
		}
		words = append(words, w)
	}
	return strings.Join(words, " . "), true
}

// describeWord spells runs of constants, and of variables of a group, the first
// and the last bit of which it names. Other functions are told by a hash.
func (c *compiler) describeWord(w symbolic.Word) (string, bool) {
	var words []string
	for i := 0; i < len(w); {
		n := 1
		switch g, bit, kind := c.bitName(w[i]); kind {
		case constantBit:
			digits := ""
			for n = 0; i+n < len(w) && c.space.IsTerminal(w[i+n]); n++ {
				digits += fmt.Sprint(w[i+n])
			}
			words = append(words, "0b"+digits)
		case variableBit:
			for ; i+n < len(w); n++ {
				if g2, bit2, kind := c.bitName(w[i+n]); kind != variableBit || g2 != g || bit2 != bit+n {
					break
				}
			}
			words = append(words, fmt.Sprintf("%v[%d:%d]", g, bit, bit+n))
		default:
			text, ok := c.serialize(w[i])
			if !ok {
				return "", false
			}
			words = append(words, fmt.Sprintf("f%x", sha256.Sum256([]byte(text)))[:17])
		}
		i += n
	}
	return strings.Join(words, " "), true
}

type bitKind uint8

const (
	functionBit bitKind = iota
	constantBit
	variableBit
)

func (c *compiler) bitName(f bdd.Ref) (symbolic.Group, int, bitKind) {
	if c.space.IsTerminal(f) {
		return 0, 0, constantBit
	}
	l := c.space.Level(f)
	if g, bit, ok := symbolic.GroupOf(l); ok && f == c.space.Var(l) {
		return g, bit, variableBit
	}
	return 0, 0, functionBit
}

// serialize spells a function of variables of packets; ok is false when it
// depends on others.
func (c *compiler) serialize(f bdd.Ref) (string, bool) {
	var b strings.Builder
	numbers := map[bdd.Ref]int{}
	ok := true
	var walk func(f bdd.Ref) int
	walk = func(f bdd.Ref) int {
		if n, seen := numbers[f]; seen {
			return n
		}
		if c.space.IsTerminal(f) {
			fmt.Fprintf(&b, "%d ", f)
		} else {
			low, high := walk(c.space.Low(f)), walk(c.space.High(f))
			g, bit, known := symbolic.GroupOf(c.space.Level(f))
			ok = ok && known
			fmt.Fprintf(&b, "%v:%d?%d:%d ", g, bit, high, low)
		}
		n := len(numbers)
		numbers[f] = n
		return n
	}
	walk(f)
	return b.String(), ok
}

// before puts steps before those that are left.
func (x *symbolicRun) before(steps []symbolicStep) {
	x.rest = append(slices.Clip(steps), x.rest...)
}

// owned is a stateful instruction of an element.
func owned(o owner, i Instruction) symbolicStep {
	return stepFunc(func(x *symbolicRun) {
		x.owner = o
		x.before([]symbolicStep{stepOf(i), stepFunc(func(x *symbolicRun) { x.owner = owner{} })})
	})
}
