package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"nftmigrate/equivalence"
	"nftmigrate/equivalence/kernel"
	"nftmigrate/iptables"
	"nftmigrate/packet"
	"nftmigrate/plan"
	"nftmigrate/report"
	"nftmigrate/script"
)

const verifySchema = "nftmigrate/verify/2"

// checkFlags are the flags that steer a check, wherever one is made.
type checkFlags struct {
	packets int
	seed    uint64
	pcap    string
	sample  bool
	memory  uint64
	time    time.Duration
}

func (f *checkFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.sample, "sample", false, "run packets instead of a proof")
	c.Flags().Uint64Var(&f.memory, "memory", equivalence.DefaultMemory>>20, "budget of a proof in `MB`")
	c.Flags().DurationVar(&f.time, "time", equivalence.DefaultTime, "budget of a proof")
	c.Flags().IntVar(&f.packets, "packets", equivalence.DefaultPackets, "packets to run: at least so many for --sample and --kernel, at most for a proof")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "choice of the random packets of --sample and --kernel")
	c.Flags().StringVar(&f.pcap, "pcap", "", "write the packets that show differences to a pcap `FILE`")
}

// A result is what a check found: a proof with its replay, or a sample.
type result struct {
	proof  *equivalence.Proof
	replay *equivalence.Replay
	sample *equivalence.Report
}

func (r *result) word() equivalence.Word {
	if r.sample != nil {
		return r.sample.Word
	}
	return equivalence.Combine(r.proof, r.replay)
}

func (r *result) differences() []equivalence.Difference {
	if r.sample != nil {
		return r.sample.Differences
	}
	if r.replay != nil && len(r.replay.Differences) > 0 {
		return r.replay.Differences // the proof has none of its own
	}
	return r.proof.Differences
}

// show writes the result for people.
func (r *result) show(w io.Writer, n report.Names) error {
	if r.sample != nil {
		return report.Check(w, r.sample, n)
	}
	return report.Proof(w, r.proof, r.replay, n)
}

// document puts the result in a document.
func (r *result) document(doc *report.Document) {
	if r.sample != nil {
		doc.Check = report.CheckDocument(r.sample)
		return
	}
	doc.Proof = report.ProofDocument(r.proof, r.replay)
}

// check compares a pair.
func (f *checkFlags) check(ctx context.Context, s *streams, in *input, p *pair, strict bool) (*result, error) {
	switch {
	case f.packets < 1:
		return nil, usage("--packets %d: at least one packet is needed", f.packets)
	case f.memory < 1 || f.memory > 1<<20:
		return nil, usage("--memory %d: expected a number of MB from 1 to %d", f.memory, 1<<20)
	case f.time <= 0:
		return nil, usage("--time %v: expected a time to spend, as in 30s", f.time)
	}
	r := &result{}
	var err error
	if f.sample {
		r.sample, err = equivalence.Check(p.source, p.target, equivalence.Options{
			Packets: f.packets, Seed: f.seed, Versions: in.versions(),
			Strict: strict, Deviations: p.deviations, Progress: progress(s.errs),
		})
	} else {
		err = f.prove(ctx, in, p, strict, r)
	}
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	return r, f.writePcap(s, r)
}

// prove makes the proof, and runs its packets when there is something that they
// can contradict.
func (f *checkFlags) prove(ctx context.Context, in *input, p *pair, strict bool, r *result) (err error) {
	o := equivalence.ProofOptions{
		Versions: in.versions(), Strict: strict, Deviations: p.deviations,
		Memory: f.memory << 20, Time: f.time,
	}
	if r.proof, err = equivalence.Prove(ctx, p.source, p.target, o); err != nil || r.proof.Word != equivalence.Equivalent {
		return err
	}
	r.replay, err = equivalence.ReplayProof(ctx, p.source, p.target, o, min(f.packets, in.affordable()))
	return err
}

