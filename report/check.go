package report

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"nftmigrate/equivalence"
	"nftmigrate/packet"
)

// Names are what the two sides of a check are called.
type Names struct{ A, B string }

// Check writes the result of a check for people: the word, what it rests on,
// and each difference with both traces.
func Check(w io.Writer, r *equivalence.Report, n Names) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s and %s, %s (seed %d)\n", r.Word, n.A, n.B, count(r.Packets, "packet"), r.Seed)
	for _, code := range equivalence.ByCount(r.Explained) {
		fmt.Fprintf(&b, "  declared deviation %s: %s\n", code, count(r.Explained[code], "packet"))
	}
	if r.Reassembled > 0 {
		fmt.Fprintf(&b, "  left out: %s, which connection tracking reassembles before the first rule\n", count(r.Reassembled, "fragment"))
	}
	for _, why := range equivalence.ByCount(r.Unknown) {
		fmt.Fprintf(&b, "  not decided: %s (%s)\n", why, count(r.Unknown[why], "packet"))
	}
	for _, a := range r.Assumptions {
		fmt.Fprintf(&b, "  assumed: %s\n", a)
	}
	for i, d := range r.Differences {
		b.WriteString("\n")
		difference(&b, i+1, d, n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Kernel writes the result of a run through the kernel.
func Kernel(w io.Writer, r *equivalence.KernelReport, n Names) error {
	var b strings.Builder
	fmt.Fprintf(&b, "in this kernel: %s, %s through both engines and both models\n", r.Word, count(r.Packets, "packet"))
	for _, code := range equivalence.ByCount(r.Explained) {
		fmt.Fprintf(&b, "  declared deviation %s: %s\n", code, count(r.Explained[code], "packet"))
	}
	if r.Volatile > 0 {
		fmt.Fprintf(&b, "  not compared: %s that met a rule with a clock, a random number or a memory\n", count(r.Volatile, "difference"))
	}
	for _, why := range equivalence.ByCount(r.Skipped) {
		fmt.Fprintf(&b, "  not run: %s (%s)\n", why, count(r.Skipped[why], "packet"))
	}
	for _, part := range []struct {
		list  []equivalence.Difference
		names Names
	}{
		{r.Differences, Names{n.A + " in the kernel", n.B + " in the kernel"}},
		{r.Source, Names{n.A + " in the kernel", n.A + " in our model"}},
		{r.Target, Names{n.B + " in the kernel", n.B + " in our model"}},
	} {
		for i, d := range part.list {
			b.WriteString("\n")
			difference(&b, i+1, d, part.names)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func difference(b *strings.Builder, number int, d equivalence.Difference, n Names) {
	words := make([]string, len(d.Aspects))
	for i, a := range d.Aspects {
		words[i] = string(a)
	}
	fmt.Fprintf(b, "difference %d: %s (%s)\n", number, strings.Join(words, ", "), count(d.Count, "packet"))
	if len(d.Before) > 0 {
		fmt.Fprintf(b, "  after %s:\n", count(len(d.Before), "packet"))
		const shown = 5
		for i, p := range d.Before {
			if i == shown {
				fmt.Fprintf(b, "    … and %d more\n", len(d.Before)-shown)
				break
			}
			fmt.Fprintf(b, "    %s\n", p)
		}
	}
	fmt.Fprintf(b, "  packet: %s\n", d.Packet)
	side(b, n.A, d.A)
	side(b, n.B, d.B)
	switch k := d.InKernel; {
	case k == nil:
	case k.Skipped != "":
		fmt.Fprintf(b, "  in this kernel: not run (%s)\n", k.Skipped)
	case k.Confirmed:
		fmt.Fprintf(b, "  in this kernel: %s: %s; %s: %s\n", n.A, equivalence.Describe(k.A), n.B, equivalence.Describe(k.B))
	default:
		fmt.Fprintf(b, "  in this kernel: both %s\n", equivalence.Describe(k.A))
	}
}

func side(b *strings.Builder, name string, f packet.Fate) {
	fmt.Fprintf(b, "  %s: %s\n", name, equivalence.Describe(f))
	for _, s := range f.Trace {
		fmt.Fprintf(b, "    %s\n", Step(s))
	}
}

// Trace writes the way of one packet through one machine.
func Trace(w io.Writer, name string, f packet.Fate) error {
	var b strings.Builder
	side(&b, name, f)
	_, err := io.WriteString(w, b.String())
	return err
}

// Step writes one step of a trace on one line.
func Step(s packet.Step) string {
	text, result := s.Text, s.Result
	if strings.HasPrefix(text, "[ ") {
		text = expressions(text)
		// The last expression is the one that did not match.
		result, _, _ = strings.Cut(result, " at [ ")
	}
	parts := []string{s.Stage}
	for _, part := range []string{s.Place, text} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.ReplaceAll(strings.Join(parts, "  ")+"  → "+result, "\n", " ")
}

// Words about registers in the notation of nft --debug=netlink, and values that
// are padded with zeros.
var (
	register = regexp.MustCompile(` => reg \d+| reg \d+`)
	padded   = regexp.MustCompile(`( 0x[0-9a-f]{8})( 0x00000000)+$`)
)

// expressions puts the expressions of a rule on one line, without brackets and
// registers: "meta load iifname = 0x30687465, cmp eq 0x00006f6c". A semicolon
// ends each test.
func expressions(text string) string {
	var b strings.Builder
	between := ""
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "[ ")
		body, value, _ := strings.Cut(line, " ]")
		body = register.ReplaceAllString(body, "")
		b.WriteString(between + padded.ReplaceAllString(body, "$1") + padded.ReplaceAllString(value, "$1"))
		between = ", "
		for _, test := range []string{"cmp ", "range ", "lookup "} {
			if strings.HasPrefix(body, test) {
				between = "; "
			}
		}
	}
	return b.String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
