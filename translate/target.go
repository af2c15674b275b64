package translate

import (
	"fmt"
	"strconv"
	"strings"

	"nftmigrate/diag"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
)

// A Version is that of a kernel or of nft: up to three numbers. The zero value
// is none.
type Version [3]int

func (v Version) String() string {
	if v[2] == 0 && v[0] >= 2 { // kernels are told by two numbers, nft by three
		return fmt.Sprintf("%d.%d", v[0], v[1])
	}
	return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2])
}

// before reports whether v is older than w.
func (v Version) before(w Version) bool {
	for i := range v {
		if v[i] != w[i] {
			return v[i] < w[i]
		}
	}
	return false
}

// A Target is the oldest kernel and the oldest nft that a translation is for.
// Either may be missing: then nothing is asked of it.
type Target struct{ Kernel, NFT Version }

// ParseTarget reads "kernel=4.18,nft=0.9.3".
func ParseTarget(s string) (Target, error) {
	var t Target
	if s == "" {
		return t, nil
	}
	for _, part := range strings.Split(s, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return Target{}, fmt.Errorf("%q is not of the form kernel=VERSION or nft=VERSION", part)
		}
		var which *Version
		switch name {
		case "kernel":
			which = &t.Kernel
		case "nft":
			which = &t.NFT
		default:
			return Target{}, fmt.Errorf("%q is neither kernel nor nft", name)
		}
		if *which != (Version{}) {
			return Target{}, fmt.Errorf("%s is given twice", name)
		}
		v, err := parseVersion(value)
		if err != nil {
			return Target{}, fmt.Errorf("the version of %s: %w", name, err)
		}
		*which = v
	}
	return t, nil
}

func parseVersion(s string) (Version, error) {
	var v Version
	parts := strings.Split(s, ".")
	if len(parts) < 2 || len(parts) > len(v) {
		return v, fmt.Errorf("%q is not two or three numbers with points", s)
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return Version{}, fmt.Errorf("%q is not two or three numbers with points", s)
		}
		v[i] = int(n)
	}
	if v == (Version{}) {
		return v, fmt.Errorf("there is no version %s", s)
	}
	return v, nil
}

// lacks says what a target is too old for, or nothing.
func (t Target) lacks(f Feature) string {
	var words []string
	if t.Kernel != (Version{}) && t.Kernel.before(f.Kernel) {
		words = append(words, fmt.Sprintf("Linux %s, not %s", f.Kernel, t.Kernel))
	}
	if t.NFT != (Version{}) && t.NFT.before(f.NFT) {
		words = append(words, fmt.Sprintf("nft %s, not %s", f.NFT, t.NFT))
	}
	return strings.Join(words, " and ")
}

// apartFor reports whether each family needs a table of its own: where a table
// of both cannot translate addresses yet.
func (o *Options) apartFor(v4, v6 *iptables.Ruleset) bool {
	return o.Target.lacks(inetNAT) != "" && (v4.Table("nat") != nil || v6.Table("nat") != nil)
}

// fit puts older equal forms in place of what the target does not have, and
// reports what has none.
func (t *translation) fit() {
	if t.options.Target == (Target{}) {
		return
	}
	told := make(map[*nftgen.Set]bool)
	for _, c := range t.table.Chains {
		if c.Base != nil {
			c.Base.Numeric = t.options.Target.lacks(namedPriority) != ""
			if c.Base.Type == "nat" && t.table.Family == nftgen.Inet {
				t.need([]Feature{inetNAT}, c.Origin, "The chain "+c.Name)
			}
		}
		for _, r := range c.Rules {
			for i, s := range r.Stmts {
				r.Stmts[i] = t.older(s)
				t.need(stmtFeatures(r.Stmts[i]), r.Origin, "The rule")
				if set := nftgen.SetOf(s); set != nil && !told[set] {
					told[set] = true
					t.need(setFeatures(set), r.Origin, "The set "+set.Name+" of the rule")
				}
			}
		}
	}
	for _, s := range t.table.Sets {
		if !told[s] {
			t.need(setFeatures(s), diag.Range{}, "The set "+s.Name)
		}
	}
}

// older returns a statement that does the same and that older versions have,
// where there is one and the target needs it.
func (t *translation) older(s nftgen.Stmt) nftgen.Stmt {
	if a, ok := s.(nftgen.AnyBit); ok && a.Not && t.options.Target.lacks(flagNegation) != "" {
		return nftgen.Compare{Field: a.Field, Mask: a.Bits, Op: nftgen.Eq, Value: make(nftgen.Value, len(a.Bits))}
	}
	return s
}

// need reports features that the target lacks, each once at a place.
func (t *translation) need(features []Feature, where diag.Range, what string) {
	for _, f := range features {
		lacks := t.options.Target.lacks(f)
		if lacks == "" {
			continue
		}
		t.diags.Add(diag.Diagnostic{
			Severity: diag.Error, Class: diag.Unsupported,
			Code:    "untranslatable-for-target",
			Summary: "the target of the translation lacks " + f.Name,
			Detail:  fmt.Sprintf("%s needs %s, which there is since %s. No older form does the same. Name a newer --target, or keep that host on iptables.", what, f.Name, lacks),
			Subject: where, Context: where,
		})
		return
	}
}
