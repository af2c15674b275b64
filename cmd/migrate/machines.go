package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/mdlayher/netlink"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/internal/scratch"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// A pair is both sides of a check: the machines, what they are called, and the
// batch that the second one was decoded from.
type pair struct {
	source, target equivalence.Machine
	names          [2]string
	batch          []netlink.Message
	labels         []string // of the batch, where our translation made it: "rules.v4:17"
	deviations     []string
	text           []byte // of our translation, when it was made
	inText         bool   // it says all that the batch holds
}

// machines makes the pair for an input: its rules against the .nft file that
// was given, or against our translation. The list has errors when there is no
// pair.
func machines(ctx context.Context, in *input, flags *translateFlags) (*pair, diag.List, error) {
	if in.diags.HasErrors() {
		return nil, in.diags, nil
	}
	p := &pair{}
	ours := *flags
	ours.lenient = ours.lenient || in.nft != nil
	t, list, err := ours.translate(in)
	switch {
	case err != nil:
		return nil, list, err
	case in.nft != nil:
		// What our translation cannot express may still be checked: the file
		// is compared with the source, not with the translation.
		list = in.diags
		if t != nil {
			p.text = t.text
			p.declare(t, func(code string) bool { return translate.Allows(flags.allow, code) })
		}
		batch, more, err := scratch.Compile(ctx, in.nft)
		list = append(list, more...)
		var missing *scratch.MissingError
		if errors.As(err, &missing) {
			return nil, list, &exit{exitMissing, err}
		}
		if err != nil || list.HasErrors() {
			return nil, list, err
		}
		p.batch, p.names = batch, [2]string{in.sources(), in.nft.Name}
	case t == nil:
		return nil, list, nil
	default:
		p, err := ourPair(in, t)
		return p, list, err
	}
	return p, list, p.open(in)
}

// ourPair makes the pair of an input and our translation of it.
func ourPair(in *input, t *translated) (*pair, error) {
	batch, err := nftgen.Encode(t.Ruleset)
	if err != nil {
		return nil, fmt.Errorf("encode the translation: %w", err)
	}
	p := &pair{names: [2]string{in.sources(), "its translation"}, batch: batch.Messages, text: t.text, inText: t.Ruleset.InText()}
	for _, origin := range batch.Origins {
		p.labels = append(p.labels, origin.FileLine())
	}
	p.declare(t, func(string) bool { return true }) // others would have been refused
	return p, p.open(in)
}

// declare takes over what a translation declares, as far as it is allowed. It
// holds for a file that is given instead, too: what nftables cannot express, that
// cannot either.
func (p *pair) declare(t *translated, allowed func(code string) bool) {
	for _, d := range t.Deviations {
		if allowed(d.Code) {
			p.deviations = append(p.deviations, d.Code)
		}
	}
}

// open makes the machines of the input and of the batch.
func (p *pair) open(in *input) error {
	target, err := nftsim.Decode(p.batch)
	if err != nil {
		return err
	}
	p.locate(target)
	p.target = target
	var sources []equivalence.Machine
	if in.v4 != nil {
		sources = append(sources, iptsim.NewWithSets(in.v4, in.sets))
	}
	if in.v6 != nil {
		sources = append(sources, iptsim.NewWithSets(in.v6, in.sets))
	}
	p.source = equivalence.Join(sources...)
	return nil
}

// locate makes traces say where a rule of the target is from: the source line of
// a rule that we made, the number within its chain of another.
func (p *pair) locate(m *nftsim.Machine) {
	for _, t := range m.Tables {
		for _, c := range t.Chains {
			for i, r := range c.Rules {
				place := fmt.Sprintf("rule %d", i+1)
				if r.Message < len(p.labels) && p.labels[r.Message] != "" {
					place = p.labels[r.Message]
				}
				if r.Comment != "" {
					place += " " + strconv.Quote(r.Comment)
				}
				r.Comment = place
			}
		}
	}
}

// compared reads the input of a command and makes both sides of it. What there
// is to say about the input is said; the error is the exit of an input that
// cannot be used.
func compared(ctx context.Context, s *streams, files *inputFlags, args []string, flags *translateFlags, asJSON bool, schema string) (*input, *pair, diag.List, error) {
	in, err := files.read(s, args)
	if err != nil {
		return nil, nil, nil, err
	}
	p, list, err := machines(ctx, in, flags)
	switch {
	case err != nil:
		return nil, nil, nil, err
	case p == nil:
		return nil, nil, nil, fail(s, asJSON, schema, list)
	}
	return in, p, list, tell(s, asJSON, list)
}
