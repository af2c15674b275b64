package extension

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("policy", func() iptables.Match { return new(policyMatch) }) }

var (
	_ iptsim.Meaning       = (*policyMatch)(nil)
	_ translate.Translator = (*policyMatch)(nil)
	_ iptables.Validator   = (*policyMatch)(nil)
	_ iptables.Printer     = (*policyMatch)(nil)
)

// policyMatch is "-m policy": IPsec protected the packet on its way in, or will on
// its way out, or not; and how. Without Strict one transform has to be as the
// element says, with it each as the element at its place, from the outermost.
//
// Kernel: net/netfilter/xt_policy.c.
type policyMatch struct {
	Dir      iptables.Opt[policyDir]
	Policy   iptables.Opt[policyKind]
	Strict   iptables.Opt[iptables.Flag]
	elements []policyElement
}

// A policyElement says what a transform is like.
type policyElement struct {
	reqid, spi, proto, mode policyNumber
	src, dst                policyAddress
}

type policyNumber struct {
	n              uint32
	given, negated bool
}

type policyAddress struct {
	iptables.Address
	given, negated bool
	bare           bool // without a mask
}

// text is the address as the tool prints it, without the length of a whole one.
func (a policyAddress) text() string {
	s := a.Address.String()
	if !a.given {
		return s
	}
	return strings.TrimSuffix(s, fmt.Sprintf("/%d", a.Addr.BitLen()))
}

// The modes of IPsec.
//
// Kernel: include/uapi/linux/xfrm.h.
const (
	policyTransport = 0
	policyTunnel    = 1
)

func (e policyElement) empty() bool { return e == policyElement{} }

func (*policyMatch) Name() string { return "policy" }

func (m *policyMatch) last() *policyElement {
	if len(m.elements) == 0 {
		m.elements = append(m.elements, policyElement{})
	}
	return &m.elements[len(m.elements)-1]
}

func (m *policyMatch) Options() iptables.Options {
	element := func(name string, set func(e *policyElement, arg string, negated bool) error) iptables.Option {
		return iptables.Rewrite(name, 1, iptables.Invertible, func(args []string, negated bool) ([]iptables.Replacement, error) {
			return nil, set(m.last(), args[0], negated)
		})
	}
	number := func(field func(*policyElement) *policyNumber, read func(string) (uint64, error)) func(*policyElement, string, bool) error {
		return func(e *policyElement, arg string, negated bool) error {
			n, err := read(arg)
			if err != nil {
				return err
			}
			*field(e) = policyNumber{uint32(n), true, negated}
			return nil
		}
	}
	wide := func(arg string) (uint64, error) { return iptables.ParseNumber(arg, 1<<32-1) }
	address := func(field func(*policyElement) *policyAddress) func(*policyElement, string, bool) error {
		return func(e *policyElement, arg string, negated bool) error {
			var a iptables.Address
			if err := a.Set(arg); err != nil {
				return err
			}
			// The tool keeps what the mask leaves out.
			host, _, masked := strings.Cut(arg, "/")
			if whole, err := netip.ParseAddr(host); err == nil {
				a.Addr = whole
			}
			*field(e) = policyAddress{a, true, negated, !masked}
			return nil
		}
	}
	return iptables.Options{
		iptables.Bind("dir", &m.Dir, iptables.Required),
		iptables.Bind("pol", &m.Policy, iptables.Required),
		iptables.Bind("strict", &m.Strict, 0),
		element("reqid", number(func(e *policyElement) *policyNumber { return &e.reqid }, wide)),
		element("spi", number(func(e *policyElement) *policyNumber { return &e.spi }, wide)),
		element("proto", number(func(e *policyElement) *policyNumber { return &e.proto }, func(arg string) (uint64, error) {
			var p iptables.Protocol
			err := p.Set(arg)
			return uint64(p), err
		})),
		element("mode", number(func(e *policyElement) *policyNumber { return &e.mode }, func(arg string) (uint64, error) {
			switch arg {
			case "transport":
				return policyTransport, nil
			case "tunnel":
				return policyTunnel, nil
			}
			return 0, fmt.Errorf("%q is no mode, expected transport or tunnel", arg)
		})),
		element("tunnel-src", address(func(e *policyElement) *policyAddress { return &e.src })),
		element("tunnel-dst", address(func(e *policyElement) *policyAddress { return &e.dst })),
		iptables.Rewrite("next", 0, 0, func([]string, bool) ([]iptables.Replacement, error) {
			m.last()
			m.elements = append(m.elements, policyElement{})
			return nil, nil
		}),
	}
}

