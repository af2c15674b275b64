package report

import (
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strings"

	"nftmigrate/equivalence"
)

// Proof writes the result of a proof for people: the word, what it rests on, and
// each difference with both traces. replay may be nil.
func Proof(w io.Writer, p *equivalence.Proof, replay *equivalence.Replay, n Names) error {
	var b strings.Builder
	word := equivalence.Combine(p, replay)
	about := map[equivalence.Word]string{
		equivalence.Equivalent: ", for every packet",
	}[word]
	fmt.Fprintf(&b, "%s: %s and %s%s (%s, %s)\n", word, n.A, n.B, about,
		count(len(p.Stages), "stage"), count(p.Nodes, "node"))
	for _, code := range slices.Sorted(maps.Keys(p.Explained)) {
		fmt.Fprintf(&b, "  declared deviation %s: %s\n", code, class(p.Explained[code]))
	}
	for _, why := range slices.Sorted(maps.Keys(p.Unknown)) {
		fmt.Fprintf(&b, "  not decided: %s: %s\n", why, class(p.Unknown[why]))
	}
	if p.Incomplete != "" {
		fmt.Fprintf(&b, "  not decided: %s\n", p.Incomplete)
	}
	for _, a := range p.Assumptions {
		fmt.Fprintf(&b, "  assumed: %s\n", a)
	}
	if replay != nil {
		replayed(&b, replay)
	}
	if word == equivalence.Undecided {
		b.WriteString("  --sample runs packets instead of a proof\n")
	}
	for i, d := range p.Differences {
		b.WriteString("\n")
		difference(&b, i+1, d, n)
		fmt.Fprintf(&b, "  alike: %s\n", class(p.Classes[i]))
		for _, side := range []struct{ name, rule string }{{n.A, p.Classes[i].A}, {n.B, p.Classes[i].B}} {
			if side.rule != "" {
				fmt.Fprintf(&b, "  decided in %s by %s\n", side.name, side.rule)
			}
		}
	}
	if replay != nil {
		for i, d := range replay.Differences {
			b.WriteString("\n")
			difference(&b, i+1, d, n)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func replayed(b *strings.Builder, r *equivalence.Replay) {
	what := "one for every outcome and every decision"
	if !r.Complete {
		what = "for outcomes and decisions as far as they went"
	}
	result := "as proven"
	if len(r.Mismatches)+len(r.Differences) > 0 {
		result = "not as proven"
	}
	fmt.Fprintf(b, "  replayed in both models: %s, %s: %s\n", count(r.Packets, "packet"), what, result)
	for _, m := range r.Mismatches {
		fmt.Fprintf(b, "    %s\n", m)
	}
}

// class says how large a class of packets is.
func class(c equivalence.PacketClass) string {
	if c.Packets == nil || c.All == nil {
		return fmt.Sprintf("packets at %v, IPv%d, which were not counted", c.Hook, c.Version)
	}
	return fmt.Sprintf("%s of %s packets at %v, IPv%d", magnitude(c.Packets), magnitude(c.All), c.Hook, c.Version)
}

// magnitude spells a number, a large one as a power of two.
func magnitude(n *big.Int) string {
	const exact = 1_000_000
	switch {
	case n == nil:
		return "some"
	case n.IsInt64() && n.Int64() < exact:
		return n.String()
	}
	f := new(big.Float).SetInt(n)
	mantissa := new(big.Float)
	power := f.MantExp(mantissa) // in [0.5, 1)
	m, _ := mantissa.Float64()
	if m == 0.5 {
		return fmt.Sprintf("2^%d", power-1)
	}
	return fmt.Sprintf("%.2f × 2^%d", 2*m, power-1)
}
