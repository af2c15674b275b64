package equivalence

import "nftmigrate/packet"

// A deviation is a declared difference between the engines, or of a
// translation: recognised by what became of a packet, never by which rules are
// there.
//
// docs/deviations.md describes each; a kernel test shows each once.
type deviation struct {
	code string
	// engine deviations apply to every ruleset, the others only when the
	// translation declared them.
	engine   bool
	explains func(p, q packet.Fate, aspects []Aspect) bool
}

var deviations = []deviation{
	{
		// xtables drops packets with truncated or malformed transport headers
		// inside a match; nf_tables goes on with the next rule.
		code: "hotdrop", engine: true,
		explains: func(a, _ packet.Fate, _ []Aspect) bool { return a.Hotdrop },
	},
	{
		code: "tcpmss-adds-option",
		explains: func(a, b packet.Fate, aspects []Aspect) bool {
			return len(aspects) == 1 && aspects[0] == AspectData && len(a.Data) == len(b.Data)+4
		},
	},
}

// explained names the declared deviation that explains a difference, or is "".
func (c *check) explained(a, b packet.Fate, aspects []Aspect) string {
	if c.o.Strict {
		return ""
	}
	for _, d := range deviations {
		if (d.engine || c.declared(d.code)) && d.explains(a, b, aspects) {
			return d.code
		}
	}
	return ""
}

func (c *check) declared(code string) bool {
	for _, d := range c.o.Deviations {
		if d == code {
			return true
		}
	}
	return false
}
