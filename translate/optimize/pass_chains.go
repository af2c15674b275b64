package optimize

import (
	"fmt"
	"slices"
	"strings"

	"nftmigrate/nftgen"
)

// always returns the verdict of a rule that decides about every packet.
func always(r *nftgen.Rule) (v nftgen.VerdictStmt, ok bool) {
	if len(r.Stmts) != 1 || r.Family != 0 {
		return v, false
	}
	v, ok = r.Stmts[0].(nftgen.VerdictStmt)
	return v, ok && v.Kind != nftgen.Continue && v.Kind != nftgen.Jump
}

// unreachable leaves out what stands behind a rule for all packets.
func (o *optimizer) unreachable() {
	for _, c := range o.table.Chains {
		for i, r := range c.Rules {
			if _, ok := always(r); ok && i+1 < len(c.Rules) {
				c.Note = joinLines(c.Note, "Left out behind a rule that decides about all packets: "+places(c.Rules[i+1:])+".")
				c.Rules = c.Rules[:i+1]
				break
			}
		}
	}
}

// shortcut writes the verdict of a chain in the place of a jump there.
func (o *optimizer) shortcut() {
	o.look()
	for _, c := range o.table.Chains {
		for i, r := range c.Rules {
			n := len(r.Stmts) - 1
			if n < 0 {
				continue
			}
			v, ok := r.Stmts[n].(nftgen.VerdictStmt)
			for range o.table.Chains { // no way is longer
				target := o.chains[v.Chain]
				if !ok || target == nil || len(target.Rules) == 0 {
					break
				}
				decides, all := always(target.Rules[0])
				if !all || target.Rules[0].Comment != "" || decides.Kind == nftgen.Return || decides.Kind == nftgen.Goto && v.Kind == nftgen.Jump {
					break
				}
				v = decides
				short := *r
				short.Stmts = append(slices.Clone(r.Stmts[:n]), v)
				r, c.Rules[i] = &short, &short
			}
		}
	}
}

// fold makes one chain of several with the same rules.
func (o *optimizer) fold() {
	var text []byte
	for again := true; again; {
		again = false
		first := make(map[string]*nftgen.Chain) // by their rules
		instead := make(map[string]string)
		for _, c := range o.table.Chains {
			if c.Base != nil || len(c.Rules) == 0 {
				continue
			}
			var ok bool
			if text, ok = appendBody(text[:0], c); !ok {
				continue
			}
			if same := first[string(text)]; same != nil {
				instead[c.Name] = same.Name
				continue
			}
			first[string(text)] = c
		}
		if len(instead) == 0 {
			return
		}
		again = true
		folded := make(map[string][]string)
		for name, same := range instead {
			folded[same] = append(folded[same], name)
		}
		o.table.Chains = slices.DeleteFunc(o.table.Chains, func(c *nftgen.Chain) bool { return instead[c.Name] != "" })
		for _, c := range o.table.Chains {
			if list := folded[c.Name]; list != nil {
				slices.Sort(list)
				c.Note = joinLines(c.Note, "Stands for "+listed(list)+" too, which had the same rules.")
			}
			for i, r := range c.Rules {
				n := len(r.Stmts) - 1
				if n < 0 {
					continue
				}
				if v, ok := r.Stmts[n].(nftgen.VerdictStmt); ok && instead[v.Chain] != "" {
					other := *r
					v.Chain = instead[v.Chain]
					other.Stmts = append(slices.Clone(r.Stmts[:n]), v)
					c.Rules[i] = &other
				}
			}
		}
	}
}

// appendBody appends the rules of a chain as a text that is equal for equal rules; ok is false
// for rules that must not be shared, as they keep something between packets.
func appendBody(b []byte, c *nftgen.Chain) (text []byte, ok bool) {
	for _, r := range c.Rules {
		b = appendWord(append(b, '0'+byte(r.Family)), r.Comment)
		for _, s := range r.Stmts {
			if _, counts := s.(nftgen.Counter); counts || !nftgen.Copyable(s) {
				return b, false
			}
			b = appendStmt(append(b, ' '), s)
		}
		b = append(b, '\n')
	}
	return b, true
}

// listed names chains, the first few of many.
func listed(names []string) string {
	const most = 8
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

func joinLines(a, b string) string {
	if a == "" {
		return b
	}
	return a + "\n" + b
}

// unused leaves out chains that rules led to before, and do not now, and sets that only
// those looked into.
func (o *optimizer) unused() {
	for again := true; again; {
		uses := o.uses()
		before := len(o.table.Chains)
		o.table.Chains = slices.DeleteFunc(o.table.Chains, func(c *nftgen.Chain) bool {
			return c.Base == nil && uses[c.Name] == 0 && o.led[c.Name] > 0
		})
		again = len(o.table.Chains) < before
	}
	used := make(map[*nftgen.Set]bool)
	for _, c := range o.table.Chains {
		for _, r := range c.Rules {
			for _, s := range r.Stmts {
				used[nftgen.SetOf(s)] = true
			}
		}
	}
	o.table.Sets = slices.DeleteFunc(o.table.Sets, func(s *nftgen.Set) bool { return o.made[s] && !used[s] })
}

// masks compares networks by a mask where nft would load three bytes.
func (o *optimizer) masks() {
	for _, c := range o.table.Chains {
		for i, r := range c.Rules {
			for n, s := range r.Stmts {
				p, ok := s.(nftgen.InPrefix)
				if !ok || p.Bits != 24 || p.Field.Type.Bytes != 4 || !p.Field.Type.IsAddress() {
					continue
				}
				other := *r
				other.Stmts = slices.Clone(r.Stmts)
				op := nftgen.Eq
				if p.Not {
					op = nftgen.Ne
				}
				net := network(numberOf(p.Addr, p.Field.Type), p.Bits, p.Field.Type.Bytes)
				other.Stmts[n] = nftgen.Compare{Field: p.Field, Mask: maskOf(p.Bits, p.Field.Type), Op: op, Value: net.low.value(p.Field.Type)}
				if other.CheckIn(o.table.Family) == nil {
					r, c.Rules[i] = &other, &other
				}
			}
		}
	}
}
