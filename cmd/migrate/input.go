package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/ipset"
	"nftmigrate/ipset/live"
	"nftmigrate/iptables"
	"nftmigrate/plan"
	"nftmigrate/script"
)

// maxInput bounds what is read of one file.
const maxInput = 512 << 20

// inputFlags are the flags by which every command takes its input.
type inputFlags struct {
	v4, v6, ipset, nft string
	liveSets           bool
	withNft            bool
	// namespace is the name of the network namespace whose sets are live, "" for
	// the one the process is in.
	namespace string
}

func (f *inputFlags) register(c *cobra.Command, withNft bool) {
	f.withNft = withNft
	c.Flags().StringVar(&f.v4, "v4", "", "iptables-save `FILE`; - is standard input")
	c.Flags().StringVar(&f.v6, "v6", "", "ip6tables-save `FILE`")
	c.Flags().StringVar(&f.ipset, "ipset", "", "`FILE` that ipset save wrote, of the sets that rules name")
	c.Flags().BoolVar(&f.liveSets, "ipset-live", false, "take the sets that rules name from the kernel, as they are now")
	if withNft {
		c.Flags().StringVar(&f.nft, "nft", "", ".nft `FILE` to compare with, instead of our translation")
	}
}

// An input is what a command was given.
type input struct {
	v4, v6 *iptables.Ruleset
	sets   *ipset.Sets // nil when no file gave any
	nft    *diag.Source
	diags  diag.List
}

// read reads the flagged files and the bare ones, which are told apart by their
// content.
func (f *inputFlags) read(s *streams, args []string) (*input, error) {
	makeRoom(sizeOf(append([]string{f.v4, f.v6, f.ipset}, args...)...))
	in := &input{}
	for _, file := range []struct {
		path   string
		family iptables.Family
	}{{f.v4, iptables.IPv4}, {f.v6, iptables.IPv6}} {
		if file.path == "" {
			continue
		}
		src, err := readSource(s, file.path)
		if err != nil {
			return nil, err
		}
		if err := in.add(src, file.family); err != nil {
			return nil, err
		}
	}
	if f.ipset != "" {
		src, err := readSource(s, f.ipset)
		if err != nil {
			return nil, err
		}
		if err := in.addSets(src); err != nil {
			return nil, err
		}
	}
	if f.liveSets {
		if f.ipset != "" {
			return nil, usage("--ipset and --ipset-live both give sets; give one of them")
		}
		src, err := f.readLiveSets()
		if err != nil {
			return nil, err
		}
		if err := in.addSets(src); err != nil {
			return nil, err
		}
	}
	if f.nft != "" {
		src, err := readSource(s, f.nft)
		if err != nil {
			return nil, err
		}
		in.nft = src
	}
	for _, path := range args {
		src, err := readSource(s, path)
		if err != nil {
			return nil, err
		}
		if ipset.LooksLike(src.Text) {
			if err := in.addSets(src); err != nil {
				return nil, err
			}
			continue
		}
		if looksLikeNft(src.Text) {
			if !f.withNft || in.nft != nil {
				return nil, usage("%s is an .nft file, and this command takes %s of them", path, map[bool]string{true: "one", false: "none"}[f.withNft])
			}
			in.nft = src
			continue
		}
		if err := in.add(src, 0); err != nil {
			return nil, err
		}
	}
	if in.v4 == nil && in.v6 == nil {
		return nil, usage("no iptables rules were given: name a file that iptables-save wrote (iptables-save > rules.v4), or - for standard input")
	}
	return in, nil
}

// add reads a save file or a script. family 0 is recognised by content.
func (in *input) add(src *diag.Source, family iptables.Family) error {
	if script.Recognise(src.Text) {
		return in.addScript(src, family)
	}
	rs, list := iptables.Parse(src, family, extension.Registry)
	in.diags = append(in.diags, list...)
	if len(rs.Tables) == 0 && !list.HasErrors() {
		return usage("%s holds no table; iptables-save prints none where iptables was never used (iptables-legacy-save and iptables-nft-save show which one was)", src.Name)
	}
	return in.take(rs)
}

// addScript runs a script in our model. A script may make rules of both
// families; with family not 0 it must make only those.
func (in *input) addScript(src *diag.Source, family iptables.Family) error {
	made, list := script.Run(src, extension.Registry)
	in.diags = append(in.diags, list...)
	if made.V4 == nil && made.V6 == nil && !list.HasErrors() {
		return usage("%s is a script that calls neither iptables nor ip6tables", src.Name)
	}
	for _, rs := range []*iptables.Ruleset{made.V4, made.V6} {
		if rs == nil {
			continue
		}
		if family != 0 && rs.Family != family {
			return usage("%s is a script with commands of %s, too; name it without --v4 and --v6", src.Name, rs.Family)
		}
		if err := in.take(rs); err != nil {
			return err
		}
	}
	if made.Sets != nil {
		if in.sets != nil {
			return usage("%s and %s both make sets of ipset; give one of them", in.sets.Source.Name, src.Name)
		}
		in.sets = made.Sets
	}
	if in.v4 == nil && in.v6 == nil {
		in.v4 = &iptables.Ruleset{Family: iptables.IPv4, Source: src} // the list says what is wrong
	}
	return nil
}

// take puts rules to their family.
func (in *input) take(rs *iptables.Ruleset) error {
	slot, other := &in.v4, "--v4"
	if rs.Family == iptables.IPv6 {
		slot, other = &in.v6, "--v6"
	}
	if *slot != nil {
		return usage("%s and %s are both %s rules; name the families by --v4 and --v6, and %s once", (*slot).Source.Name, rs.Source.Name, rs.Family, other)
	}
	*slot = rs
	return nil
}

