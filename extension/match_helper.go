package extension

import (
	"fmt"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("helper", func() iptables.Match { return new(helperMatch) }) }

var (
	_ iptsim.Meaning       = (*helperMatch)(nil)
	_ translate.Translator = (*helperMatch)(nil)
)

// helperMatch is "-m helper": a helper expected the packet's connection, and its
// name is the beginning of the one that is given: "ftp-2121" also takes what "ftp"
// expected. The empty name takes any helper. A connection that no helper expected,
// or none at all, is of no name.
//
// Kernel: net/netfilter/xt_helper.c.
type helperMatch struct {
	Helper iptables.Opt[helperName]
}

func (*helperMatch) Name() string { return "helper" }

func (m *helperMatch) Options() iptables.Options {
	return iptables.Options{iptables.Bind("helper", &m.Helper, iptables.Required|iptables.Invertible)}
}

// A helperName is a name of at most 29 bytes; of longer ones the tool keeps the
// beginning. Names of helpers have at most 15.
type helperName struct{ iptables.Text }

// Set reads a name.
func (n *helperName) Set(arg string) error {
	const most = 29
	n.Text = iptables.Text(arg[:min(len(arg), most)])
	return nil
}

func (m *helperMatch) Meaning(iptables.Context) predicate.Meaning {
	field := predicate.Field{ID: predicate.CTHelper}
	name := string(m.Helper.Value.Text)
	var p predicate.Predicate = predicate.Present{Field: field}
	if name != "" {
		var any predicate.Any
		for n := 1; n <= min(len(name), 15) && !strings.ContainsAny(name[:n], helperNever); n++ {
			any = append(any, predicate.Equal(field, predicate.Name(name[:n])))
		}
		p = any
	}
	return predicate.Meaning{Match: negatedIf(m.Helper.Negated, p)}
}

// helperNever are the characters that no name of a helper has, as
// helper-name-characters declares.
const helperNever = "\x01\x02\x03\x04\x05\x06\a\b\t\n\v\f\r\x0e\x0f" +
	"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\"*\\\x7f"

// Translate asks for the name, whose load ends an nft rule when there is none: a
// negated match is one that is left.
//
// Kernel: net/netfilter/nft_ct.c, NFT_CT_HELPER.
func (m *helperMatch) Translate(r *translate.Rule) error {
	if err := aboutTemplate(r); err != nil {
		return err
	}
	name := string(m.Helper.Value.Text)
	written := strings.IndexFunc(name, func(c rune) bool {
		return c < ' ' || c == 0x7f || c == '"' || c == '*' || c == '\\'
	})
	if written < 0 {
		written = len(name)
	} else {
		r.Declare(translate.Deviation{
			Code: "helper-name-characters",
			Detail: fmt.Sprintf("A name in the text of nft cannot hold %q. No helper of the kernel is called so; one of a program of the user could be, "+
				"and nftables would not take it for the one that is named.", name[written]),
		})
	}
	field := nftgen.CTHelper
	var tests []nftgen.Stmt
	if name == "" {
		// Every name is one or is not.
		any := nftgen.Value("ftp")
		tests = []nftgen.Stmt{nftgen.Compare{Field: field, Op: nftgen.Eq, Value: any}, nftgen.Compare{Field: field, Op: nftgen.Ne, Value: any}}
	} else {
		set := nftgen.OneOf{Field: field}
		const longest = 15
		for n := 1; n <= min(written, longest); n++ {
			v := nftgen.Value(name[:n])
			set.Intervals = append(set.Intervals, nftgen.Interval{Low: v, High: v})
		}
		tests = []nftgen.Stmt{set}
		if len(set.Intervals) == 0 {
			tests = nil
		}
	}
	if !m.Helper.Negated && len(tests) == 1 {
		r.Add(tests...)
		return nil
	}
	b := translate.Branch{Otherwise: translate.Fail}
	then := translate.Match
	if m.Helper.Negated {
		b.Otherwise, then = translate.Match, translate.Fail
	}
	for _, t := range tests {
		b.Rows = append(b.Rows, translate.Row{Stmts: []nftgen.Stmt{t}, Then: then})
	}
	r.Branch(b)
	return nil
}
