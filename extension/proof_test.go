package extension_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/internal/scratch"
	"nftmigrate/internal/testkit"
)

func TestMain(m *testing.M) {
	scratch.Main()
	os.Exit(m.Run())
}

// proofPackets is how many packets a proof is replayed with.
const proofPackets = 300

// TestProof proves each archive. One whose rules a proof cannot decide says why in a
// file "undecided", which then has to be true.
func TestProof(t *testing.T) {
	for _, path := range archives(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a := readArchive(t, path)
			r := a.run(t)
			if r.source == nil || r.batch == nil {
				return // nothing comes of it
			}
			o := r.proofOptions()
			p, err := equivalence.Prove(context.Background(), r.source, r.target, o)
			if err != nil {
				t.Fatalf("prove: %v", err)
			}
			why := strings.TrimSpace(string(a.file("undecided")))
			switch {
			case p.Word == equivalence.Undecided && why != "":
				return
			case p.Word != equivalence.Equivalent:
				t.Fatalf("%s", proofWords(p))
			case why != "":
				t.Errorf("the proof says %v, and the archive says it is undecided: %s", p.Word, why)
			}
			replay, err := equivalence.ReplayProof(context.Background(), r.source, r.target, o, proofPackets)
			if err != nil {
				t.Fatalf("replay: %v", err)
			}
			if len(replay.Differences)+len(replay.Mismatches) > 0 {
				t.Errorf("replayed: %d differences, and mismatches %q", len(replay.Differences), replay.Mismatches)
			}
		})
	}
}

// proofOptions are those of the archive's families, with its deviations accepted.
func (r *result) proofOptions() equivalence.ProofOptions {
	o := equivalence.ProofOptions{Deviations: r.deviations}
	if r.v4 != nil {
		o.Versions = append(o.Versions, 4)
	}
	if r.v6 != nil {
		o.Versions = append(o.Versions, 6)
	}
	return o
}

// proofWords say what a proof found.
func proofWords(p *equivalence.Proof) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %s\n", p.Word, p.Incomplete)
	for _, why := range slices.Sorted(maps.Keys(p.Unknown)) {
		fmt.Fprintf(&b, "  unknown: %s\n", why)
	}
	for _, d := range p.Differences {
		fmt.Fprintf(&b, "  %v differs in %v: %s; %s\n", d.Packet, d.Aspects, equivalence.Describe(d.A), equivalence.Describe(d.B))
	}
	return b.String()
}

// A planted is a wrong edit of the text of an archive's translation.
type planted struct {
	archive, old, new string
	word              equivalence.Word
}

