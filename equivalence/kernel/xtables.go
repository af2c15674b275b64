package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"nftmigrate/internal/netns"
	"nftmigrate/packet"
)

// legacyTools are the programs that load and print the tables of one family,
// and what they need of the kernel.
type legacyTools struct{ restore, save, feature string }

var (
	legacyIPv4 = legacyTools{"iptables-legacy-restore", "iptables-legacy-save", "CONFIG_IP_NF_FILTER"}
	legacyIPv6 = legacyTools{"ip6tables-legacy-restore", "ip6tables-legacy-save", "CONFIG_IP6_NF_FILTER"}
)

// NewXtables returns a machine whose legacy xtables tables hold the given
// output of iptables-save and ip6tables-save. Either may be nil. A ruleset that
// the tools refuse is a [*RulesetError], and what the host lacks a
// [*MissingError].
func NewXtables(host *packet.Host, v4Save, v6Save []byte, options Options) (*Machine, error) {
	return open(host, options, func(m *Machine) ([]uint16, error) {
		if err := MakeAccounts(m.ns, v4Save, v6Save); err != nil {
			return nil, err
		}
		var groups []uint16
		if err := LoadSets(m.ns, options.Sets); err != nil {
			return nil, err
		}
		for _, f := range []struct {
			tools legacyTools
			save  []byte
		}{{legacyIPv4, v4Save}, {legacyIPv6, v6Save}} {
			if f.save == nil {
				continue
			}
			m.sender.pinned = m.sender.pinned || bytes.Contains(f.save, []byte("-m cpu"))
			own, err := loadLegacy(m.ns, f.tools, f.save)
			if err != nil {
				return nil, err
			}
			groups = append(groups, own...)
		}
		return groups, nil
	})
}

// A RulesetError is the refusal of a ruleset by the tool or the kernel that
// loads it.
type RulesetError struct {
	Loader string // the tool, or "nf_tables"
	Err    error
}

// Error says who refused, and why.
func (e *RulesetError) Error() string {
	return fmt.Sprintf("load the ruleset by %s: %v", e.Loader, e.Err)
}

// Unwrap returns the refusal.
func (e *RulesetError) Unwrap() error { return e.Err }

// loadLegacy loads the tables of one family and returns the log groups that
// their rules log to. A ruleset that logs is loaded as it is first, so that the
// tool judges it and prints it in its own spelling, and then again with its
// logs diverted.
func loadLegacy(ns *netns.NS, tools legacyTools, save []byte) ([]uint16, error) {
	dir, err := os.MkdirTemp("", "xtables")
	if err != nil {
		return nil, fmt.Errorf("make a place for the lock of xtables: %w", err)
	}
	defer os.RemoveAll(dir)
	lock := "XTABLES_LOCKFILE=" + filepath.Join(dir, "lock")

	if _, err := runTool(ns, lock, tools.restore, save); err != nil {
		var refused *RulesetError
		if errors.As(err, &refused) {
			// What cannot even load nothing lacks its half in the kernel.
			if _, probe := runTool(ns, lock, tools.restore, []byte("*filter\nCOMMIT\n")); probe != nil {
				return nil, &MissingError{"kernel feature", tools.feature, probe}
			}
		}
		return nil, err
	}
	if !bytes.Contains(save, []byte("LOG")) {
		return nil, nil
	}
	printed, err := runTool(ns, lock, tools.save, nil)
	if err != nil {
		return nil, err
	}
	diverted, groups, err := divertSave(string(printed))
	if err != nil {
		return nil, &RulesetError{tools.restore, err}
	}
	if groups == nil {
		return nil, nil
	}
	if _, err := runTool(ns, lock, tools.restore, []byte(diverted)); err != nil {
		return nil, err
	}
	return groups, nil
}

// LoadSets makes the ipsets that rules name, of the output of "ipset save", in a
// namespace.
func LoadSets(ns *netns.NS, save []byte) error {
	if save == nil {
		return nil
	}
	_, err := runTool(ns, "LC_ALL=C", "ipset", save, "restore")
	var refused *RulesetError
	switch {
	case !errors.As(err, &refused):
		return err
	case strings.Contains(err.Error(), "set type not supported"):
		return &MissingError{"kernel feature", "a type of ipset", err}
	}
	if _, probe := runTool(ns, "LC_ALL=C", "ipset", []byte("create probe list:set\ndestroy probe\n"), "restore"); probe != nil {
		return &MissingError{"kernel feature", "CONFIG_IP_SET", probe}
	}
	return err
}

func runTool(ns *netns.NS, environment, name string, input []byte, args ...string) ([]byte, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, &MissingError{"tool", name, err}
	}
	cmd := ns.Command(path, args...)
	cmd.Env = append(os.Environ(), environment)
	cmd.Stdin = bytes.NewReader(input)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return nil, &RulesetError{name, fmt.Errorf("%w: %s", err, strings.TrimSpace(complaint.String()))}
	case err != nil:
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	return out.Bytes(), nil
}
