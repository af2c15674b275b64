package ipset

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"nftmigrate/diag"
)

// Limits of what is read.
const (
	// reportMax is how many diagnostics are reported one by one.
	reportMax = 200
	// lineMax is the longest line that ipset restore takes, without its end.
	lineMax = 1023
	// setsMax is how many sets there can be (IPSET_MAX of the kernel is 65534).
	setsMax = 65534
	// expandMax is how many elements a text may get from ranges, beside one for
	// each line.
	expandMax = 1 << 22
	// nameMax is the longest name of a set (IPSET_MAXNAMELEN).
	nameMax = 31
)

// A Word is an argument of a command, without quotes, and the bytes of the source
// it stands in.
type Word struct {
	Text       string
	Start, End int32
}

// Parse reads what "ipset save" wrote, and whatever else "ipset restore" takes.
// Errors never stop it: the list holds what is wrong in the whole text, and the
// sets are complete only when that holds no error.
func Parse(src *diag.Source) (*Sets, diag.List) {
	if int64(len(src.Text)) > math.MaxInt32 {
		r := NewReader(src)
		r.report(diag.Diagnostic{Code: "input-too-large", Summary: "the input is too large",
			Detail: "A text may have up to 2 GiB. Split it into several."})
		return r.Finish()
	}
	text := src.Contents()
	// Elements that are there twice are an error, and looked for only when all are
	// read: a table for it costs more than all the rest. When there are some, the
	// text is read again with a table, for the place of each.
	r := NewReader(src)
	r.deferring = true
	if r.readText(text); !r.allOnce() {
		r = NewReader(src)
		r.readText(text)
	}
	sets, list := r.Finish()
	for _, s := range sets.List {
		s.index = index{} // nothing is added any more
	}
	return sets, list
}

func (r *Reader) readText(text string) {
	for base := 0; base < len(text); {
		end := len(text)
		if n := strings.IndexByte(text[base:], '\n'); n >= 0 {
			end = base + n
		}
		r.readLine(text[base:end], base)
		base = end + 1
	}
}

// LooksLike reports whether a text is one of ipset: its first command is.
func LooksLike(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		fields := bytes.Fields(line)
		switch string(fields[0]) {
		case "create", "-N", "--create":
			return len(fields) > 2 && TypeOf(string(fields[2])) != nil
		}
		return false
	}
	return false
}

// A Reader carries out the commands of a text one after the other.
type Reader struct {
	src   *diag.Source
	sets  *Sets
	line  diag.Range
	words []Word
	exist bool // -exist was given
	// deferring: see [Set.deferred].
	deferring bool
	twice     bool // an element was found to be there twice

	diags    diag.List
	hidden   int
	expanded int
	packed   []byte
}

// NewReader returns a reader of commands that stand in a source.
func NewReader(src *diag.Source) *Reader {
	return &Reader{src: src, sets: &Sets{Source: src, byName: make(map[string]*Set)}}
}

// Finish returns the sets and what was wrong.
func (r *Reader) Finish() (*Sets, diag.List) {
	for _, s := range r.sets.List {
		s.compact()
	}
	if r.hidden > 0 {
		r.diags.Add(diag.Diagnostic{Severity: diag.Error, Code: "too-many-diagnostics", Summary: "there is more to report than is listed",
			Detail: fmt.Sprintf("%d more of severity error are not listed. Correct these first.", r.hidden)})
	}
	return r.sets, r.diags
}

func (r *Reader) report(d diag.Diagnostic) {
	if d.Severity == 0 {
		d.Severity = diag.Error
	}
	if len(r.diags) >= reportMax {
		r.hidden++
		return
	}
	if d.Context.IsZero() {
		d.Context = r.line
	}
	if d.Subject.IsZero() {
		d.Subject = r.line
	}
	r.diags.Add(d)
}

func (r *Reader) at(w Word) diag.Range { return diag.Range{Source: r.src, Start: w.Start, End: w.End} }

// refuse reports a word that is wrong.
func (r *Reader) refuse(p problem, w Word, summary, detail string) {
	r.report(diag.Diagnostic{Code: p.Code, Summary: summary, Detail: detail, Subject: r.at(w)})
}

