package translate

import (
	"fmt"
	"slices"

	"nftmigrate/diag"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
)

// A Keeper is a match or target that can stay what it is, as an extension of
// xtables inside the nft rule, where it has no native form: [Options.KeepXt].
type Keeper interface {
	// Keep returns the extension as the kernel reads it from user space. An
	// error that is an [*Untranslatable] says why not even that is possible.
	Keep(r *Rule) (Kept, error)
}

// Kept is an extension of xtables on its way into an nft rule.
type Kept struct {
	Name     string
	Revision uint8
	Info     []byte // the structure of the kernel's header
	// Table is the name of the only table in which the kernel allows the
	// extension, "" for any. Tables of ours have none of those names.
	Table string
	// Tracks says that it makes the kernel track connections.
	Tracks bool
	// Protocol is the only protocol of the rules in which the kernel allows the
	// extension, 0 for any.
	Protocol uint8
}

// A keptRule is a rule of the source that only a batch can hold.
type keptRule struct {
	where diag.Range
	text  string // of the extension
}

// A part is a match or target of a rule.
type part struct {
	thing  any
	where  diag.Range
	target bool
	name   string
}

// text is the part as iptables-save prints it.
func (p part) text() string {
	if p.target {
		return iptables.PrintTarget(p.thing.(iptables.Target))
	}
	return iptables.PrintMatch(p.thing.(iptables.Match))
}

func (p part) kind() string {
	if p.target {
		return "target"
	}
	return "match"
}

// part adds the statements of a match or target: its native form, or else, when
// that is wanted and possible, the extension itself. It returns whether there
// is a form; a diagnostic says why there is none.
func (t *translation) part(r *Rule, p part) bool {
	before := *r
	var refused error
	if translator, ok := p.thing.(Translator); ok {
		err := translator.Translate(r)
		if err == nil {
			return true
		}
		if AsUntranslatable(err) == nil {
			return t.report(err, r.Context, p.where, p.kind(), p.name)
		}
		refused = err
		// What it added before it gave up is not part of the rule.
		*r = before
	}
	keeper, keeps := p.thing.(Keeper)
	switch {
	case keeps && t.options.KeepXt:
		return t.keep(r, p, keeper)
	case refused != nil:
		return t.report(hinted(refused, keeps), r.Context, p.where, p.kind(), p.name)
	case keeps:
		t.diags.Add(diag.Diagnostic{
			Severity: diag.Error, Class: diag.Unsupported,
			Code:    "untranslatable-" + p.kind(),
			Summary: fmt.Sprintf("%s %q has no form in nftables", p.kind(), p.name),
			Detail:  keepHint,
			Subject: p.where, Context: r.Context.Rule.Range,
		})
	default:
		t.unsupported(r.Context, p.where, p.kind(), p.name)
	}
	return false
}

const keepHint = "With --keep-xt it stays an extension of xtables inside the nft rule, which migrate apply loads and nft -f cannot."

// hinted adds to a refusal that the rule can be kept.
func hinted(err error, keeps bool) error {
	if !keeps {
		return err
	}
	u := *AsUntranslatable(err)
	u.Detail += "\n" + keepHint
	return &u
}

// keep adds an extension itself.
func (t *translation) keep(r *Rule, p part, keeper Keeper) bool {
	kept, err := keeper.Keep(r)
	switch {
	case err != nil:
	case kept.Table != "":
		err = &Untranslatable{
			Code:    "xt-of-one-table",
			Summary: fmt.Sprintf("%s %q cannot be kept", p.kind(), p.name),
			Detail:  fmt.Sprintf("The kernel allows it only in a table that is called %q, a name that belongs to iptables-nft. Keep the rule in iptables, or do without.", kept.Table),
		}
	}
	if err != nil {
		return t.report(err, r.Context, p.where, p.kind(), p.name)
	}
	for len(kept.Info)%8 != 0 {
		kept.Info = append(kept.Info, 0)
	}
	r.Add(nftgen.Xt{
		Target: p.target, Name: kept.Name, Revision: kept.Revision, Info: kept.Info, Text: p.text(), Tracks: kept.Tracks, Protocol: kept.Protocol,
	})
	t.kept = append(t.kept, keptRule{p.where, p.text()})
	t.diags.Add(diag.Diagnostic{
		Severity: diag.Warning, Class: diag.Unsupported,
		Code:    "kept-as-xt",
		Summary: fmt.Sprintf("%s %q is kept as an extension of xtables", p.kind(), p.name),
		Detail:  "The text shows the rule as a comment. Load the ruleset with migrate apply; nft -f would leave the rule out.",
		Subject: p.where, Context: r.Context.Rule.Range,
	})
	return true
}

// keptHead is what the head of the text says of rules that are kept.
func (t *translation) keptHead() []string {
	rules := t.table.XtRules()
	if rules == 0 {
		return nil
	}
	lines := []string{
		fmt.Sprintf("INCOMPLETE AS TEXT: %d of the rules hold extensions of xtables, for which nft has no words.", rules),
		`They stand below as comments that begin with "migrate apply only". Load this ruleset with`,
		"migrate apply --keep-xt; nft -f would leave them out. Kept are:",
	}
	for _, k := range t.kept {
		line := fmt.Sprintf("  %s: %s", k.where.FileLine(), k.text)
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}
