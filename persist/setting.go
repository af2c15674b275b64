package persist

import (
	"regexp"
	"strings"
)

// A setting is a variable of a shell's configuration file that makes a service
// overwrite its file with what the kernel has, when it stops.
type setting struct {
	file string
	keys []string
	// always is that a service without the variable saves.
	always bool
}

// saving are the settings of the services that are known to have one. Those of
// Alpine and Gentoo save unless they are told not to.
//
// Files: iptables.init and ipset.start-stop of the RHEL family; init scripts of
// iptables in Alpine and Gentoo.
var saving = map[string]setting{
	"iptables.service":  {"/etc/sysconfig/iptables-config", []string{"IPTABLES_SAVE_ON_STOP", "IPTABLES_SAVE_ON_RESTART"}, false},
	"ip6tables.service": {"/etc/sysconfig/ip6tables-config", []string{"IP6TABLES_SAVE_ON_STOP", "IP6TABLES_SAVE_ON_RESTART"}, false},
	"ipset.service":     {"/etc/sysconfig/ipset-config", []string{"IPSET_SAVE_ON_STOP", "IPSET_SAVE_ON_RESTART"}, false},
	"iptables":          {"/etc/conf.d/iptables", []string{"SAVE_ON_STOP"}, true},
	"ip6tables":         {"/etc/conf.d/ip6tables", []string{"SAVE_ON_STOP"}, true},
	"ipset":             {"/etc/conf.d/ipset", []string{"SAVE_ON_STOP"}, true},
	"nftables":          {"/etc/conf.d/nftables", []string{"SAVE_ON_STOP"}, true},
}

// saveNoMore keeps a service from overwriting its file when it stops: what runs
// then are not the rules that the file is there to bring back. It reports whether
// something changes.
func (b *builder) saveNoMore(service string) (bool, error) {
	s, ok := saving[service]
	if !ok {
		return false, nil
	}
	text, there, err := b.read(s.file)
	if err != nil {
		return false, err
	}
	edited := text
	for _, key := range s.keys {
		edited = turnOff(edited, key, s.always)
	}
	if edited == text || !there && !s.always {
		return false, nil
	}
	b.write(s.file, 0o644, edited, "stopping "+service+" must not overwrite the old rules, which an undo needs")
	return true, nil
}

// turnOff gives a variable the value no wherever it is set; with always it sets it
// where it is not.
func turnOff(text, key string, always bool) string {
	set := regexp.MustCompile(`(?i)^(\s*(?:export\s+)?` + key + `)=(.*)$`)
	lines := strings.Split(text, "\n")
	found := false
	for i, line := range lines {
		m := set.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		found = true
		value, _, _ := strings.Cut(m[2], "#")
		if strings.Trim(strings.TrimSpace(value), `"'`) != "no" {
			lines[i] = m[1] + `="no"`
		}
	}
	text = strings.Join(lines, "\n")
	if !found && always {
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		text += key + "=\"no\"\n"
	}
	return text
}
