package script

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"nftmigrate/diag"
	"nftmigrate/iptables"
)

// argumentsMax is how many arguments a command may have.
const argumentsMax = 10_000

// A tool is a program whose commands are followed.
type tool uint8

const (
	commandTool tool = iota + 1 // iptables
	restoreTool                 // iptables-restore
	saveTool                    // iptables-save
	setTool                     // ipset
)

var tools = func() map[string]tool {
	m := map[string]tool{"ipset": setTool}
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, plane := range []string{"", "-legacy", "-nft"} {
			m[family+plane] = commandTool
			m[family+plane+"-restore"] = restoreTool
			m[family+plane+"-save"] = saveTool
		}
	}
	return m
}()

func familyOf(name string) iptables.Family {
	if strings.HasPrefix(name, "ip6") {
		return iptables.IPv6
	}
	return iptables.IPv4
}

// An effect is what a program that is not followed does to the firewall.
type effect uint8

const (
	unknownEffect effect = iota
	noEffect             // none, and it succeeds
	asks                 // none; its status depends on what it finds
	besides              // sets something else up, which packets may feel
	otherFirewall        // may change the firewall
)

// effects lists programs by their effect.
var effects = func() map[string]effect {
	m := make(map[string]effect)
	for e, names := range map[effect]string{
		noEffect: "echo printf true : sleep logger date touch mkdir chmod chown cat sort head tail wc awk sed cut tr tee column uniq " +
			"pwd clear hostname whoami id umask sync lsmod cd rm cp mv ln ulimit",
		asks: "grep egrep fgrep ls test [ which type command pgrep cmp diff",
		besides: "modprobe insmod rmmod depmod sysctl ip ifconfig route tc brctl bridge ethtool vconfig wg wg-quick dhclient conntrack " +
			"kill killall pkill mount udevadm ntpdate",
		otherFirewall: "nft ebtables arptables ufw firewall-cmd iptables-apply ip6tables-apply fail2ban-client shorewall docker podman eval . source " +
			"sh bash dash ash ksh zsh su chroot nsenter unshare xargs env trap alias read shift getopts return break continue wait ferm fwbuilder",
	} {
		for name := range strings.FieldsSeq(names) {
			m[name] = e
		}
	}
	return m
}()

// serviceTools start and stop programs, some of which make the firewall.
var serviceTools = map[string]bool{"service": true, "systemctl": true, "invoke-rc.d": true, "rc-service": true, "netfilter-persistent": true, "chkconfig": true, "update-rc.d": true}

// call follows a simple command.
func (s *shell) call(c *syntax.CallExpr, r redirections) status {
	if len(c.Args) == 0 {
		return s.assign(c.Assigns)
	}
	var words []field
	ok := true
	for _, w := range c.Args {
		list, known := s.fields(w)
		words, ok = append(words, list...), ok && known
		if len(words) > argumentsMax {
			s.report(diag.Diagnostic{Class: diag.Unsupported, Code: "too-many-arguments", Summary: "the command has too many arguments",
				Detail: fmt.Sprintf("With what its variables stand for it has more than %d. Use a file of iptables-save.", argumentsMax), Subject: s.of(c)})
			return s.lose(nil)
		}
	}
	for _, a := range c.Assigns {
		if _, known := s.text(a.Value); !known {
			ok = false
		}
	}
	if !ok {
		return s.lose(nil)
	}
	words = unwrap(words)
	if len(words) == 0 {
		return succeeded
	}
	return s.ended(c, s.program(c, words, r))
}

// unwrap takes away what only says as whom a command is run.
func unwrap(words []field) []field {
	for len(words) > 1 {
		switch path.Base(words[0].text) {
		case "sudo":
			words = words[1:]
			for len(words) > 1 && slices.Contains([]string{"-n", "-E", "-H", "--"}, words[0].text) {
				words = words[1:]
			}
		case "command", "busybox", "nice", "xtables-multi", "xtables-legacy-multi", "xtables-nft-multi":
			if strings.HasPrefix(words[1].text, "-") {
				return words
			}
			words = words[1:]
		default:
			return words
		}
	}
	return words
}