// PrintOptions prints the elements in order.
func (m *policyMatch) PrintOptions() []iptables.Printed {
	dir, kind := m.Dir.Value, m.Policy.Value
	list := []iptables.Printed{{Name: "dir", Args: []string{string(dir)}}, {Name: "pol", Args: []string{string(kind)}}}
	if m.Strict.Present {
		list = append(list, iptables.Printed{Name: "strict"})
	}
	for i, e := range m.elements {
		if i > 0 {
			list = append(list, iptables.Printed{Name: "next"})
		}
		add := func(given, negated bool, name, arg string) {
			if given {
				list = append(list, iptables.Printed{Name: name, Negated: negated, Args: []string{arg}})
			}
		}
		proto := iptables.Protocol(e.proto.n)
		mode := "transport"
		if e.mode.n == policyTunnel {
			mode = "tunnel"
		}
		add(e.reqid.given, e.reqid.negated, "reqid", fmt.Sprint(e.reqid.n))
		add(e.spi.given, e.spi.negated, "spi", fmt.Sprintf("%#x", e.spi.n))
		add(e.proto.given, e.proto.negated, "proto", proto.String())
		add(e.mode.given, e.mode.negated, "mode", mode)
		add(e.dst.given, e.dst.negated, "tunnel-dst", e.dst.text())
		add(e.src.given, e.src.negated, "tunnel-src", e.src.text())
	}
	return list
}

func (m *policyMatch) Validate(c iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	add := func(code, summary, detail string) {
		problems = append(problems, iptables.Problem{Code: code, Summary: summary, Detail: detail})
	}
	hooks := iptables.Prerouting | iptables.Input | iptables.Forward
	if m.Dir.Value == "out" {
		hooks = iptables.Forward | iptables.Output | iptables.Postrouting
	}
	if outside := c.Hooks &^ hooks; m.Dir.Present && outside != 0 {
		add("invalid-hook", "match policy is not valid in this chain",
			fmt.Sprintf("The kernel takes --dir %s in %s; chain %s is also reached from %s.", m.Dir.Value, hookList(c.Table, hooks), c.Chain, hookList(c.Table, outside)))
	}
	const most = 4 // XT_POLICY_MAX_ELEM
	switch {
	case m.Policy.Value == "none" && (m.Strict.Present || m.elements != nil):
		add("", "--pol none takes no elements", "A packet that is not protected has none. Remove --strict and what describes IPsec.")
	case !m.Strict.Present && len(m.elements) > 1:
		add("", "several elements need --strict", "Without --strict one element is looked for. Add --strict, or remove --next.")
	case len(m.elements) > most:
		add("", "too many elements", fmt.Sprintf("The kernel takes %d.", most))
	case m.Strict.Present && m.elements == nil:
		add("", "--strict needs an element", "Say what the packet's IPsec is like, with --reqid or another option.")
	}
	for _, e := range m.elements {
		if m.Strict.Present && e.empty() {
			add("", "an element is empty", "With --strict each element says something; give --reqid or another option between --next.")
		}
		for _, a := range []policyAddress{e.src, e.dst} {
			if !a.given {
				continue
			}
			if !e.mode.given || (e.mode.n == policyTunnel) == e.mode.negated {
				add("", "tunnel addresses need --mode tunnel", "Only tunnels have addresses of their own. Add --mode tunnel.")
			}
			if v4 := a.Addr.Is4(); v4 != (c.Family == iptables.IPv4) {
				add("", "a tunnel address is of another family", "Write an address of the rule's family.")
			}
		}
	}
	return problems
}

// Meaning asks for the transforms. On the way in, the first element is about the
// last that the kernel lists.
func (m *policyMatch) Meaning(iptables.Context) predicate.Meaning {
	way := uint32(0)
	if m.Dir.Value == "out" {
		way = 1
	}
	var p predicate.Predicate = predicate.Present{Field: predicate.Field{ID: predicate.Protected, Arg: way}}
	if m.Policy.Value == "none" {
		p = predicate.Not{P: p}
	} else if slices.ContainsFunc(m.elements, policyElement.beyond) {
		p = predicate.Stateful{Instance: predicate.Outside{
			Words: m.words(), Needs: []predicate.Field{{ID: predicate.Protected, Arg: way}},
		}}
	} else if m.elements != nil {
		p = m.transforms(way == 1)
	}
	return predicate.Meaning{Match: p}
}