// addSets parses the sets of a host.
func (in *input) addSets(src *diag.Source) error {
	if in.sets != nil {
		return usage("%s and %s are both sets of ipset; give one file", in.sets.Source.Name, src.Name)
	}
	sets, list := ipset.Parse(src)
	in.sets = sets
	in.diags = append(in.diags, list...)
	return nil
}

// readLiveSets reads the sets of the kernel as a text.
func (f *inputFlags) readLiveSets() (*diag.Source, error) {
	ns, err := openNamespace(f.namespace)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	var text []byte
	err = ns.Do(func() (err error) {
		text, err = live.Save()
		return err
	})
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, &exit{exitMissing, fmt.Errorf("%w; run it as root, or give a file that root wrote: ipset save > sets.ipset", err)}
	case err != nil:
		return nil, &exit{exitMissing, err}
	}
	return diag.NewSource("<ipset>", text), nil
}

// setsText is the text of the sets, nil without.
func (in *input) setsText() ([]byte, error) {
	if in.sets == nil {
		return nil, nil
	}
	if ipset.LooksLike(in.sets.Source.Text) {
		return in.sets.Source.Text, nil
	}
	var text bytes.Buffer // a script made them
	err := ipset.Print(&text, in.sets)
	return text.Bytes(), err
}

// sources names the files, for reports.
func (in *input) sources() string {
	switch {
	case in.v6 == nil:
		return in.v4.Source.Name
	case in.v4 == nil:
		return in.v6.Source.Name
	case in.v4.Source == in.v6.Source:
		return in.v4.Source.Name
	}
	return in.v4.Source.Name + " with " + in.v6.Source.Name
}

// versions lists the IP versions of the input.
func (in *input) versions() []int {
	var v []int
	if in.v4 != nil {
		v = append(v, 4)
	}
	if in.v6 != nil {
		v = append(v, 6)
	}
	return v
}

func usage(format string, args ...any) error {
	return &exit{exitUsage, fmt.Errorf(format, args...)}
}

func readSource(s *streams, path string) (*diag.Source, error) {
	name, reader, size := path, s.in, int64(0)
	if path == "-" {
		name = "<stdin>"
	} else {
		f, err := os.Open(path)
		if err != nil {
			return nil, usage("read the input: %v", err)
		}
		defer f.Close()
		reader = f
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = min(info.Size(), maxInput)
		}
	}
	var b bytes.Buffer
	b.Grow(int(size) + bytes.MinRead) // so that it is not moved each time it grows
	if _, err := b.ReadFrom(io.LimitReader(reader, maxInput+1)); err != nil {
		return nil, usage("read %s: %v", name, err)
	}
	text := b.Bytes()
	if len(text) > maxInput {
		return nil, usage("read %s: it is larger than %d bytes", name, maxInput)
	}
	return diag.NewSource(name, text), nil
}

// nftWords begin the statements of an .nft file.
var nftWords = [][]byte{
	[]byte("table"), []byte("add"), []byte("delete"), []byte("destroy"), []byte("flush"), []byte("define"), []byte("include"), []byte("create"),
}

// looksLikeNft reports whether a text is in the language of nft: its first
// statement begins with one of nft's words, where iptables-save has "*table".
func looksLikeNft(text []byte) bool {
	if first, _, _ := bytes.Cut(text, []byte{'\n'}); bytes.HasPrefix(first, []byte("#!")) && bytes.Contains(first, []byte("nft")) {
		return true
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		for _, w := range nftWords {
			if rest, ok := bytes.CutPrefix(line, w); ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t') {
				return true
			}
		}
		return false
	}
	return false
}

// writeFile writes a result so that the file is whole or absent: a temporary
// file of mode 0600 beside it, synced, then renamed. "" and "-" are standard
// output. What is no file, as a pipe or a device, is written to as it is.
func writeFile(s *streams, path string, data []byte) (err error) {
	if path == "" || path == "-" {
		_, err := s.out.Write(data)
		return err
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.Write(data)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return usage("write the result: %v", err)
		}
		return nil
	}
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return usage("write the result: %v", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return usage("write the result: %v", err)
	}
	return nil
}

// affordable is how many packets of a proof can be run through both models in
// about a second: each goes by all rules.
func (in *input) affordable() int {
	rules := 1
	for _, rs := range []*iptables.Ruleset{in.v4, in.v6} {
		if rs == nil {
			continue
		}
		for _, t := range rs.Tables {
			for _, c := range t.Chains {
				rules += len(c.Rules)
			}
		}
	}
	const steps, least, most = 2_000_000, 200, 4_000
	return min(max(steps/rules, least), most)
}

// asPlanned is the input as the files of a plan, which lines are told of from then on: a
// script as the rules that it ends up with.
func (in *input) asPlanned() (*input, error) {
	out := &input{diags: in.diags}
	for _, f := range []struct {
		name   string
		rules  *iptables.Ruleset
		family iptables.Family
	}{{plan.RulesV4, in.v4, iptables.IPv4}, {plan.RulesV6, in.v6, iptables.IPv6}} {
		text, err := textOf(f.rules)
		if err != nil {
			return nil, err
		}
		if text != nil {
			if err := out.add(diag.NewSource(f.name, text), f.family); err != nil {
				return nil, err
			}
		}
	}
	sets, err := in.setsText()
	if err == nil && sets != nil {
		err = out.addSets(diag.NewSource(plan.Sets, sets))
	}
	out.diags = in.diags // those of the rules again say nothing new
	return out, err
}
