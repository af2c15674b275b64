package main

import (
	"context"
	"fmt"
	"time"

	"nftmigrate/equivalence"
	"nftmigrate/report"
)

// The budget of the proof of one ruleset, and how many of its packets are run.
const (
	proofMemory  = 1 << 30
	proofTime    = 20 * time.Second // of the command
	proofPackets = 500
)

// prove holds the proof of a ruleset against what the kernel did with its
// packets: where the kernel saw no difference, there is none to be proven, and
// the models do with the packets of the proof as it says.
func (f *fuzz) prove(ctx context.Context, a, b equivalence.Machine, versions []int, codes []string, o *outcome) error {
	if f.proofTime == 0 {
		return nil
	}
	options := equivalence.ProofOptions{Versions: versions, Deviations: codes, Memory: proofMemory, Time: f.proofTime, MaxDifferences: 3}
	p, err := equivalence.Prove(ctx, a, b, options)
	if err != nil {
		return err
	}
	o.counts["proof: "+string(p.Word)]++
	if p.Incomplete != "" {
		o.counts["proof not made: "+cut(p.Incomplete)]++
	}
	var replay *equivalence.Replay
	if p.Word == equivalence.Equivalent {
		if replay, err = equivalence.ReplayProof(ctx, a, b, options, proofPackets); err != nil {
			return err
		}
		o.counts["packets of proofs, in both models"] += replay.Packets
	}
	inKernel := o.report != nil && o.report.Word == equivalence.Different
	if word := equivalence.Combine(p, replay); word == equivalence.Different && !inKernel || word != p.Word {
		o.failed = true
		return report.Proof(&o.text, p, replay, report.Names{A: "iptables", B: "nftables"})
	}
	if p.Word == equivalence.Equivalent && o.report != nil && len(o.report.Differences) > 0 {
		_, err = fmt.Fprintln(&o.text, "the proof says equivalent, and the kernel's engines differ")
		return err
	}
	return nil
}

// cut leaves out of a reason what is of one ruleset only.
func cut(reason string) string {
	const most = 60
	if len(reason) > most {
		reason = reason[:most] + "…"
	}
	return reason
}
