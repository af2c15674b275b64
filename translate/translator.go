package translate

import (
	"errors"

	"nftmigrate/diag"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
)

// A Translator is a match or target that nftables can express. Translate adds
// statements to the rule, in the order in which xtables evaluates them. An
// error that is an [*Untranslatable] refuses the rule with a diagnostic; any
// other error is a fault of the program.
type Translator interface {
	Translate(r *Rule) error
}

// A Collector is a match or target that shares objects between rules, and so
// has to be seen everywhere before the first rule is translated.
type Collector interface {
	Collect(s *Shared, c iptables.Context) error
}

// An Untranslatable says why a match or target has no form in nftables.
type Untranslatable struct {
	Code    string     // kebab case; "" means "untranslatable-option"
	Summary string     // short
	Detail  string     // reason and remedy
	Range   diag.Range // zero means the match's or target's name
}

func (u *Untranslatable) Error() string { return u.Summary }

// A Deviation is a difference between the source rule and its translation that
// is declared: for which packets, and why it cannot be had exactly.
type Deviation struct {
	Code   string // kebab case, documented in docs/deviations.md
	Detail string
}

// A Rule is an iptables rule on its way into nftables: where it stands, and
// what its matches and target have added so far.
type Rule struct {
	iptables.Context
	// Shared takes the sets and chains that matches need.
	Shared *Shared
	// Again says that the rule is one of table raw that stands behind connection
	// tracking once more: its target gives what it says to the connection, and no
	// other template counts then.
	Again bool

	items      []item
	deviations []Deviation
	comments   []string
	counted    bool          // its counter is kept
	guard      nftgen.Family // what the nft rule is restricted to
	also       diag.Range    // the like rule of the other family
	comment    string        // comments as a kernel comment, when they fit one
	note       string        // else as comment lines of the text

	fragments     bool // rules see fragments
	firstFragment bool // FirstFragment was called
	asksFragments bool // a test would be another if rules saw fragments
}

// An item is a statement or a branch.
type item struct {
	stmt   nftgen.Stmt
	branch *Branch
}

// A Branch is a decision that one nft rule cannot hold: its rows are tried in
// order, each a conjunction of statements; what stands behind the branch is
// evaluated at most once per packet, whatever the rows.
type Branch struct {
	Rows []Row
	// Otherwise is the outcome when no row decided: Match or Fail.
	Otherwise Outcome
}

// A Row is one line of a branch.
type Row struct {
	Stmts []nftgen.Stmt
	Then  Outcome
}

// An Outcome says what a row of a branch leads to.
type Outcome uint8

// The outcomes. The zero value is invalid.
const (
	Match Outcome = iota + 1 // the rule goes on behind the branch
	Fail                     // the rule does not match
	Next                     // the next row; the row was for its effects
)

// Add appends statements.
func (r *Rule) Add(stmts ...nftgen.Stmt) {
	for _, s := range stmts {
		r.items = append(r.items, item{stmt: s})
	}
}

// Branch appends a branch.
func (r *Rule) Branch(b Branch) {
	r.items = append(r.items, item{branch: &b})
}

// Never makes the rule one that cannot match.
func (r *Rule) Never() { r.Branch(Branch{Otherwise: Fail}) }

// Declare records a declared deviation of the rule.
func (r *Rule) Declare(d Deviation) { r.deviations = append(r.deviations, d) }

// Comment adds a comment of the user.
func (r *Rule) Comment(text string) { r.comments = append(r.comments, text) }

// NFProto returns the nftables family of the source rule.
func (r *Rule) NFProto() nftgen.Family {
	if r.Context.Family == iptables.IPv6 {
		return nftgen.IP6
	}
	return nftgen.IP
}

// AsUntranslatable returns the *Untranslatable in err's chain, or nil.
func AsUntranslatable(err error) *Untranslatable {
	var u *Untranslatable
	if errors.As(err, &u) {
		return u
	}
	return nil
}
