package ipset

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestPackPlain holds the short way to read an element against the long one, with
// texts near those that are plain.
func TestPackPlain(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	sets := parsed(t, "create a hash:ip\ncreate n hash:net\ncreate m hash:ip netmask 24\ncreate b bitmap:ip range 10.0.0.0/16\n"+
		"create x hash:ip family inet6\ncreate p hash:net,port\n")
	taken := 0
	for range 50_000 {
		text := fmt.Sprintf("%d.%d.%d.%d", r.IntN(260), r.IntN(3), r.IntN(260), r.IntN(3)*r.IntN(200))
		if r.IntN(2) == 0 {
			text += fmt.Sprintf("/%d", r.IntN(35))
		}
		if r.IntN(2) == 0 {
			at := r.IntN(len(text))
			text = text[:at] + string("0123456789./-+:, "[r.IntN(17)]) + text[at+r.IntN(2):]
		}
		for _, s := range sets.List {
			short, ok := s.packPlain(nil, text)
			if !ok {
				continue
			}
			taken++
			var p pattern
			if err := s.parsePattern(text, &p); err != nil {
				t.Fatalf("%s: %q is taken, but %v", s.Type.Name, text, err)
			}
			var long [][]byte
			s.each(&p, func(e *Element) bool {
				if s.isNull(e) {
					t.Fatalf("%s: %q is taken", s.Type.Name, text)
				}
				long = append(long, s.pack(nil, e))
				return true
			})
			if len(long) != 1 || !bytes.Equal(long[0], short) {
				t.Fatalf("%s: %q is %x, else %x", s.Type.Name, text, short, long)
			}
			if s.Type.Name != "hash:ip" && s.Type.Name != "hash:net" || s.Name == "m" || s.Name == "x" || strings.Contains(text, ",") {
				t.Fatalf("%s %s: %q is taken", s.Type.Name, s.Name, text)
			}
		}
	}
	if taken < 10_000 {
		t.Errorf("only %d texts are taken", taken)
	}
}
