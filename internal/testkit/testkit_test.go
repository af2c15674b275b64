package testkit

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// recorder is a testing.TB that notes how a test ended.
type recorder struct {
	testing.TB
	ended string
}

func (r *recorder) Helper() {}

func (r *recorder) Skip(args ...any) { r.end("skip", fmt.Sprint(args...)) }

func (r *recorder) Skipf(format string, args ...any) { r.end("skip", fmt.Sprintf(format, args...)) }

func (r *recorder) Fatalf(format string, args ...any) { r.end("fail", fmt.Sprintf(format, args...)) }

func (r *recorder) end(how, message string) {
	r.ended = how + ": " + message
	runtime.Goexit()
}

// run returns how f ended the test, or "" when it let the test go on.
func run(f func(t testing.TB)) string {
	r := new(recorder)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.ended
}

func TestNeed(t *testing.T) {
	present := Feature{"air", func() error { return nil }}
	absent := Feature{"gold", func() error { return errors.New("none found") }}
	for _, c := range []struct {
		name  string
		ci    string
		needs []Feature
		want  []string // how it ends, and words of the message
	}{
		{"nothing needed", "true", nil, nil},
		{"all there", "true", []Feature{present}, nil},
		{"missing", "", []Feature{present, absent}, []string{"skip: ", "gold", "none found"}},
		{"missing in CI", "true", []Feature{present, absent}, []string{"fail: ", "gold", "CI=true"}},
		{"each is named", "", []Feature{absent, Tool("no-such-tool-here")}, []string{"skip: ", "gold", "no-such-tool-here"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("CI", c.ci)
			got := run(func(t testing.TB) { Need(t, c.needs...) })
			if len(c.want) == 0 && got != "" {
				t.Errorf("ended with %q, want it to go on", got)
			}
			for _, word := range c.want {
				if !strings.Contains(got, word) {
					t.Errorf("ended with %q, want %q in it", got, word)
				}
			}
		})
	}
}

func TestCorpus(t *testing.T) {
	t.Setenv("CI", "true")
	t.Setenv("MIGRATE_CORPUS", "")
	if got := run(func(t testing.TB) { Corpus(t) }); !strings.HasPrefix(got, "skip: ") {
		t.Errorf("without MIGRATE_CORPUS: %q, want a skip", got)
	}
	t.Setenv("MIGRATE_CORPUS", t.TempDir()+"/none")
	if got := run(func(t testing.TB) { Corpus(t) }); !strings.HasPrefix(got, "fail: ") {
		t.Errorf("with a directory that is not there: %q, want a failure", got)
	}
	t.Setenv("MIGRATE_CORPUS", t.TempDir())
	if got := run(func(t testing.TB) { Corpus(t) }); got != "" {
		t.Errorf("with a directory: %q, want it to go on", got)
	}
}

func TestNotHere(t *testing.T) {
	t.Setenv("CI", "true")
	if got := run(func(t testing.TB) { NotHere(t, "late by %d ms", 5) }); got != "skip: not here: late by 5 ms" {
		t.Errorf("ended with %q, want a skip with the reason", got)
	}
}
