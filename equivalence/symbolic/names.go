package symbolic

import (
	"slices"
	"strings"
)

// Names are the classes of device names that the rules of both sides tell
// apart: two names of a class pass the same tests. Class 0 is the empty name, of
// a packet that has no such device; the classes are numbered as
// [Names.Representatives] lists them.
type Names struct{ list []string }

// NameTests collects the tests of device names in rules.
type NameTests struct {
	exact, prefix map[string]bool
}

// Exact notes that a rule compares a whole name.
func (t *NameTests) Exact(name string) {
	if t.exact == nil {
		t.exact = map[string]bool{}
	}
	t.exact[name] = true
}

// Prefix notes that a rule compares the beginning of a name.
func (t *NameTests) Prefix(prefix string) {
	if t.prefix == nil {
		t.prefix = map[string]bool{}
	}
	t.prefix[prefix] = true
}

// maxName is the longest name of a device: IFNAMSIZ without the final NUL.
const maxName = 15

// Names makes the classes. Any name falls in the class of the whole name that it
// equals, or else of the longest prefix that it has, or else of a name that no
// test knows.
func (t *NameTests) Names() *Names {
	n := &Names{list: []string{"", "lo"}}
	add := func(name string) {
		if !slices.Contains(n.list, name) {
			n.list = append(n.list, name)
		}
	}
	for _, name := range sorted(t.exact) {
		if len(name) <= maxName {
			add(name)
		}
	}
	for _, p := range append([]string{""}, sorted(t.prefix)...) {
		if name, ok := t.typical(p); ok {
			add(name)
		}
	}
	return n
}

// typical finds a name with a prefix that no other test tells from the rest of
// such names. ok is false when there is none.
func (t *NameTests) typical(prefix string) (name string, ok bool) {
	if len(prefix) > maxName {
		return "", false
	}
	ends := []string{"", "0", "9", "q", "q0", "zz9", "y7x", "_", "w5v3"}
	if prefix == "" {
		ends[0] = "dev0"
	}
	for _, end := range ends {
		name = prefix + end
		if name == "" || len(name) > maxName || name == "lo" || t.exact[name] {
			continue
		}
		longer := false
		for p := range t.prefix {
			longer = longer || len(p) > len(prefix) && strings.HasPrefix(name, p)
		}
		if !longer {
			return name, true
		}
	}
	return t.search(prefix)
}

// search tries all names of up to two more characters.
func (t *NameTests) search(prefix string) (string, bool) {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
	clear := func(name string) bool {
		for p := range t.prefix {
			if len(p) > len(prefix) && strings.HasPrefix(name, p) {
				return false
			}
		}
		return len(name) <= maxName && !t.exact[name]
	}
	for _, a := range letters {
		if one := prefix + string(a); clear(one) {
			return one, true
		}
		for _, b := range letters {
			if two := prefix + string(a) + string(b); clear(two) {
				return two, true
			}
		}
	}
	return "", false
}

// Representatives lists one name of each class. The list is not to be changed.
func (n *Names) Representatives() []string { return n.list }

// Class returns the class of a name, which is one of those that occur in rules,
// a representative, or any other: then the class is that of the tests that it
// passes.
func (n *Names) Class(name string, t *NameTests) int {
	if i := slices.Index(n.list, name); i >= 0 {
		return i
	}
	longest := ""
	for p := range t.prefix {
		if strings.HasPrefix(name, p) && len(p) > len(longest) {
			longest = p
		}
	}
	if typical, ok := t.typical(longest); ok {
		if i := slices.Index(n.list, typical); i >= 0 {
			return i
		}
	}
	return 0
}

func sorted(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for s := range set {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}
