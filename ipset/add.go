package ipset

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"nftmigrate/iptables"
)

// add carries out "add NAME ELEMENT [OPTION]…".
func (r *Reader) add(words []Word) {
	if !r.wants(words, 2, "the name of a set and an element") {
		return
	}
	s := r.sets.byName[words[1].Text]
	if s == nil && r.known(words[1]) == nil {
		return
	}
	if s.Type.IsList() {
		r.addMember(s, words)
		return
	}
	if len(words) == 3 && !s.Options.extended() {
		if packed, ok := s.packPlain(r.packed[:0], words[2].Text); ok {
			r.packed = packed
			if len(s.at) == 0 {
				s.deferred = r.deferring
			}
			if !s.deferred || r.exist {
				r.addPacked(s, Extra{}, words[2])
			} else if r.hasRoom(s, words[2]) {
				s.append(packed, Extra{}, r.line.Start)
			}
			return
		}
	}
	var p pattern
	if err := s.parsePattern(words[2].Text, &p); err != nil {
		r.refuse(invalidElement, words[2], fmt.Sprintf("%q is not an element of %s", clip(words[2].Text), s.Type.Name), upper(err.Error())+".")
		return
	}
	var x Extra
	if len(words) > 3 || s.Options.extended() {
		x.Timeout = s.Options.Timeout
		if !r.elementOptions(s, words[3:], &p.Element, &x) {
			return
		}
	}
	first := true
	s.each(&p, func(e *Element) bool {
		if !first {
			if r.expanded++; r.expanded > expandMax {
				r.refuse(tooManyElements, words[2], "ranges stand for too many elements",
					fmt.Sprintf("Together they are more than %d. Use a set of networks.", expandMax))
				return false
			}
		}
		first = false
		return r.addOne(s, e, x, words[2])
	})
}

// addOne adds one element.
func (r *Reader) addOne(s *Set, e *Element, x Extra, where Word) bool {
	if s.isNull(e) {
		r.refuse(invalidElement, where, "the address of zeros cannot be an element", "The kernel takes it in no hash. Remove the line.")
		return false
	}
	r.packed = s.pack(r.packed[:0], e)
	return r.addPacked(s, x, where)
}

// addPacked adds the element that is in r.packed.
func (r *Reader) addPacked(s *Set, x Extra, where Word) bool {
	r.look(s)
	place, slot, hash := s.find(r.packed)
	switch {
	case place >= 0 && r.exist:
		copy(s.record(place), r.packed)
		if s.extra != nil {
			s.extra[place] = x
		}
		return true
	case place >= 0:
		r.refuse(duplicateElement, where, fmt.Sprintf("the element is in set %q already", s.Name),
			fmt.Sprintf("It was added in line %d. Remove one of the two lines, or add -exist.", s.Place(place).Line()))
		return false
	case !r.hasRoom(s, where):
		return false
	}
	s.append(r.packed, x, r.line.Start)
	s.indexed(len(s.at)-1, slot, hash)
	return true
}

// hasRoom reports whether a set takes one more element.
func (r *Reader) hasRoom(s *Set, where Word) bool {
	switch {
	case s.Options.MaxElem != 0 && s.Len() >= int(s.Options.MaxElem):
		r.refuse(setFull, where, fmt.Sprintf("set %q is full", s.Name),
			fmt.Sprintf("It holds %d elements. Give it a larger maxelem.", s.Options.MaxElem))
		return false
	case len(s.data) > math.MaxInt32/2:
		r.refuse(tooManyElements, where, fmt.Sprintf("set %q is too large", s.Name), "Split it.")
		return false
	}
	return true
}

func (s *Set) append(packed []byte, x Extra, at int32) {
	s.data = append(s.data, packed...)
	s.at = append(s.at, at)
	if s.Options.extended() {
		s.extra = append(s.extra, x)
	}
}

// isNull reports whether a hash cannot hold an element.
//
// Kernel: net/netfilter/ipset/ip_set_hash_ip.c; tried with all types.
func (s *Set) isNull(e *Element) bool {
	return s.Type.Name == "hash:ip" && e.Addr[0].IsUnspecified()
}