// program follows a command whose words are known.
func (s *shell) program(c *syntax.CallExpr, words []field, r redirections) status {
	name := path.Base(words[0].text)
	switch tools[name] {
	case commandTool:
		return s.iptables(c, name, words[1:])
	case restoreTool:
		return s.restore(c, name, words[1:], r)
	case saveTool:
		return succeeded
	case setTool:
		return s.ipset(c, words[1:], r)
	}
	if builtin := builtins[name]; builtin != nil && words[0].text == name {
		return builtin(s, c, words[1:])
	}
	return s.other(c, name, words, r)
}

// iptables carries out a command of iptables or ip6tables.
func (s *shell) iptables(c *syntax.CallExpr, name string, words []field) status {
	args := make([]iptables.Argument, len(words))
	for i, w := range words {
		args[i] = iptables.Argument{Text: w.text, Range: s.at(w.start, w.end)}
		if w.pattern {
			s.report(diag.Diagnostic{Severity: diag.Warning, Code: "shell-pattern", Summary: "the shell may put names of files here",
				Detail: "Outside of quotes, the shell replaces a word with *, ? or [ by the names of files that it fits. It is taken as it is written, as if there were none. Quote it.", Subject: args[i].Range})
		}
	}
	if set, missing := s.setMissing(words); missing && !s.lost {
		s.report(diag.Diagnostic{Code: "ipset-unknown-set", Summary: fmt.Sprintf("there is no set %q", clip(set.text)),
			Detail: "The kernel refuses a rule about a set that no command above has made. Create it first.", Subject: s.at(set.start, set.end)})
		return failed
	}
	o := s.session(familyOf(name)).Run(s.of(c), args)
	s.tell(o)
	if o.Failed {
		return failed
	}
	return succeeded
}

// other says what a program that is not followed means for the result.
func (s *shell) other(c *syntax.CallExpr, name string, words []field, r redirections) status {
	what := effects[name]
	switch {
	case s.functions[name]:
		return s.lose(nil) // its declaration is reported
	case serviceTools[name], strings.HasPrefix(words[0].text, "/etc/init.d/"), strings.HasPrefix(words[0].text, "/etc/rc.d/init.d/"):
		what = service(words)
	case name == "ip" && len(words) > 2 && strings.HasPrefix("netns", words[1].text):
		what = otherFirewall
	case what == noEffect && (strings.HasPrefix(r.output, "/proc/sys/") || strings.HasPrefix(r.output, "/sys/")):
		what = besides
	case name == "tee" && len(words) > 1 && strings.HasPrefix(words[len(words)-1].text, "/proc/sys/"):
		what, r.output = besides, words[len(words)-1].text
	}
	switch what {
	case noEffect:
		return succeeded
	case asks:
		return unknown
	case besides:
		summary := fmt.Sprintf("what %s does is no part of the rules", clip(name))
		if effects[name] == noEffect {
			summary = fmt.Sprintf("what is written to %s is no part of the rules", clip(r.output))
		}
		s.report(diag.Diagnostic{Severity: diag.Warning, Code: "not-firewall", Summary: summary,
			Detail: "It is left out of the translation, and taken for successful. See that it is still done where the host starts.", Subject: s.of(c)})
		return succeeded
	case otherFirewall:
		s.report(diag.Diagnostic{Class: diag.Unsupported, Code: "unknown-command", Summary: fmt.Sprintf("what %s does is not followed", clip(name)),
			Detail: "It may change the firewall. Remove the line, if it does not. Otherwise:\n" + s.remedy(), Subject: s.of(c)})
	default:
		s.report(diag.Diagnostic{Class: diag.Unsupported, Code: "unknown-command", Summary: fmt.Sprintf("what %s does is not known", clip(name)),
			Detail: "Remove the line, if it does not change the firewall." + nearestTool(name) + " Otherwise:\n" + s.remedy(), Subject: s.of(c)})
	}
	return s.lose(c)
}

