package ipset

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"nftmigrate/iptables"
)

// timeoutMax is the longest timeout in seconds (IPSET_MAX_TIMEOUT).
const timeoutMax = (math.MaxUint32 >> 1) / 1000

// Defaults of the kernel.
const (
	defaultHashSize = 1024
	defaultMaxElem  = 65536
	defaultBucket   = 12
	defaultListSize = 8
	hashSizeMin     = 64
	// bitmapMax is the largest range of a bitmap (IPSET_BITMAP_MAX_RANGE).
	bitmapMax = 1 << 16
)

// create carries out "create NAME TYPE [OPTION]…".
func (r *Reader) create(words []Word) {
	if !r.wants(words, 2, "the name and the type of a set") {
		return
	}
	name := words[1]
	t := TypeOf(words[2].Text)
	if t == nil {
		var names []string
		for _, known := range Types {
			names = append(names, known.Name)
		}
		r.refuse(unknownType, words[2], fmt.Sprintf("there is no type %q of sets", clip(words[2].Text)),
			"The types are "+strings.Join(names, ", ")+"."+didYouMean(words[2].Text, names))
		return
	}
	if old := r.sets.byName[name.Text]; old != nil && r.exist && old.Type == t {
		return
	}
	if !r.validName(name) {
		return
	}
	s := &Set{Name: strings.Clone(name.Text), Range: r.line, Type: t, source: r.src}
	if t.Families {
		s.Options.Family = 4
	}
	o := optionReader{r: r, words: words[3:], set: s}
	if !o.read() || !o.check(words[2]) {
		return
	}
	s.layout = layoutOf(t, s.Options.Family)
	r.sets.List = append(r.sets.List, s)
	r.sets.byName[s.Name] = s
}

// An optionReader reads the options of "create".
type optionReader struct {
	r     *Reader
	words []Word
	at    int
	set   *Set
	where Word // of the option at hand
	mask  Word
}

// argument returns the argument of the option at hand.
func (o *optionReader) argument() (Word, bool) {
	if o.at >= len(o.words) {
		o.r.refuse(missingArgument, o.where, o.where.Text+" lacks its argument", "Write it behind the option.")
		return Word{}, false
	}
	w := o.words[o.at]
	o.at++
	return w, true
}

func (o *optionReader) number(limit uint64) (uint32, bool) {
	w, ok := o.argument()
	if !ok {
		return 0, false
	}
	n, err := iptables.ParseNumber(w.Text, limit)
	if err != nil {
		o.r.refuse(invalidOption, w, "the argument of "+o.where.Text+" is wrong", err.Error()+".")
		return 0, false
	}
	return uint32(n), true
}

