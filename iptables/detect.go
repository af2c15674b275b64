package iptables

import (
	"path/filepath"
	"strings"
)

// Evidence of a family, from weak to strong. A text that shows none of it is
// taken for one of IPv4.
type evidence uint8

const (
	noEvidence      evidence = iota
	evidenceName             // what the text is called
	evidenceICMP             // names of ICMPv6, or of ICMP where ip6tables knows them not
	evidenceAddress          // an address, or the name of a tool
)

// detectFamily tells the family of a text that is called name: by the first
// comment of iptables-save or address in it, else by the names of ICMP,
// else by its own name.
func detectFamily(name, text string) Family {
	family, best := IPv4, noEvidence
	if namedIPv6(name) {
		family, best = IPv6, evidenceName
	}
	var tokens []token
	for text != "" && best < evidenceAddress {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line = strings.TrimSpace(line)
		if line == "" || len(line) > lineMax || strings.IndexByte(line, 0) >= 0 {
			continue
		}
		var f Family
		var e evidence
		if line[0] == '#' {
			f, e = commentFamily(line)
		} else {
			var problem scanProblem
			if tokens, problem = tokenize(tokens[:0], line, 0); problem == scanned {
				f, e = lineFamily(tokens)
			}
		}
		if e > best {
			family, best = f, e
		}
	}
	return family
}

// namedIPv6 reports whether a file is called like one of IPv6: rules.v6,
// user6.rules, ip6tables.save.
func namedIPv6(name string) bool {
	base := strings.TrimSuffix(filepath.Base(name), ".rules")
	stem := strings.TrimSuffix(base, "6")
	return strings.Contains(base, "ip6tables") || stem != base && stem != "" && digit(stem[len(stem)-1]) > 9
}

func commentFamily(line string) (Family, evidence) {
	switch {
	case strings.Contains(line, "by ip6tables-save"):
		return IPv6, evidenceAddress
	case strings.Contains(line, "by iptables-save"):
		return IPv4, evidenceAddress
	}
	return 0, noEvidence
}

// familyOptions are the options whose argument may tell the family.
var familyOptions = map[string]bool{
	"-s": true, "-d": true, "--source": true, "--destination": true, "--src": true, "--dst": true,
	"-p": true, "--protocol": true, "-m": true, "--match": true, "--reject-with": true,
}

// lineFamily returns the strongest evidence of a line.
func lineFamily(tokens []token) (family Family, best evidence) {
	if len(tokens) == 0 {
		return 0, noEvidence
	}
	switch filepath.Base(tokens[0].text) {
	case "ip6tables":
		return IPv6, evidenceAddress
	case "iptables":
		return IPv4, evidenceAddress
	}
	for i := range len(tokens) - 1 {
		option, argument := tokens[i].text, tokens[i+1].text
		if len(option) < 2 || option[0] != '-' || !familyOptions[option] {
			continue
		}
		if argument == "!" && i+2 < len(tokens) {
			argument = tokens[i+2].text
		}
		if f, e := argumentFamily(option, argument); e > best {
			family, best = f, e
		}
	}
	return family, best
}

func argumentFamily(option, argument string) (Family, evidence) {
	switch option {
	case "-p", "--protocol", "-m", "--match":
		switch strings.ToLower(argument) {
		case "icmp6", "icmpv6", "ipv6-icmp":
			return IPv6, evidenceICMP
		}
	case "--reject-with":
		switch {
		case strings.HasPrefix(argument, "icmp6-"):
			return IPv6, evidenceICMP
		case strings.HasPrefix(argument, "icmp-"):
			return IPv4, evidenceICMP
		}
	default:
		first, _, _ := strings.Cut(argument, ",")
		var a Address
		switch {
		case a.Set(first) != nil || a.IsAny() && a.Addr.Is4():
		case a.Addr.Is6():
			return IPv6, evidenceAddress
		default:
			return IPv4, evidenceAddress
		}
	}
	return 0, noEvidence
}