// writePcap writes the packets of the differences, those that come before each
// included.
func (f *checkFlags) writePcap(s *streams, r *result) error {
	if f.pcap == "" {
		return nil
	}
	var packets []*packet.Packet
	for _, d := range r.differences() {
		packets = append(append(packets, d.Before...), d.Packet)
	}
	var b bytes.Buffer
	if err := packet.WritePcap(&b, packets); err != nil {
		return fmt.Errorf("write the packets: %w", err)
	}
	return writeFile(s, f.pcap, b.Bytes())
}

// progress shows on a terminal how far a check is, once it takes longer than a
// second.
func progress(w io.Writer) func(done, total int) {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	start := time.Now()
	return func(done, total int) {
		if time.Since(start) > time.Second {
			fmt.Fprintf(f, "\r%d of %d packets\r", done, total)
		}
	}
}

// verdict is the exit of a check's result.
func verdict(words ...equivalence.Word) error {
	code := exitNothing
	for _, w := range words {
		switch w {
		case equivalence.Different:
			code = exitDifferent
		case equivalence.Undecided:
			if code == exitNothing {
				code = exitUndecided
			}
		}
	}
	return verdictCode(code)
}

// verdictCode is the exit of a code that was explained already.
func verdictCode(code int) error {
	if code == exitNothing {
		return nil
	}
	return &exit{code: code}
}

func verifyCommand(s *streams) *cobra.Command {
	var (
		files    inputFlags
		flags    translateFlags
		checks   checkFlags
		inKernel bool
		asJSON   bool
	)
	c := &cobra.Command{
		Use:   "verify [FILE]... | verify PLAN",
		Short: "Prove that iptables rules and their nftables form do the same",
		Long: `Verify compares what iptables rules and nftables rules do with every packet.
Without an .nft file the rules are compared with our translation. An .nft file,
also one edited by hand, is compiled by nft in a namespace of its own. Of a plan,
its rules are compared with its firewall.nft, also when that was edited.

"equivalent" is about all packets; a packet for each outcome is then run through
both models. "different" comes with the smallest packet that shows it. When the
budget (--memory, --time) ends, or something is not modelled, the answer is
"undecided". --sample runs many packets instead, and says "no difference found"
at best.

Exit codes: 0 equivalent, or no difference found; 1 different; 3 undecided or not
translatable; 4 a right, a tool or a kernel feature is missing.`,
		Example: "  migrate verify rules.v4\n  migrate verify rules.v4 firewall.nft --kernel",
		RunE: func(c *cobra.Command, args []string) error {
			if inKernel {
				if code, ok := inUserNamespace(c.Context(), s); ok {
					return verdictCode(code)
				}
			}
			if len(args) == 1 && plan.Is(args[0]) {
				m, err := plan.ReadManifest(args[0])
				if err != nil {
					return &exit{exitUsage, err}
				}
				from, how, err := madeFrom(args[0], m)
				if err != nil {
					return err
				}
				from.withNft, from.nft = true, filepath.Join(args[0], plan.Ruleset)
				files, flags, args = *from, *how, nil
			}
			in, p, list, err := compared(c.Context(), s, &files, args, &flags, asJSON, verifySchema)
			if err != nil {
				return err
			}
			r, err := checks.check(c.Context(), s, in, p, flags.strict)
			if err != nil {
				return err
			}
			words := []equivalence.Word{r.word()}
			doc := report.Document{Schema: verifySchema, Diagnostics: report.Diagnostics(list), Deviations: p.deviations}
			r.document(&doc)
			var kr *equivalence.KernelReport
			if inKernel {
				if kr, err = kernelCheck(c.Context(), s, in, p, r, &checks, flags.strict); err != nil {
					return err
				}
				words = append(words, kr.Word)
				doc.Kernel = report.KernelDocument(kr)
				r.document(&doc)
			}
			if asJSON {
				err = doc.Write(s.out)
			} else {
				err = showCheck(s.out, in, p, r, kr)
			}
			if err != nil {
				return err
			}
			return verdict(words...)
		},
	}
	files.register(c, true)
	flags.register(c)
	checks.register(c)
	c.Flags().BoolVar(&inKernel, "kernel", false, "also run the packets through this kernel, in private namespaces")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON document")
	return c
}