func (o *optionReader) read() bool {
	s := &o.set.Options
	for o.at < len(o.words) {
		o.where = o.words[o.at]
		o.at++
		ok := true
		name := strings.TrimLeft(o.where.Text, "-")
		switch {
		case name == "timeout":
			s.HasTimeout = true
			s.Timeout, ok = o.number(timeoutMax)
		case name == "counters":
			s.Counters = true
		case name == "comment":
			s.Comment = true
		case name == "skbinfo":
			s.SkbInfo = true
		case name == "family" && !o.set.Type.Bitmap:
			ok = o.family()
		case !o.set.Type.accepts(name):
			ok = false
			o.r.refuse(unknownOption, o.where, fmt.Sprintf("%s has no option %q", o.set.Type.Name, clip(o.where.Text)),
				"Remove it."+didYouMean(name, strings.Fields(o.set.Type.takes+" timeout counters comment skbinfo family")))
		default:
			ok = o.special(name)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (o *optionReader) family() bool {
	w, ok := o.argument()
	if !ok {
		return false
	}
	var family uint8
	switch w.Text {
	case "inet", "ipv4", "-4":
		family = 4
	case "inet6", "ipv6", "-6":
		family = 6
	case "unspec", "any":
	default:
		o.r.refuse(invalidOption, w, fmt.Sprintf("%q is not a family", clip(w.Text)), "Write inet or inet6.")
		return false
	}
	if o.set.Type.Families && family != 0 {
		o.set.Options.Family = family
	}
	return true
}

// special reads an option that not every type has.
func (o *optionReader) special(name string) (ok bool) {
	s := &o.set.Options
	switch name {
	case "hashsize":
		s.HashSize, ok = o.number(math.MaxUint32)
	case "maxelem":
		s.MaxElem, ok = o.number(math.MaxUint32)
		if ok && s.MaxElem == 0 { // the kernel takes it, and then no element
			o.r.refuse(invalidOption, o.where, "maxelem is 0", "The set could hold nothing. Write a larger number.")
			return false
		}
	case "bucketsize":
		var n uint32
		n, ok = o.number(math.MaxUint8)
		s.BucketSize = uint8(n)
	case "initval", "markmask":
		var n uint32
		if n, ok = o.number(math.MaxUint32); name == "initval" {
			s.InitVal = &n
		} else {
			s.MarkMask = &n
		}
	case "forceadd":
		s.ForceAdd, ok = true, true
	case "size":
		s.Size, ok = o.number(math.MaxUint32)
	case "netmask":
		var n uint32
		o.mask = o.where
		n, ok = o.number(128)
		s.Netmask = uint8(n)
	case "bitmask":
		o.mask = o.where
		w, given := o.argument()
		if !given {
			return false
		}
		// ipset 7.17 prints a slash and a meaningless number behind it.
		text, _, _ := strings.Cut(w.Text, "/")
		a, err := netip.ParseAddr(text)
		if err != nil {
			o.r.refuse(invalidOption, w, fmt.Sprintf("%q is not an address", clip(w.Text)), "Write a mask as an address.")
			return false
		}
		s.Bitmask, ok = a, true
	case "range":
		ok = o.span()
	}
	return ok
}

// span reads the range of a bitmap.
func (o *optionReader) span() bool {
	w, ok := o.argument()
	if !ok {
		return false
	}
	s := &o.set.Options
	if o.set.Type.Parts[0] == Port {
		low, high, two := strings.Cut(w.Text, "-")
		a, err := iptables.ParsePort(low)
		b := a
		if err == nil && two {
			b, err = iptables.ParsePort(high)
		}
		if err != nil {
			o.r.refuse(invalidOption, w, fmt.Sprintf("%q is not a range of ports", clip(w.Text)), "Write FROM-TO.")
			return false
		}
		s.Low, s.High = uint32(min(a, b)), uint32(max(a, b))
		return true
	}
	low, high, err := parseSpan(w.Text, 4)
	if err != nil {
		o.r.refuse(invalidOption, w, fmt.Sprintf("%q is not a range of addresses", clip(w.Text)), err.Error()+".")
		return false
	}
	s.Low, s.High = number4(low), number4(high)
	return true
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// check refuses options that do not go together, and fills in defaults.
func (o *optionReader) check(typeName Word) bool {
	s := &o.set.Options
	t := o.set.Type
	refuse := func(w Word, summary, detail string) bool {
		o.r.refuse(invalidOption, w, summary, detail)
		return false
	}
	if t.Bitmap {
		if s.Low == 0 && s.High == 0 && !slices.ContainsFunc(o.words, func(w Word) bool { return strings.TrimLeft(w.Text, "-") == "range" }) {
			o.r.refuse(missingArgument, typeName, t.Name+" lacks its range", "Write range FROM-TO.")
			return false
		}
		if s.Netmask > 32 {
			return refuse(o.mask, "the netmask is wrong", "It has 1 to 32 bits.")
		}
		step := uint64(1)
		if s.Netmask != 0 {
			step = 1 << (32 - s.Netmask)
			if s.Low&uint32(step-1) != 0 || (s.High+1)&uint32(step-1) != 0 {
				return refuse(o.mask, "the range does not consist of whole networks", "Widen the range, or leave netmask out.")
			}
		}
		if (uint64(s.High)-uint64(s.Low)+1)/step > bitmapMax {
			return refuse(typeName, "the range is too large", fmt.Sprintf("A bitmap has at most %d elements. Use hash:ip or hash:net.", bitmapMax))
		}
		return true
	}
	if t.IsList() {
		if s.Size == 0 {
			s.Size = defaultListSize
		}
		return true
	}
	if s.HashSize == 0 {
		s.HashSize = defaultHashSize
	}
	s.HashSize = max(s.HashSize, hashSizeMin)
	if s.MaxElem == 0 {
		s.MaxElem = defaultMaxElem
	}
	if s.BucketSize == 0 {
		s.BucketSize = defaultBucket
	}
	width := 32
	if s.Family == 6 {
		width = 128
	}
	switch {
	case int(s.Netmask) > width:
		return refuse(o.mask, "the netmask is wrong", fmt.Sprintf("It has 1 to %d bits.", width))
	case s.Bitmask.IsValid() && (s.Bitmask.BitLen() != width || s.Netmask != 0):
		return refuse(o.mask, "the bitmask is wrong", "It is an address of the family of the set, and excludes netmask.")
	}
	return true
}
