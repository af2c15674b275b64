package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"sort"
	"time"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/kernel"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/packet"
	"nftmigrate/report"
	"nftmigrate/translate"
)

func main() {
	packets := flag.Int("packets", 100_000, "run at least `N` packets")
	each := flag.Int("each", 2000, "`N` packets for each ruleset")
	seed := flag.Uint64("seed", 1, "choice of rulesets and packets")
	only := flag.Int("only", -1, "run only the ruleset of this number, and print it")
	most := flag.Int("most", 10, "stop after `N` rulesets with differences or errors")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	f := &fuzz{each: *each, seed: *seed, out: os.Stdout, counts: make(map[string]int)}
	start := time.Now()
	for n := 0; f.packets < *packets && ctx.Err() == nil; n++ {
		if *only >= 0 {
			n = *only
		}
		if err := f.ruleset(ctx, n, *only >= 0); err != nil {
			fmt.Fprintf(os.Stderr, "fuzz: ruleset %d: %v\n", n, err)
			f.different++
		}
		if f.different >= *most {
			fmt.Fprintf(os.Stderr, "fuzz: stopped after %d rulesets with differences or errors\n", f.different)
			break
		}
		if *only >= 0 {
			break
		}
	}
	f.summary(time.Since(start))
	if f.different > 0 {
		os.Exit(1)
	}
}

// fuzz is one run.
type fuzz struct {
	each      int
	seed      uint64
	out       io.Writer
	rulesets  int
	rules     int
	packets   int
	volatile  int
	different int
	counts    map[string]int // explained and skipped packets, refused rulesets
}

// ruleset makes and runs the n-th ruleset of the seed.
func (f *fuzz) ruleset(ctx context.Context, n int, show bool) error {
	g := &generator{Rand: rand.New(rand.NewPCG(f.seed, uint64(n))), v6: n%3 == 2}
	family := iptables.IPv4
	if g.v6 {
		family = iptables.IPv6
	}
	text := g.ruleset()
	if show {
		fmt.Fprintln(f.out, text)
	}
	source, list := iptables.Parse(diag.NewSource(fmt.Sprintf("ruleset-%d", n), []byte(text)), family, extension.Registry)
	var v4, v6 *iptables.Ruleset
	var texts [2][]byte
	if g.v6 {
		v6, texts[1] = source, []byte(text)
	} else {
		v4, texts[0] = source, []byte(text)
	}
	var batch *nftgen.Batch
	var codes []string
	if !list.HasErrors() {
		result, more := translate.Translate(v4, v6, translate.Options{})
		list = append(list, more...)
		if result != nil {
			var err error
			if batch, err = nftgen.Encode(result.Ruleset); err != nil {
				return err
			}
			for _, d := range result.Deviations {
				codes = append(codes, d.Code)
			}
		}
	}
	if batch == nil {
		for _, d := range list {
			if d.Severity == diag.Error {
				f.counts["refused by us: "+d.Code+": "+d.Summary]++
				if show {
					diag.Write(f.out, diag.List{d})
				}
			}
		}
		return nil
	}
	target, err := nftsim.Decode(batch.Messages)
	if err != nil {
		return err
	}
	open := func(host *packet.Host, tracked bool) (equivalence.Kernel, equivalence.Kernel, func() error, error) {
		o := kernel.Options{Untracked: !tracked}
		xt, err := kernel.NewXtables(host, texts[0], texts[1], o)
		if err != nil {
			return nil, nil, nil, err
		}
		nft, err := kernel.NewNftables(host, batch.Messages, o)
		if err != nil {
			return nil, nil, nil, errors.Join(err, xt.Close())
		}
		return xt, nft, func() error { return errors.Join(xt.Close(), nft.Close()) }, nil
	}
	r, err := equivalence.KernelCheck(ctx, iptsim.New(source), target, equivalence.KernelPair{
		Open: open, Skips: func(err error) bool { return errors.Is(err, kernel.ErrNotRunnable) },
	}, equivalence.Options{Packets: f.each, Seed: f.seed + uint64(n), Versions: []int{int(family)}, Deviations: codes, MaxDifferences: 3})
	if err != nil {
		return err
	}
	f.rulesets++
	for _, t := range source.Tables {
		for _, c := range t.Chains {
			f.rules += len(c.Rules)
		}
	}
	f.packets += r.Packets
	f.volatile += r.Volatile
	for code, k := range r.Explained {
		f.counts["declared deviation "+code] += k
	}
	for why, k := range r.Skipped {
		f.counts["not run: "+why] += k
	}
	if r.Word == equivalence.Different {
		f.different++
		fmt.Fprintf(f.out, "\nruleset %d of seed %d (again: -seed %d -only %d)\n", n, f.seed, f.seed, n)
		if show {
			for _, list := range [][]equivalence.Difference{r.Differences, r.Source, r.Target} {
				for _, d := range list {
					fmt.Fprintf(f.out, "%v\n  %x\n  %x\n  %x\n", d.Packet, d.Packet.Data, d.A.Data, d.B.Data)
				}
			}
		}
		return report.Kernel(f.out, r, report.Names{A: "iptables", B: "nftables"})
	}
	return nil
}

func (f *fuzz) summary(took time.Duration) {
	fmt.Fprintf(f.out, "%d rulesets with %d rules, %d packets through both engines and both models, %d differences, seed %d, %v\n",
		f.rulesets, f.rules, f.packets, f.different, f.seed, took.Round(time.Second))
	fmt.Fprintf(f.out, "  not compared: %d differences that met a clock, a random number or a memory\n", f.volatile)
	keys := make([]string, 0, len(f.counts))
	for k := range f.counts {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(f.out, "  %s: %d\n", k, f.counts[k])
	}
}
