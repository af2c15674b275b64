package extension

import (
	"fmt"
	"math"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerTarget("NFQUEUE", func() iptables.Target {
		return &nfqueueTarget{Num: iptables.Opt[iptables.U16]{Present: true}}
	})
}

var (
	_ iptsim.Doing         = (*nfqueueTarget)(nil)
	_ translate.Translator = (*nfqueueTarget)(nil)
	_ iptables.Validator   = (*nfqueueTarget)(nil)
	_ iptables.Printer     = (*nfqueueTarget)(nil)
)

// nfqueueTarget is "-j NFQUEUE": the packet goes to a program that listens to a
// queue, or to one of several, chosen by a hash of the addresses or by the
// processor. Where nobody listens it is dropped, or with "--queue-bypass" goes on
// as if accepted. Of "-j QUEUE" it is queue 0.
//
// Kernel: net/netfilter/xt_NFQUEUE.c.
type nfqueueTarget struct {
	Num     iptables.Opt[iptables.U16]
	Balance iptables.Opt[queueSpan]
	Bypass  iptables.Opt[iptables.Flag]
	Fanout  iptables.Opt[iptables.Flag]
}

func (*nfqueueTarget) Name() string { return "NFQUEUE" }

func (t *nfqueueTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("queue-num", &t.Num, 0),
		iptables.Bind("queue-balance", &t.Balance, 0),
		iptables.Bind("queue-bypass", &t.Bypass, 0),
		iptables.Bind("queue-cpu-fanout", &t.Fanout, 0),
	}
}

// PrintOptions leaves out the number where there are several.
func (t *nfqueueTarget) PrintOptions() []iptables.Printed {
	list := t.Options().Print()
	if t.Balance.Present {
		list = list[1:]
	}
	return list
}

func (t *nfqueueTarget) Validate(iptables.Context) []iptables.Problem {
	switch {
	case t.Balance.Present && !t.Num.Range.IsZero():
		return []iptables.Problem{{
			Summary: "--queue-num and --queue-balance exclude each other",
			Detail:  "Give --queue-num for one queue, or --queue-balance for several.",
			Range:   t.Num.Range,
		}}
	case t.Balance.Present && t.Balance.Value == queueSpan{0, math.MaxUint16}:
		return []iptables.Problem{{
			Summary: "too many queues",
			Detail:  "The kernel counts at most 65535 queues. Leave one of them out.",
			Range:   t.Balance.Range,
		}}
	case t.Fanout.Present && !t.Balance.Present:
		return []iptables.Problem{{
			Code:    "missing-option",
			Summary: "--queue-cpu-fanout needs --queue-balance",
			Detail:  "The processor chooses among several queues. Give --queue-balance, or leave --queue-cpu-fanout out.",
			Range:   t.Fanout.Range,
		}}
	}
	return nil
}

func (t *nfqueueTarget) Action(iptables.Context) predicate.Action {
	queue := predicate.Queue{First: uint16(t.Num.Value), Last: uint16(t.Num.Value), Bypass: t.Bypass.Present, Fanout: t.Fanout.Present}
	if t.Balance.Present {
		queue.First, queue.Last = t.Balance.Value.first, t.Balance.Value.last
	}
	return predicate.Action{Effects: []predicate.Effect{queue}, Then: predicate.Accept}
}

func (t *nfqueueTarget) Translate(r *translate.Rule) error {
	queue := nftgen.Queue{First: uint16(t.Num.Value), Last: uint16(t.Num.Value), Bypass: t.Bypass.Present, Fanout: t.Fanout.Present}
	if b := t.Balance; b.Present {
		queue.First, queue.Last = b.Value.first, b.Value.last
	}
	translate.Enqueue(r, queue)
	return nil
}

// A queueSpan is the argument of "--queue-balance": "first:last", of two queues or
// more. An end that is left out is 0 or 65535.
type queueSpan struct{ first, last uint16 }

// Set reads "first:last".
func (s *queueSpan) Set(arg string) error {
	var span iptables.U16Span
	if err := span.Set(arg); err != nil {
		return err
	}
	if !strings.Contains(arg, ":") {
		return fmt.Errorf("%q is one queue, expected first:last", arg)
	}
	if span.Low >= span.High {
		return fmt.Errorf("%q are not several queues, expected first:last with first less than last", arg)
	}
	s.first, s.last = span.Low, span.High
	return nil
}

// String writes both ends.
func (s *queueSpan) String() string { return fmt.Sprintf("%d:%d", s.first, s.last) }
