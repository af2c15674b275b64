package report

import (
	"encoding/base64"
	"encoding/json"
	"io"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/packet"
)

// A Document is the JSON of one command. Schema names its form and version;
// fields are only ever added within a version.
type Document struct {
	Schema      string       `json:"schema"` // "nftmigrate/verify/1"
	Diagnostics []Diagnostic `json:"diagnostics"`
	// Ruleset is the .nft text, for translate.
	Ruleset    string       `json:"ruleset,omitempty"`
	Deviations []string     `json:"deviations,omitempty"`
	Proof      *ProofJSON   `json:"proof,omitempty"`
	Check      *CheckJSON   `json:"check,omitempty"`
	Kernel     *KernelJSON  `json:"kernel,omitempty"`
	Traces     []TraceJSON  `json:"traces,omitempty"`
	Commit     *CommitJSON  `json:"commit,omitempty"`
	Renamed    []RenameJSON `json:"renamed,omitempty"`
}

// A Diagnostic is a diag.Diagnostic.
type Diagnostic struct {
	Severity string `json:"severity"`
	Code     string `json:"code"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
}

// ProofJSON is an equivalence.Proof with its Replay. Result is the word for
// both.
type ProofJSON struct {
	Result      string               `json:"result"`
	Stages      []StageJSON          `json:"stages"`
	Nodes       int                  `json:"nodes"`
	Explained   map[string]ClassJSON `json:"explained"`
	Undecided   map[string]ClassJSON `json:"undecided"`
	Incomplete  string               `json:"incomplete,omitempty"`
	Assumptions []string             `json:"assumptions"`
	Differences []DifferenceJSON     `json:"differences"`
	Classes     []ClassJSON          `json:"classes"` // of the differences
	Replay      *ReplayJSON          `json:"replay,omitempty"`
}

// StageJSON is an equivalence.StageProof.
type StageJSON struct {
	Version  int    `json:"version"`
	Hook     string `json:"hook"`
	Priority int32  `json:"priority"`
	A        string `json:"a"`
	B        string `json:"b"`
	Equal    bool   `json:"equal"`
}

// ClassJSON is an equivalence.PacketClass. The numbers are decimal.
type ClassJSON struct {
	Version int    `json:"version"`
	Hook    string `json:"hook"`
	A       string `json:"a,omitempty"`
	B       string `json:"b,omitempty"`
	Packets string `json:"packets"`
	Of      string `json:"of"`
}

// ReplayJSON is an equivalence.Replay.
type ReplayJSON struct {
	Packets     int              `json:"packets"`
	Complete    bool             `json:"complete"`
	Mismatches  []string         `json:"mismatches"`
	Differences []DifferenceJSON `json:"differences"`
}

// CheckJSON is an equivalence.Report.
type CheckJSON struct {
	Result      string           `json:"result"`
	Packets     int              `json:"packets"`
	Seed        uint64           `json:"seed"`
	Reassembled int              `json:"reassembled"`
	Explained   map[string]int   `json:"explained"`
	Undecided   map[string]int   `json:"undecided"`
	Assumptions []string         `json:"assumptions"`
	Differences []DifferenceJSON `json:"differences"`
}

// KernelJSON is an equivalence.KernelReport: Differences are between both
// rulesets in the kernel, Source and Target between kernel and model.
type KernelJSON struct {
	Result      string           `json:"result"`
	Packets     int              `json:"packets"`
	Skipped     map[string]int   `json:"skipped"`
	Volatile    int              `json:"volatile"`
	Explained   map[string]int   `json:"explained"`
	Differences []DifferenceJSON `json:"differences"`
	Source      []DifferenceJSON `json:"source"`
	Target      []DifferenceJSON `json:"target"`
}

// DifferenceJSON is an equivalence.Difference.
type DifferenceJSON struct {
	Aspects []string `json:"aspects"`
	Count   int      `json:"count"`
	Packet  string   `json:"packet"`
	Data    string   `json:"data"` // base64, from the IP header
	Before  []string `json:"before,omitempty"`
	A       FateJSON `json:"a"`
	B       FateJSON `json:"b"`
	// Kernel is what the kernel did, when it was asked.
	Kernel *ConfirmationJSON `json:"kernel,omitempty"`
}

// ConfirmationJSON is an equivalence.Confirmation.
type ConfirmationJSON struct {
	Confirmed bool   `json:"confirmed"`
	Skipped   string `json:"skipped,omitempty"`
	A         string `json:"a,omitempty"`
	B         string `json:"b,omitempty"`
}

// FateJSON is a packet.Fate.
type FateJSON struct {
	Verdict string     `json:"verdict"`
	Text    string     `json:"text"`
	Trace   []StepJSON `json:"trace,omitempty"`
}

// StepJSON is a packet.Step.
type StepJSON struct {
	Stage  string `json:"stage"`
	Place  string `json:"place,omitempty"`
	Text   string `json:"text,omitempty"`
	Result string `json:"result"`
}

// TraceJSON is the way of one packet through one machine.
type TraceJSON struct {
	Side string   `json:"side"`
	Fate FateJSON `json:"fate"`
}

// CommitJSON is what a commit did.
type CommitJSON struct {
	Messages   int    `json:"messages"`
	Generation uint32 `json:"generation"`
	Namespace  string `json:"namespace,omitempty"`
}

// RenameJSON is a chain that has another name in nftables.
type RenameJSON struct {
	Table string `json:"table"`
	Chain string `json:"chain"`
	Name  string `json:"name"`
}

// Write writes the document, indented.
func (d Document) Write(w io.Writer) error {
	if d.Diagnostics == nil {
		d.Diagnostics = []Diagnostic{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(true)
	return e.Encode(d)
}

// Diagnostics converts a list.
func Diagnostics(list diag.List) []Diagnostic {
	out := make([]Diagnostic, 0, len(list))
	for _, d := range list {
		j := Diagnostic{Severity: d.Severity.String(), Code: d.Code, Summary: d.Summary, Detail: d.Detail}
		if s := d.Subject.Source; s != nil {
			j.File = s.Name
			j.Line, j.Column = s.Position(int(d.Subject.Start))
		}
		out = append(out, j)
	}
	return out
}

// ProofDocument converts a proof. replay may be nil.
func ProofDocument(p *equivalence.Proof, replay *equivalence.Replay) *ProofJSON {
	j := &ProofJSON{
		Result: string(equivalence.Combine(p, replay)), Stages: []StageJSON{}, Nodes: p.Nodes,
		Explained: map[string]ClassJSON{}, Undecided: map[string]ClassJSON{},
		Incomplete: p.Incomplete, Assumptions: append([]string{}, p.Assumptions...),
		Differences: []DifferenceJSON{}, Classes: []ClassJSON{},
	}
	for _, s := range p.Stages {
		j.Stages = append(j.Stages, StageJSON{s.Version, s.Hook.String(), s.Priority, s.A, s.B, s.Equal})
	}
	for code, c := range p.Explained {
		j.Explained[code] = classDocument(c)
	}
	for why, c := range p.Unknown {
		j.Undecided[why] = classDocument(c)
	}
	for _, d := range p.Differences {
		j.Differences = append(j.Differences, differenceDocument(d))
	}
	for _, c := range p.Classes {
		j.Classes = append(j.Classes, classDocument(c))
	}
	if replay != nil {
		j.Replay = &ReplayJSON{Packets: replay.Packets, Complete: replay.Complete, Mismatches: append([]string{}, replay.Mismatches...), Differences: []DifferenceJSON{}}
		for _, d := range replay.Differences {
			j.Replay.Differences = append(j.Replay.Differences, differenceDocument(d))
		}
	}
	return j
}

func classDocument(c equivalence.PacketClass) ClassJSON {
	j := ClassJSON{Version: c.Version, Hook: c.Hook.String(), A: c.A, B: c.B}
	if c.Packets != nil && c.All != nil {
		j.Packets, j.Of = c.Packets.String(), c.All.String()
	}
	return j
}

// CheckDocument converts a report.
func CheckDocument(r *equivalence.Report) *CheckJSON {
	j := &CheckJSON{
		Result: string(r.Word), Packets: r.Packets, Seed: r.Seed, Reassembled: r.Reassembled,
		Explained: r.Explained, Undecided: r.Unknown, Assumptions: r.Assumptions,
		Differences: []DifferenceJSON{},
	}
	for _, d := range r.Differences {
		j.Differences = append(j.Differences, differenceDocument(d))
	}
	return j
}

// KernelDocument converts a report of a run through the kernel.
func KernelDocument(r *equivalence.KernelReport) *KernelJSON {
	j := &KernelJSON{
		Result: string(r.Word), Packets: r.Packets, Skipped: r.Skipped, Volatile: r.Volatile, Explained: r.Explained,
	}
	for _, part := range []struct {
		to   *[]DifferenceJSON
		from []equivalence.Difference
	}{{&j.Differences, r.Differences}, {&j.Source, r.Source}, {&j.Target, r.Target}} {
		*part.to = []DifferenceJSON{}
		for _, d := range part.from {
			*part.to = append(*part.to, differenceDocument(d))
		}
	}
	return j
}

func differenceDocument(d equivalence.Difference) DifferenceJSON {
	dj := DifferenceJSON{
		Count: d.Count, Packet: d.Packet.String(),
		Data: base64.StdEncoding.EncodeToString(d.Packet.Data),
		A:    FateDocument(d.A), B: FateDocument(d.B),
	}
	for _, a := range d.Aspects {
		dj.Aspects = append(dj.Aspects, string(a))
	}
	if k := d.InKernel; k != nil {
		dj.Kernel = &ConfirmationJSON{Confirmed: k.Confirmed, Skipped: k.Skipped}
		if k.Skipped == "" {
			dj.Kernel.A, dj.Kernel.B = equivalence.Describe(k.A), equivalence.Describe(k.B)
		}
	}
	for _, p := range d.Before {
		dj.Before = append(dj.Before, p.String())
	}
	return dj
}

// FateDocument converts a fate.
func FateDocument(f packet.Fate) FateJSON {
	j := FateJSON{Verdict: f.Verdict.String(), Text: equivalence.Describe(f)}
	for _, s := range f.Trace {
		j.Trace = append(j.Trace, StepJSON(s))
	}
	return j
}
