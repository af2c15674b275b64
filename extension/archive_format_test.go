package extension_test

import (
	"bytes"
	"strings"
)

// An archiveText is a text archive: a comment, then files, each behind a line
// "-- name --". It is the format of cmd/go's test scripts.
type archiveText struct {
	comment []byte
	files   []archiveFile
}

type archiveFile struct {
	name string
	data []byte
}

func parseArchive(text []byte) *archiveText {
	a := &archiveText{}
	part := &a.comment
	for line := range bytes.Lines(text) {
		if name, ok := fileName(string(line)); ok {
			a.files = append(a.files, archiveFile{name: name})
			part = &a.files[len(a.files)-1].data
			continue
		}
		*part = append(*part, line...)
	}
	return a
}

func fileName(line string) (string, bool) {
	line = strings.TrimSpace(line)
	name, ok := strings.CutPrefix(line, "-- ")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, " --")
}

func (a *archiveText) format() []byte {
	b := bytes.Clone(a.comment)
	for _, f := range a.files {
		b = append(b, "-- "+f.name+" --\n"...)
		b = append(b, f.data...)
		if len(f.data) > 0 && !bytes.HasSuffix(f.data, []byte("\n")) {
			b = append(b, '\n')
		}
	}
	return b
}
