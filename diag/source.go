package diag

import (
	"bytes"
	"fmt"
	"sort"
	"sync"
	"unsafe"
)

// A Source is one input text. Name is what the user called it (a path, or
// "<stdin>").
type Source struct {
	Name string
	Text []byte

	once  sync.Once
	lines []int // byte offset at which each line starts
}

// NewSource returns a source of the given name and text. The text is kept, not
// copied, and must not be changed any more.
func NewSource(name string, text []byte) *Source {
	return &Source{Name: name, Text: text}
}

// Contents returns the text as a string. It is that of Text, not a copy: texts are large.
func (s *Source) Contents() string { return unsafe.String(unsafe.SliceData(s.Text), len(s.Text)) }

func (s *Source) index() {
	s.once.Do(func() {
		s.lines = make([]int, 1, 1+bytes.Count(s.Text, []byte{'\n'}))
		for at := 0; ; {
			i := bytes.IndexByte(s.Text[at:], '\n')
			if i < 0 {
				return
			}
			at += i + 1
			s.lines = append(s.lines, at)
		}
	})
}

// Position returns the line and the column of a byte offset, both counted from
// 1. Columns count bytes.
func (s *Source) Position(offset int) (line, column int) {
	s.index()
	i := sort.SearchInts(s.lines, offset+1) - 1
	return i + 1, offset - s.lines[i] + 1
}

// Line returns the text of a line, counted from 1, without its line end.
func (s *Source) Line(n int) []byte {
	s.index()
	if n < 1 || n > len(s.lines) {
		return nil
	}
	text := s.Text[s.lines[n-1]:]
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	return bytes.TrimSuffix(text, []byte{'\r'})
}

// A Range is a span of bytes of a source: Start inclusive, End exclusive. The
// zero value is "no place".
type Range struct {
	Source     *Source
	Start, End int32
}

// IsZero reports whether r names no place.
func (r Range) IsZero() bool { return r.Source == nil }

// Line returns the line on which r starts, counted from 1, or 0.
func (r Range) Line() int {
	if r.Source == nil {
		return 0
	}
	line, _ := r.Source.Position(int(r.Start))
	return line
}

// Text returns the bytes that r covers.
func (r Range) Text() string {
	if r.Source == nil {
		return ""
	}
	return string(r.Source.Text[r.Start:r.End])
}

// String returns "file:line:column", or "" for no place.
func (r Range) String() string {
	if r.Source == nil {
		return ""
	}
	line, column := r.Source.Position(int(r.Start))
	return fmt.Sprintf("%s:%d:%d", r.Source.Name, line, column)
}

// FileLine returns "file:line", the form in which generated rules name their
// origin, or "".
func (r Range) FileLine() string {
	if r.Source == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", r.Source.Name, r.Line())
}
