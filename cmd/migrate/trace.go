package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nftmigrate/equivalence"
	"nftmigrate/packet"
	"nftmigrate/report"
)

const traceSchema = "nftmigrate/trace/1"

func traceCommand(s *streams) *cobra.Command {
	var (
		files  inputFlags
		flags  translateFlags
		out    string
		asJSON bool
	)
	flags.lenient = true // it is shown, not used
	words := make(map[string]packet.Word)
	c := &cobra.Command{
		Use:     "trace [FILE]... PACKET",
		Short:   "Follow one packet through both rulesets, rule by rule",
		Long:    "Trace takes one packet, given by options, through the iptables rules and through\nthe nftables rules, and shows each rule on its way. A packet that arrives is for\nthe host itself, unless --out names the device by which it is to leave.",
		Example: "  migrate trace rules.v4 --in eth0 --tcp 10.0.0.7:4000-192.0.2.1:22 --syn --ct new",
		RunE: func(c *cobra.Command, args []string) error {
			p, err := packetOf(c, words)
			if err != nil {
				return err
			}
			_, pair, list, err := compared(c.Context(), s, &files, args, &flags, asJSON, traceSchema)
			if err != nil {
				return err
			}
			a, b := equivalence.Trace(pair.source, pair.target, p, out)
			aspects := equivalence.Differ(a, b)
			if asJSON {
				doc := report.Document{Schema: traceSchema, Diagnostics: report.Diagnostics(list), Traces: []report.TraceJSON{
					{Side: pair.names[0], Fate: report.FateDocument(a)}, {Side: pair.names[1], Fate: report.FateDocument(b)},
				}}
				err = doc.Write(s.out)
			} else {
				fmt.Fprintf(s.out, "packet: %s\n", p)
				if err = report.Trace(s.out, pair.names[0], a); err == nil {
					err = report.Trace(s.out, pair.names[1], b)
				}
			}
			if err != nil {
				return err
			}
			switch {
			case a.Verdict == packet.Undecided || b.Verdict == packet.Undecided:
				return verdict(equivalence.Undecided)
			case len(aspects) > 0 && (flags.strict || !a.Hotdrop):
				return verdict(equivalence.Different)
			}
			return nil
		},
	}
	files.register(c, true)
	flags.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON document")
	c.Flags().StringVar(&out, "out", "", "forward the packet by this `DEVICE`")
	var ends []string // the words that give a packet its ends; one at most
	for _, w := range packet.Words() {
		name := w.Name[2:]
		words[name] = w
		if strings.Contains(w.Argument, "-B") || name == "hex" {
			ends = append(ends, name)
		}
		if w.Argument == "" {
			c.Flags().Bool(name, false, w.Help)
		} else {
			c.Flags().String(name, "", fmt.Sprintf("`%s`: %s", w.Argument, w.Help))
		}
	}
	c.MarkFlagsMutuallyExclusive(ends...)
	return c
}

// packetOf builds the packet that the flags describe.
func packetOf(c *cobra.Command, words map[string]packet.Word) (*packet.Packet, error) {
	var args []string
	c.Flags().Visit(func(f *pflag.Flag) {
		w, ok := words[f.Name]
		switch {
		case !ok:
		case w.Argument == "":
			args = append(args, w.Name)
		default:
			args = append(args, w.Name, f.Value.String())
		}
	})
	if len(args) == 0 {
		return nil, usage("no packet was given, for example: --in eth0 --tcp 10.0.0.7:4000-192.0.2.1:22 --syn --ct new")
	}
	p, err := packet.ParseWords(args)
	if err != nil {
		return nil, &exit{exitUsage, err}
	}
	return p, nil
}