// showCheck prints a check for people; where an .nft file differs, also how its
// text differs from our translation.
func showCheck(w io.Writer, in *input, p *pair, r *result, kr *equivalence.KernelReport) error {
	names := report.Names{A: p.names[0], B: p.names[1]}
	if err := r.show(w, names); err != nil {
		return err
	}
	if kr != nil {
		if err := report.Kernel(w, kr, names); err != nil {
			return err
		}
	}
	if in.nft != nil && p.text != nil && r.word() == equivalence.Different {
		_, err := fmt.Fprintf(w, "\nour translation (-) and %s (+):\n%s", in.nft.Name, report.Diff(string(p.text), string(in.nft.Text)))
		return err
	}
	return nil
}

// kernelPair opens this kernel's machines for both sides.
func kernelPair(in *input, p *pair) equivalence.KernelPair {
	open := func(host *packet.Host, tracked bool) (equivalence.Kernel, equivalence.Kernel, func() error, error) {
		v4, err4 := textOf(in.v4)
		v6, err6 := textOf(in.v6)
		sets, err := in.setsText()
		if err = errors.Join(err4, err6, err); err != nil {
			return nil, nil, nil, err
		}
		o := kernel.Options{Untracked: !tracked, Sets: sets}
		xt, err := kernel.NewXtables(host, v4, v6, o)
		if err != nil {
			return nil, nil, nil, err
		}
		nft, err := kernel.NewNftables(host, p.batch, o)
		if err != nil {
			return nil, nil, nil, errors.Join(err, xt.Close())
		}
		return xt, nft, func() error { return errors.Join(xt.Close(), nft.Close()) }, nil
	}
	const longest = 5 * time.Second
	return equivalence.KernelPair{Open: open, Skips: func(err error) bool { return errors.Is(err, kernel.ErrNotRunnable) }, Wait: longest}
}

// kernelCheck brings packets into this kernel: those that show the differences
// of the result, then a sample of all.
func kernelCheck(ctx context.Context, s *streams, in *input, p *pair, found *result, f *checkFlags, strict bool) (*equivalence.KernelReport, error) {
	k := kernelPair(in, p)
	tracked := false
	for _, v := range in.versions() {
		tracked = tracked || p.source.NeedsConntrack(v) || p.target.NeedsConntrack(v)
	}
	list := found.differences()
	for i := range list {
		if err := equivalence.Confirm(ctx, &list[i], k, tracked); err != nil {
			return nil, kernelError(err)
		}
	}
	r, err := equivalence.KernelCheck(ctx, p.source, p.target, k, equivalence.Options{
		Packets: f.packets, Seed: f.seed, Versions: in.versions(),
		Strict: strict, Deviations: p.deviations, Progress: progress(s.errs),
	})
	if err != nil {
		return nil, kernelError(err)
	}
	return r, nil
}

// kernelError says what the kernel check lacks.
func kernelError(err error) error {
	var missing *kernel.MissingError
	if errors.As(err, &missing) {
		return &exit{exitMissing, fmt.Errorf("run packets through this kernel: %w\nRun it as root. An ordinary user needs user namespaces and a /dev/net/tun that users may open", err)}
	}
	return fmt.Errorf("run packets through this kernel: %w", err)
}

func textOf(rs *iptables.Ruleset) ([]byte, error) {
	switch {
	case rs == nil:
		return nil, nil
	case !script.Recognise(rs.Source.Text):
		return rs.Source.Text, nil
	}
	var text bytes.Buffer // what the script ends up with
	err := iptables.Print(&text, rs, iptables.PrintOptions{})
	return text.Bytes(), err
}