// readLine reads one line of a text.
func (r *Reader) readLine(line string, base int) {
	line = strings.TrimSuffix(line, "\r")
	r.line = diag.Range{Source: r.src, Start: int32(base), End: int32(base + len(line))}
	content := strings.TrimSpace(line)
	switch {
	case content == "" || content[0] == '#' || content == "COMMIT" || content == "quit":
		return
	case len(line) > lineMax:
		r.report(diag.Diagnostic{Code: "line-too-long", Summary: "the line is too long",
			Detail: fmt.Sprintf("It has %d bytes; ipset restore reads at most %d.", len(line), lineMax)})
		return
	case strings.IndexByte(line, 0) >= 0:
		at := r.line.Start + int32(strings.IndexByte(line, 0))
		r.refuse(nulByte, Word{Start: at, End: at + 1}, "the line holds a zero byte",
			"ipset would not see what stands behind it. Remove it, and see whether this is a text of ipset save at all.")
		return
	}
	words, ok := split(r.words[:0], line, base)
	r.words = words
	if !ok {
		r.refuse(unterminated, words[len(words)-1], "a quote is not closed", "Add the closing quote.")
		return
	}
	r.command(words)
}

// split takes a line apart at blanks; double quotes keep blanks in a word.
func split(words []Word, line string, base int) ([]Word, bool) {
	for i := 0; i < len(line); {
		switch line[i] {
		case ' ', '\t', '\r', '\v', '\f':
			i++
			continue
		}
		start := i
		if line[i] == '"' {
			n := strings.IndexByte(line[i+1:], '"')
			if n < 0 {
				return append(words, Word{line[i:], int32(base + i), int32(base + len(line))}), false
			}
			i += n + 2
			words = append(words, Word{line[start+1 : i-1], int32(base + start), int32(base + i)})
			continue
		}
		for i < len(line) && line[i] != ' ' && line[i] != '\t' {
			i++
		}
		words = append(words, Word{line[start:i], int32(base + start), int32(base + i)})
	}
	return words, true
}

// Command carries out one command whose words were taken apart already, without
// the word "ipset" itself. What is wrong is in the list of Finish.
func (r *Reader) Command(line diag.Range, words []Word) {
	r.line = line
	r.command(append(r.words[:0], words...))
}

// verbs are the commands with their other names.
var verbs = map[string]string{
	"create": "create", "n": "create", "-N": "create", "--create": "create",
	"add": "add", "-A": "add", "--add": "add",
	"del": "del", "-D": "del", "--del": "del",
	"destroy": "destroy", "x": "destroy", "-X": "destroy", "--destroy": "destroy",
	"flush": "flush", "-F": "flush", "--flush": "flush",
	"rename": "rename", "e": "rename", "-E": "rename", "--rename": "rename",
	"swap": "swap", "w": "swap", "-W": "swap", "--swap": "swap",
	"list": "list", "-L": "list", "--list": "list", "save": "list", "-S": "list", "--save": "list",
	"test": "list", "-T": "list", "--test": "list", "version": "list", "-v": "list", "--version": "list",
	"help": "list", "-h": "list", "--help": "list",
	"restore": "restore", "-R": "restore", "--restore": "restore",
}

// isGlobal reports whether a word is an option that may stand anywhere; it takes
// note of it.
func (r *Reader) isGlobal(word string) bool {
	switch word {
	case "-exist", "-!", "--exist":
		r.exist = true
	case "-quiet", "-q", "--quiet":
	default:
		return false
	}
	return true
}

func (r *Reader) command(words []Word) {
	r.exist = false
	kept := words[:0]
	for _, w := range words {
		if len(w.Text) == 0 || w.Text[0] != '-' || !r.isGlobal(w.Text) {
			kept = append(kept, w)
		}
	}
	if words = kept; len(words) == 0 {
		return
	}
	verb := words[0].Text
	if verb != "add" {
		verb = verbs[verb]
	}
	switch verb {
	case "add":
		r.add(words)
	case "create":
		r.create(words)
	case "del":
		r.del(words)
	case "flush", "destroy":
		r.clear(verb, words)
	case "rename", "swap":
		r.exchange(verb, words)
	case "list":
	case "restore":
		r.refuse(unknownCommand, words[0], "ipset restore reads another text", "Give that text as a file of its own.")
	default:
		var names []string
		for _, n := range []string{"create", "add", "del", "destroy", "flush", "rename", "swap"} {
			names = append(names, n)
		}
		r.refuse(unknownCommand, words[0], fmt.Sprintf("%q is not a command of ipset", clip(words[0].Text)),
			"A line starts with create or add, as ipset save prints it."+didYouMean(words[0].Text, names))
	}
}

// clip shortens a word for a message.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

func didYouMean(name string, candidates []string) string {
	if n := diag.Nearest(name, candidates); n != "" {
		return fmt.Sprintf(" Did you mean %q?", n)
	}
	return ""
}