// elementOptions reads what stands behind an element.
func (r *Reader) elementOptions(s *Set, words []Word, e *Element, x *Extra) bool {
	o := &s.Options
	for i := 0; i < len(words); i++ {
		w := words[i]
		name := strings.TrimLeft(w.Text, "-")
		switch name {
		case "nomatch", "wildcard":
			if name == "nomatch" && !s.Type.Nomatch() || name == "wildcard" && !s.Type.has(Iface) {
				r.unknownElementOption(s, w)
				return false
			}
			e.Nomatch = e.Nomatch || name == "nomatch"
			e.Wildcard = e.Wildcard || name == "wildcard"
			continue
		}
		known := map[string]bool{"timeout": o.HasTimeout, "packets": o.Counters, "bytes": o.Counters, "comment": o.Comment,
			"skbmark": o.SkbInfo, "skbprio": o.SkbInfo, "skbqueue": o.SkbInfo}
		allowed, exists := known[name]
		if !exists {
			r.unknownElementOption(s, w)
			return false
		}
		if !allowed {
			what := map[string]string{"packets": "counters", "bytes": "counters", "skbmark": "skbinfo", "skbprio": "skbinfo", "skbqueue": "skbinfo"}[name]
			if what == "" {
				what = name
			}
			r.refuse(invalidOption, w, fmt.Sprintf("set %q was created without %s", s.Name, what), "Add "+what+" to the line that creates it, or remove it here.")
			return false
		}
		if i++; i >= len(words) {
			r.refuse(missingArgument, w, w.Text+" lacks its argument", "Write it behind the option.")
			return false
		}
		if err := x.set(name, words[i].Text); err != nil {
			r.refuse(invalidOption, words[i], "the argument of "+name+" is wrong", upper(err.Error())+".")
			return false
		}
	}
	return true
}

func (r *Reader) unknownElementOption(s *Set, w Word) {
	r.refuse(unknownOption, w, fmt.Sprintf("an element of %s has no option %q", s.Type.Name, clip(w.Text)), "Remove it."+
		didYouMean(strings.TrimLeft(w.Text, "-"), []string{"timeout", "packets", "bytes", "comment", "skbmark", "skbprio", "skbqueue", "nomatch", "wildcard"}))
}

