package nftsim_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/nftsim"
)

// manyRules are rules of addresses, a protocol and a port, in a forward chain.
func manyRules(n int) []netlink.Message {
	r := rand.New(rand.NewPCG(4, 4))
	var rules []netlink.Message
	address := func(offset uint32) []encoder {
		if r.IntN(3) == 0 {
			return nil
		}
		size := pick[uint32](r, 2, 3, 3, 4, 4)
		a := []byte{10, byte(r.IntN(4)), byte(r.IntN(256)), byte(r.IntN(256))}
		return []encoder{load(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, size, 1), compare(unix.NFT_CMP_EQ, 1, a[:size]...)}
	}
	for range n {
		exprs := append(append([]encoder{meta(unix.NFT_META_NFPROTO, 1), compare(unix.NFT_CMP_EQ, 1, 2)}, address(12)...), address(16)...)
		if r.IntN(4) != 0 {
			exprs = append(exprs, tcpPort(uint16(r.IntN(2000)))...)
		}
		rules = append(rules, rule("c", append(exprs, pick(r, accept, drop))...))
	}
	return forward(rules...)
}

// manyKeys is a set of addresses and ports with a rule that looks into it.
func manyKeys(n int) []netlink.Message {
	r := rand.New(rand.NewPCG(5, 5))
	var list []encoder
	for range n {
		list = append(list, element(key(10, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 0, 0)))
	}
	messages := []netlink.Message{set("s", 1, 0, 8)}
	for at := 0; at < len(list); at += 1000 {
		messages = append(messages, elements("s", 1, list[at:min(at+1000, len(list))]...))
	}
	return forward(append(messages, rule("c", append(tcpPort(22)[:2], load(unix.NFT_PAYLOAD_NETWORK_HEADER, 12, 4, 1),
		load(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, 9), lookup("s", 1, 1), drop)...))...)
}

func BenchmarkSymbolic(b *testing.B) {
	for _, c := range []struct {
		name  string
		batch []netlink.Message
	}{{"5000 rules", manyRules(5000)}, {"100000 keys", manyKeys(100_000)}} {
		m, err := nftsim.Decode(c.batch)
		if err != nil {
			b.Fatal(err)
		}
		for _, version := range []int{4, 6} {
			b.Run(fmt.Sprintf("%s/version %d", c.name, version), func(b *testing.B) {
				for b.Loop() {
					space := compileMachine(b, m, version).space
					b.ReportMetric(float64(space.Size()), "nodes")
				}
			})
		}
	}
}