// transforms asks whether the transforms are as the elements say.
func (m *policyMatch) transforms(out bool) predicate.Predicate {
	is := func(e policyElement, n int) predicate.Predicate {
		request := predicate.Field{ID: predicate.TransformRequest, Arg: predicate.Transform(out, n)}
		all := predicate.All{predicate.Present{Field: request}}
		if e.reqid.given {
			all = append(all, negatedIf(e.reqid.negated, predicate.Equal(request, predicate.Number(uint64(e.reqid.n)))))
		}
		return all
	}
	if !m.Strict.Present {
		const deepest = 6 // XFRM_MAX_DEPTH
		var some predicate.Any
		for n := range deepest {
			some = append(some, is(m.elements[0], n))
		}
		return some
	}
	number := predicate.Field{ID: predicate.Transforms, Arg: predicate.Transform(out, 0)}
	each := predicate.All{predicate.Equal(number, predicate.Number(uint64(len(m.elements))))}
	for i, e := range m.elements {
		n := i
		if !out {
			n = len(m.elements) - 1 - i
		}
		each = append(each, is(e, n))
	}
	return each
}

// mostTransforms is how many transforms a packet can have.
//
// Kernel: include/net/xfrm.h, XFRM_MAX_DEPTH.
const mostTransforms = 6

// Translate asks whether there is a transform, and for the request and the index of
// each. On the way in, the kernel keeps the innermost first.
//
// Kernel: net/netfilter/nft_xfrm.c.
func (m *policyMatch) Translate(r *translate.Rule) error {
	out := m.Dir.Value == "out"
	protected := nftgen.MetaIPsec
	if out {
		protected = nftgen.RouteIPsec
	}
	for _, e := range m.elements {
		for _, o := range []struct {
			name  string
			given bool
		}{{"proto", e.proto.given}, {"mode", e.mode.given}, {"tunnel-src", e.src.given}, {"tunnel-dst", e.dst.given}} {
			if o.given {
				return &translate.Untranslatable{
					Summary: "policy --" + o.name + " has no nftables counterpart",
					Detail: "nftables knows request and SPI of a transform, but neither its protocol nor its mode, and so not whether it has tunnel addresses. " +
						"Tell the connections apart by --reqid, which a policy of IPsec gives, or remove the option.",
				}
			}
		}
		if e.spi.given {
			return &translate.Untranslatable{
				Summary: "policy --spi means another number on each machine",
				Detail: "iptables hands the number to the kernel in the byte order of the host, and the kernel compares it in that of the network: on x86 --spi 0x10 " +
					"looks for 0x10000000. Write ipsec in spi, or out, with the number that is meant, or tell the connections apart by --reqid.",
			}
		}
	}
	if m.Policy.Value == "none" || m.elements == nil {
		r.Add(nftgen.Exists{Field: protected, Missing: m.Policy.Value == "none"})
		return nil
	}
	tests := func(e policyElement, n int) []nftgen.Stmt {
		there := nftgen.Compare{Field: nftgen.IPsecRequest(out, uint8(n)), Op: nftgen.Ge, Value: wide32(0)}
		var list []nftgen.Stmt
		if e.reqid.given {
			list = append(list, nftgen.Compare{Field: nftgen.IPsecRequest(out, uint8(n)), Op: comparison(e.reqid.negated), Value: wide32(e.reqid.n)})
		}
		if list == nil {
			list = []nftgen.Stmt{there}
		}
		return list
	}
	if !m.Strict.Present {
		b := translate.Branch{Otherwise: translate.Fail}
		for n := range mostTransforms {
			b.Rows = append(b.Rows, translate.Row{Stmts: tests(m.elements[0], n), Then: translate.Match})
		}
		r.Branch(b)
		return nil
	}
	for i, e := range m.elements {
		n := i
		if !out {
			n = len(m.elements) - 1 - i
		}
		r.Add(tests(e, n)...)
	}
	if more := len(m.elements); more < mostTransforms {
		r.Branch(translate.Branch{
			Rows:      []translate.Row{{Stmts: []nftgen.Stmt{nftgen.Compare{Field: nftgen.IPsecRequest(out, uint8(more)), Op: nftgen.Ge, Value: wide32(0)}}, Then: translate.Fail}},
			Otherwise: translate.Match,
		})
	}
	return nil
}

// A policyDir is "in" or "out", a policyKind "ipsec" or "none".
type (
	policyDir  string
	policyKind string
)

// Set reads one of the two.
func (d *policyDir) Set(arg string) error { return oneWord((*string)(d), arg, "in", "out") }

// String writes it.
func (d *policyDir) String() string { return string(*d) }

// Set reads one of the two.
func (k *policyKind) Set(arg string) error { return oneWord((*string)(k), arg, "ipsec", "none") }

// String writes it.
func (k *policyKind) String() string { return string(*k) }

// oneWord reads one of some words.
func oneWord(to *string, arg string, words ...string) error {
	for _, w := range words {
		if arg == w {
			*to = w
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", arg, strings.Join(words, ", "))
}