// set reads the argument of an option of an element.
func (x *Extra) set(name, text string) (err error) {
	var n uint64
	switch name {
	case "timeout":
		n, err = iptables.ParseNumber(text, timeoutMax)
		x.Timeout = uint32(n)
	case "packets":
		x.Packets, err = iptables.ParseNumber(text, math.MaxUint64-1)
	case "bytes":
		x.Bytes, err = iptables.ParseNumber(text, math.MaxUint64-1)
	case "comment":
		if len(text) > 255 || strings.IndexByte(text, '"') >= 0 {
			return fmt.Errorf("a comment has at most 255 bytes, and no quotes")
		}
		x.Comment = text
	case "skbmark":
		mark, mask, masked := strings.Cut(text, "/")
		n, err = iptables.ParseNumber(mark, math.MaxUint32)
		x.SkbMark, x.SkbMask = uint32(n), math.MaxUint32
		if err == nil && masked {
			n, err = iptables.ParseNumber(mask, math.MaxUint32)
			x.SkbMask = uint32(n)
		}
	case "skbprio":
		major, minor, _ := strings.Cut(text, ":")
		a, err1 := strconv.ParseUint(major, 16, 16)
		b, err2 := strconv.ParseUint(minor, 16, 16)
		if err1 != nil || err2 != nil {
			return fmt.Errorf("%q is not a class; write MAJOR:MINOR in hexadecimal", clip(text))
		}
		x.SkbPrio = uint32(a<<16 | b)
	case "skbqueue":
		n, err = iptables.ParseNumber(text, math.MaxUint16)
		x.SkbQueue = uint16(n)
	}
	return err
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// del carries out "del NAME ELEMENT".
func (r *Reader) del(words []Word) {
	if !r.wants(words, 2, "the name of a set and an element") {
		return
	}
	s := r.known(words[1])
	if s == nil {
		return
	}
	if s.Type.IsList() {
		if m := r.known(words[2]); m != nil && !s.deleteMember(m) && !r.exist {
			r.missing(s, words[2])
		}
		return
	}
	var p pattern
	if err := s.parsePattern(words[2].Text, &p); err != nil {
		r.refuse(invalidElement, words[2], fmt.Sprintf("%q is not an element of %s", clip(words[2].Text), s.Type.Name), upper(err.Error())+".")
		return
	}
	p.Wildcard = slices.ContainsFunc(words[3:], func(w Word) bool { return strings.TrimLeft(w.Text, "-") == "wildcard" })
	s.each(&p, func(e *Element) bool {
		if r.expanded++; r.expanded > expandMax {
			r.refuse(tooManyElements, words[2], "ranges stand for too many elements", "Delete them by fewer lines.")
			return false
		}
		r.packed = s.pack(r.packed[:0], e)
		r.look(s)
		place, _, _ := s.find(r.packed)
		if place < 0 {
			if r.exist {
				return true
			}
			r.missing(s, words[2])
			return false
		}
		s.record(place)[s.stride-1] |= flagDead
		if s.dead++; s.dead > 1024 && 2*s.dead > len(s.at) {
			s.compact()
		}
		return true
	})
}

func (r *Reader) missing(s *Set, w Word) {
	r.refuse(noSuchElement, w, fmt.Sprintf("set %q has no such element", s.Name), "Remove the line, or add -exist.")
}

// addMember adds a set to a list: at its end, or before or after another one.
func (r *Reader) addMember(s *Set, words []Word) {
	m := r.known(words[2])
	if m == nil {
		return
	}
	if m.Type.IsList() {
		r.refuse(invalidElement, words[2], "a list cannot be an element of a list", "Add the sets that it holds.")
		return
	}
	at := s.memberCount()
	rest := words[3:]
	var kept []Word
	for i := 0; i < len(rest); i++ {
		before := rest[i].Text == "before"
		if !before && rest[i].Text != "after" {
			kept = append(kept, rest[i])
			continue
		}
		if i++; i >= len(rest) {
			r.refuse(missingArgument, rest[i-1], rest[i-1].Text+" lacks the name of a set", "Write it behind the word.")
			return
		}
		next := r.known(rest[i])
		if next == nil {
			return
		}
		if at = slices.Index(s.members, next); at < 0 {
			r.missing(s, rest[i])
			return
		}
		if !before {
			at++
		}
	}
	x := Extra{Timeout: s.Options.Timeout}
	if !r.elementOptions(s, kept, &Element{}, &x) {
		return
	}
	if old := slices.Index(s.members, m); old >= 0 {
		if !r.exist {
			r.refuse(duplicateElement, words[2], fmt.Sprintf("the element is in set %q already", s.Name), "Remove the line, or add -exist.")
		} else if s.extra != nil {
			s.extra[old] = x
		}
		return
	}
	m.users++
	s.members = slices.Insert(s.members, at, m)
	s.at = slices.Insert(s.at, at, r.line.Start)
	if s.Options.extended() {
		s.extra = slices.Insert(s.extra, at, x)
	}
	s.renumber()
}

func (s *Set) memberCount() int { return len(s.members) }

// renumber writes the packed elements of a list anew, of which each is the number
// of its set.
func (s *Set) renumber() {
	s.data = s.data[:0]
	for i := range s.members {
		s.data = append(s.data, byte(i>>24), byte(i>>16), byte(i>>8), byte(i), 0)
	}
}

// deleteMember takes a set out of a list.
func (s *Set) deleteMember(m *Set) bool {
	i := slices.Index(s.members, m)
	if i < 0 {
		return false
	}
	m.users--
	s.members = slices.Delete(s.members, i, i+1)
	s.at = slices.Delete(s.at, i, i+1)
	if s.extra != nil {
		s.extra = slices.Delete(s.extra, i, i+1)
	}
	s.renumber()
	return true
}