// wants reports whether a command has a number of words behind it.
func (r *Reader) wants(words []Word, n int, what string) bool {
	if len(words) > n {
		return true
	}
	last := words[len(words)-1]
	r.refuse(missingArgument, last, words[0].Text+" lacks "+what, "Write it behind "+clip(last.Text)+".")
	return false
}

// known finds the set of a word.
func (r *Reader) known(w Word) *Set {
	if s := r.sets.byName[w.Text]; s != nil {
		return s
	}
	var names []string
	for _, s := range r.sets.List[:min(len(r.sets.List), 1000)] {
		names = append(names, s.Name)
	}
	r.refuse(unknownSet, w, fmt.Sprintf("there is no set %q", clip(w.Text)),
		"A line above has to create it."+didYouMean(w.Text, names))
	return nil
}

// clear carries out flush and destroy, of one set or of all.
func (r *Reader) clear(verb string, words []Word) {
	list := append([]*Set(nil), r.sets.List...)
	if len(words) > 1 {
		s := r.known(words[1])
		if s == nil {
			return
		}
		list = []*Set{s}
		if verb == "destroy" && s.users > 0 {
			r.refuse(setInUse, words[1], fmt.Sprintf("set %q is an element of a list", s.Name), "Delete it from the list first.")
			return
		}
	}
	for _, s := range list {
		r.settle(s)
		s.flush()
	}
	if verb == "flush" {
		return
	}
	gone := make(map[*Set]bool)
	for _, s := range list {
		gone[s] = true
		delete(r.sets.byName, s.Name)
	}
	kept := r.sets.List[:0]
	for _, s := range r.sets.List {
		if !gone[s] {
			kept = append(kept, s)
		}
	}
	r.sets.List = kept
}

func (s *Set) flush() {
	for i := range s.at {
		if s.Type.IsList() && s.record(i)[s.stride-1]&flagDead == 0 {
			var e Element
			s.unpack(i, &e)
			e.Member.users--
		}
	}
	s.data, s.at, s.extra, s.index, s.dead, s.members = nil, nil, nil, index{}, 0, nil
}

// exchange carries out rename and swap. Lists that hold a set go on with what has
// its place: the name of a renamed one, and what is behind the name of a swapped
// one.
func (r *Reader) exchange(verb string, words []Word) {
	if !r.wants(words, 2, "two names") {
		return
	}
	a := r.known(words[1])
	if a == nil {
		return
	}
	if verb == "rename" {
		if !r.validName(words[2]) {
			return
		}
		delete(r.sets.byName, a.Name)
		a.Name = strings.Clone(words[2].Text)
		r.sets.byName[a.Name] = a
		return
	}
	b := r.known(words[2])
	switch {
	case b == nil || a == b:
	case a.Type.IsList() != b.Type.IsList() || len(a.Type.Parts) != len(b.Type.Parts) || a.Options.Family != b.Options.Family:
		r.refuse(invalidOption, words[2], "these sets cannot be swapped", "They are not of the same kind of type and family.")
	default:
		*a, *b = *b, *a
		a.Name, b.Name = b.Name, a.Name
		a.users, b.users = b.users, a.users
	}
}

// validName reports whether a new set can have a name.
func (r *Reader) validName(w Word) bool {
	switch {
	case len(w.Text) > nameMax || w.Text == "":
		r.refuse(invalidName, w, fmt.Sprintf("%q cannot be the name of a set", clip(w.Text)),
			fmt.Sprintf("A name has 1 to %d bytes.", nameMax))
	case r.sets.byName[w.Text] != nil:
		r.refuse(duplicateSet, w, fmt.Sprintf("set %q exists already", w.Text),
			fmt.Sprintf("It was made in line %d. Remove one of the two lines, or add -exist.", r.sets.byName[w.Text].Range.Line()))
	case len(r.sets.List) >= setsMax:
		r.refuse(invalidName, w, "there are too many sets", fmt.Sprintf("The kernel takes %d.", setsMax))
	default:
		return true
	}
	return false
}

// Run carries out one command like Command, and returns what is wrong with it;
// the list of Finish has nothing of that.
func (r *Reader) Run(line diag.Range, words []Word) diag.List {
	before := len(r.diags)
	r.Command(line, words)
	found := append(diag.List(nil), r.diags[before:]...)
	r.diags = r.diags[:before]
	return found
}

// Has reports whether there is a set of that name now.
func (r *Reader) Has(name string) bool { return r.sets.byName[name] != nil }
