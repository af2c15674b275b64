package main

import (
	"bytes"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/ipset"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// TestGeneratedEncodes wants a batch of every translation, whatever the optimisation
// makes of it: what translate lets pass, nftgen can write.
func TestGeneratedEncodes(t *testing.T) {
	const rulesets = 100
	for _, only := range []bool{false, true} {
		f := &fuzz{seed: 5, only: only}
		for n := range rulesets {
			s, list := f.sources(n)
			if list.HasErrors() {
				continue
			}
			for _, level := range []int{0, 2} {
				result, _ := translate.Translate(s.parsed[0], s.parsed[1], translate.Options{Sets: s.known, KeepXt: true, Optimize: level})
				if result == nil {
					break
				}
				if _, err := nftgen.Encode(result.Ruleset); err != nil {
					t.Errorf("ruleset %d of seed %d, with queues %v, at level %d: %v", n, f.seed, only, level, err)
				}
			}
		}
	}
}

// TestOneProtocol has rules that ask for several protocols, of which nft takes one
// of a rule.
func TestOneProtocol(t *testing.T) {
	const sets = "create ports bitmap:port range 0-65535\nadd ports 80\ncreate six hash:ip,port family inet6\nadd six 2001:db8::4,tcp:80\nadd six 2001:db8::4,udplite:80\n"
	tests := []struct {
		name, rule string
		without    string // is not in the translation
		with       string // is in it
	}{
		{"header of AH and ports", "-A INPUT -m set --match-set ports dst -m ah --ahlen 16 -j ACCEPT", "hdrlength", "can never match"},
		{"ports and header of AH", "-A INPUT -m ah --ahspi 256 -m set --match-set ports dst -j ACCEPT", "ah spi", "can never match"},
		{"what comes before it has an effect", "-A INPUT -m recent --set --name x -m set --match-set ports dst -m ah --ahlen 16 -j ACCEPT", "hdrlength", "recent"},
		{"ports of a connection and of a set", "-A INPUT -m conntrack --ctorigsrcport 443:65535 -m set --match-set six src,src -j ACCEPT", "meta l4proto {", "udplite sport"},
		{"ports of a connection and the header of AH", "-A INPUT -m conntrack --ctorigsrcport 443:65535 -m ah --ahlen 16 -j ACCEPT", "hdrlength", "can never match"},
		{"a limit by port, and a reset", "-A INPUT -p tcp -m hashlimit --hashlimit-upto 3/hour --hashlimit-name t --hashlimit-mode srcport -j REJECT --reject-with tcp-reset", "meta l4proto {", "reject with tcp reset"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s sources
			list := s.parse(1, "rules", "*filter\n"+tt.rule+"\nCOMMIT\n")
			var more diag.List
			s.known, more = ipset.Parse(diag.NewSource("sets", []byte(sets)))
			if list = append(list, more...); list.HasErrors() {
				t.Fatal(list)
			}
			result, list := translate.Translate(nil, s.parsed[1], translate.Options{Sets: s.known})
			if result == nil {
				t.Fatal(list)
			}
			if _, err := nftgen.Encode(result.Ruleset); err != nil {
				t.Fatal(err)
			}
			var text bytes.Buffer
			if err := nftgen.Print(&text, result.Ruleset); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text.String(), tt.without) || !strings.Contains(text.String(), tt.with) {
				t.Errorf("want %q and no %q:\n%s", tt.with, tt.without, text.String())
			}
		})
	}
}