// plantedProofs are about what the bytes of a packet do not tell, and about bytes
// that have no field. Where no packet can be made that shows it, a proof is
// undecided; none may be equivalent.
var plantedProofs = []planted{
	{"target_set_map", "10.0.0.1 : 0x1, ", "10.0.0.1 : 0x3, ", equivalence.Different},
	{"target_set_map", "10.1.0.0/24 : 1:2, 10.1.1.0/24 : none", "10.1.0.0/23 : 1:2, 10.1.2.0/24 : none", equivalence.Different},
	{"target_set_map", "meta mark & 0xfffffffc ^ 0x13", "meta mark & 0xfffffffc ^ 0x3", equivalence.Different},
	{"match_cgroup", "meta cgroup 0 ", "meta cgroup 1 ", equivalence.Different},
	{"match_cgroup", "meta cgroup != 5 ", "meta cgroup 5 ", equivalence.Undecided},
	{"match_connlabel", "ct label set 127 ct label 127 ", "ct label set 126 ct label 126 ", equivalence.Different},
	{"match_connlabel", "ct label set 127 ct label 127 ", "ct label 127 ", equivalence.Different},
	{"match_policy", "ipsec in reqid 5 ", "ipsec in reqid 6 ", equivalence.Undecided},
	{"match_policy", "ipsec in spnum 1 reqid 1 ipsec in reqid != 2", "ipsec in reqid 1 ipsec in spnum 1 reqid != 2", equivalence.Undecided},
	{"match_policy", "meta nfproto ipv4 meta ipsec exists", "meta nfproto ipv4 meta ipsec missing", equivalence.Different},
	{"match_socket", "socket transparent <= 1 meta mark", "socket transparent 1 meta mark", equivalence.Undecided},
	{"match_socket", "socket wildcard 1 return", "socket wildcard 0 return", equivalence.Undecided},
	{"match_socket", "socket transparent <= 1 meta mark set socket mark goto", "socket transparent <= 1 goto", equivalence.Undecided},
	{"match_rpfilter", "fib saddr . iif oif missing return", "fib saddr oif missing return", equivalence.Different},
	{"match_rpfilter", "fib saddr . mark . iif oif missing", "fib saddr . iif oif missing", equivalence.Undecided},
	{"match_rpfilter", "fib saddr . mark type local", "fib saddr type local", equivalence.Equivalent}, // the local table has no marks
	{"match_rpfilter", "fib saddr . mark . iif oif exists", "fib saddr . iif oif exists", equivalence.Undecided},
	{"match_rpfilter", "fib saddr . iif type local", "fib saddr type local", equivalence.Different},
	{"match_rpfilter", "type { broadcast, anycast }", "type { broadcast }", equivalence.Undecided},
	{"match_rpfilter", "ip saddr != { 0.0.0.0, 255.255.255.255 }", "ip saddr != { 0.0.0.0 }", equivalence.Undecided},
	{"match_sctp_chunks", "sctp chunk data exists", "sctp chunk sack exists", equivalence.Different},
	{"match_sctp_chunks", "sctp chunk init missing", "sctp chunk init exists", equivalence.Different},
	{"match_hbh_options", "@nh,344,8 0x2 ", "@nh,344,8 0x3 ", equivalence.Different},
	{"match_hbh_options", "@nh,368,8 0x0", "@nh,376,8 0x0", equivalence.Undecided},
	{"match_hbh_options", "ip6 nexthdr 0 ", "ip6 nexthdr 43 ", equivalence.Different},
	{"match_u32", "@th,64,32 0x1020304", "@th,64,32 0x1020305", equivalence.Different},
	{"match_u32", "@nh,224,32 0x61626364-0x61626370", "@nh,224,32 0x61626364-0x61626371", equivalence.Different},
	{"match_u32", "@nh,320,32 & 0xffff0000 == 0x350000", "@nh,320,32 & 0xffff0000 == 0x360000", equivalence.Different},
	{"match_string", "@nh,232,24 0x444e53", "@nh,240,24 0x444e53", equivalence.Different},
	{"match_string", "@nh,384,24 0x444e53", "@nh,384,24 0x444e54", equivalence.Different},
}

// TestProofPlanted edits translations; the proof must notice.
func TestProofPlanted(t *testing.T) {
	testkit.Need(t, testkit.Tool("nft"), testkit.NetNS)
	for _, b := range plantedProofs {
		t.Run(b.archive+"/"+b.new, func(t *testing.T) {
			a := readArchive(t, filepath.Join("testdata", b.archive+".txtar"))
			r := a.run(t)
			wrong := strings.Replace(string(r.text), b.old, b.new, 1)
			if wrong == string(r.text) {
				t.Fatalf("the translation has no %q", b.old)
			}
			messages, diags, err := scratch.Compile(context.Background(), diag.NewSource("wrong.nft", []byte(wrong)))
			if err != nil || diags.HasErrors() {
				t.Fatalf("compile: %v, %v", err, diags)
			}
			target, err := nftsim.Decode(messages)
			if err != nil {
				t.Fatalf("decode: %v", err)
			}
			p, err := equivalence.Prove(context.Background(), r.source, target, r.proofOptions())
			if err != nil {
				t.Fatalf("prove: %v", err)
			}
			if p.Word != b.word {
				t.Errorf("the proof says %s, want %v", proofWords(p), b.word)
			}
		})
	}
}
