package extension

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerTarget("TCPOPTSTRIP", func() iptables.Target { return new(tcpoptstripTarget) })
}

var (
	_ iptsim.Doing         = (*tcpoptstripTarget)(nil)
	_ translate.Translator = (*tcpoptstripTarget)(nil)
	_ iptables.Validator   = (*tcpoptstripTarget)(nil)
)

// tcpoptstripTarget is "-j TCPOPTSTRIP": it overwrites TCP options of some kinds
// with no-operation options.
//
// Kernel: net/netfilter/xt_TCPOPTSTRIP.c.
type tcpoptstripTarget struct {
	Strip iptables.Opt[optionKinds]
}

func (*tcpoptstripTarget) Name() string { return "TCPOPTSTRIP" }

func (t *tcpoptstripTarget) Options() iptables.Options {
	return iptables.Options{iptables.Bind("strip-options", &t.Strip, 0)}
}

func (t *tcpoptstripTarget) Validate(c iptables.Context) []iptables.Problem {
	problems := placement(c, "TCPOPTSTRIP", "mangle", 0)
	if proto, ok := c.ProtocolNumber(); !ok || proto != 6 {
		problems = append(problems, iptables.Problem{
			Code:    "missing-protocol",
			Summary: "TCPOPTSTRIP works on TCP only",
			Detail:  "The kernel accepts it in rules with -p tcp.",
		})
	}
	return problems
}

func (t *tcpoptstripTarget) Action(iptables.Context) predicate.Action {
	strip := predicate.StripOptions{}
	for kind := range 256 {
		if t.Strip.Value[kind] {
			strip.Kinds = append(strip.Kinds, uint8(kind))
		}
	}
	return predicate.Action{Effects: []predicate.Effect{strip}, Then: predicate.Continue}
}

func (t *tcpoptstripTarget) Translate(r *translate.Rule) error {
	none := true
	for kind, strip := range t.Strip.Value {
		if strip {
			r.Add(nftgen.ResetOption{Kind: uint8(kind)})
			none = false
		}
	}
	if none {
		r.Add(nftgen.Counter{})
		return nil
	}
	r.Declare(translate.Deviation{
		Code: "tcpoptstrip-odd",
		Detail: "Of a segment with two options of one kind, xtables overwrites both and nftables the first. One whose option to overwrite " +
			"ends behind the header stays as it is in xtables and is dropped by nftables.",
	})
	return nil
}

// optionKinds is the argument of "--strip-options": kinds of TCP options.
type optionKinds [256]bool

// optionNames are names of kinds that the tool takes; it prints numbers.
var optionNames = map[string]uint8{"wscale": 3, "mss": 2, "sack-permitted": 4, "sack": 5, "timestamp": 8, "md5": 19}

// Set reads a list of names and numbers.
func (k *optionKinds) Set(arg string) error {
	var kinds optionKinds
	for _, word := range strings.Split(arg, ",") {
		kind, named := optionNames[word]
		if !named {
			n, err := iptables.ParseNumber(word, math.MaxUint8)
			if err != nil {
				return fmt.Errorf("the TCP option %w; or write a name: wscale, mss, sack-permitted, sack, timestamp, md5", err)
			}
			kind = uint8(n)
		}
		if kind < 2 {
			return fmt.Errorf("%d is not an option that can be overwritten: 0 and 1 fill up the header", kind)
		}
		if kinds[kind] {
			return fmt.Errorf("option %s is named twice", word)
		}
		kinds[kind] = true
	}
	*k = kinds
	return nil
}

// String writes the numbers.
func (k *optionKinds) String() string {
	var list []string
	for kind, strip := range k {
		if strip {
			list = append(list, strconv.Itoa(kind))
		}
	}
	return strings.Join(list, ",")
}