func nearestTool(name string) string {
	if near := diag.Nearest(name, []string{"iptables", "ip6tables", "iptables-restore", "ip6tables-restore", "ipset"}); near != "" {
		return fmt.Sprintf(" Did you mean %s?", near)
	}
	return ""
}

// service says what it means for the firewall that a service is started or
// stopped.
func service(words []field) effect {
	line := ""
	for _, w := range words {
		line += " " + w.text
	}
	if strings.Contains(line, " save") || strings.Contains(line, " status") || strings.Contains(line, " enable") {
		return besides
	}
	for _, name := range []string{"tables", "netfilter", "firewall", "ufw", "nft", "docker", "fail2ban", "shorewall", "libvirt"} {
		if strings.Contains(line, name) {
			return otherFirewall
		}
	}
	return besides
}

// assign carries out assignments.
func (s *shell) assign(list []*syntax.Assign) status {
	for _, a := range list {
		if a.Name == nil {
			continue
		}
		name := a.Name.Value
		if a.Array != nil || a.Index != nil {
			s.construct(a, "a list", "")
			continue
		}
		if name == "IFS" {
			s.construct(a, "another separator of words", "")
			continue
		}
		if name == "PATH" {
			continue // the tools are known by their names
		}
		text, ok := s.text(a.Value)
		if !ok {
			s.vars[name] = variable{unknown: true}
			s.lost = true
			continue
		}
		if a.Append {
			text = s.vars[name].value + text
		}
		if len(text) > valueMax {
			s.construct(a, "a value of this length", "")
			continue
		}
		s.vars[name] = variable{value: text}
	}
	return succeeded
}

// declare carries out export, readonly and the like.
func (s *shell) declare(c *syntax.DeclClause) status {
	for _, a := range c.Args {
		if a.Naked && a.Name == nil {
			if option, ok := s.text(a.Value); !ok || strings.Trim(option, "-rxg") != "" {
				return s.construct(c, "this declaration", "")
			}
		}
	}
	var list []*syntax.Assign
	for _, a := range c.Args {
		if !a.Naked {
			list = append(list, a)
		}
	}
	return s.assign(list)
}

// builtins are the commands of the shell itself that are followed.
var builtins map[string]func(s *shell, c *syntax.CallExpr, words []field) status

func init() {
	builtins = map[string]func(s *shell, c *syntax.CallExpr, words []field) status{
		"set":   (*shell).set,
		"exit":  (*shell).exit,
		"unset": (*shell).unset,
		"exec": func(s *shell, c *syntax.CallExpr, words []field) status {
			if len(words) == 0 {
				return succeeded // only redirections
			}
			return s.construct(c, "exec", "Write the command without exec.")
		},
		"false": func(*shell, *syntax.CallExpr, []field) status { return failed },
	}
}

func (s *shell) exit(*syntax.CallExpr, []field) status {
	s.stopped = true
	return unknown
}

func (s *shell) unset(_ *syntax.CallExpr, words []field) status {
	for _, w := range words {
		delete(s.vars, w.text)
	}
	return succeeded
}

// setOptions are the long names of options of set.
var setOptions = map[string]bool{"errexit": true, "nounset": true, "xtrace": true, "verbose": true, "pipefail": true, "noglob": true}

// set carries out "set -e" and the like.
func (s *shell) set(c *syntax.CallExpr, words []field) status {
	for i := 0; i < len(words); i++ {
		option := words[i].text
		if len(option) < 2 || strings.Trim(option[1:], "euxvfo") != "" || option[0] != '-' && option[0] != '+' {
			return s.construct(c, "set with arguments", "")
		}
		on := option[0] == '-'
		if strings.Contains(option, "e") {
			s.errexit = on
		}
		if !strings.Contains(option, "o") {
			continue
		}
		if i++; i == len(words) {
			return succeeded
		}
		if !setOptions[words[i].text] {
			return s.construct(c, "this option", "")
		}
		if words[i].text == "errexit" {
			s.errexit = on
		}
	}
	return succeeded
}

func sortedNames(m map[string]variable) []string { return slices.Sorted(maps.Keys(m)) }
