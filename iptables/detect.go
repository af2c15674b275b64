package iptables

import "strings"

// detectFamily tells the family of a text: by the comment that iptables-save
// writes first, else by the first word that only one family has.
func detectFamily(text string) Family {
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if line[0] == '#' {
			switch {
			case strings.Contains(line, "ip6tables"):
				return IPv6
			case strings.Contains(line, "iptables-save"):
				return IPv4
			}
			continue
		}
		if f := lineFamily(line); f != 0 {
			return f
		}
	}
	return IPv4
}

// lineFamily returns the family that a line shows, or 0.
func lineFamily(line string) Family {
	if len(line) > lineMax || strings.IndexByte(line, 0) >= 0 {
		return 0
	}
	tokens, problem := tokenize(nil, line, 0)
	if problem != scanned || len(tokens) == 0 {
		return 0
	}
	switch tokens[0].text[strings.LastIndexByte(tokens[0].text, '/')+1:] {
	case "ip6tables":
		return IPv6
	case "iptables":
		return IPv4
	}
	for i, t := range tokens[:len(tokens)-1] {
		argument := tokens[i+1].text
		if argument == "!" && i+2 < len(tokens) {
			argument = tokens[i+2].text
		}
		switch t.text {
		case "-s", "-d", "--source", "--destination", "--src", "--dst":
			var a Address
			switch {
			case a.Set(argument) != nil || a.IsAny() && a.Addr.Is4():
			case a.Addr.Is6():
				return IPv6
			default:
				return IPv4
			}
		case "-p", "--protocol", "-m", "--match":
			switch strings.ToLower(argument) {
			case "icmp6", "icmpv6", "ipv6-icmp":
				return IPv6
			case "icmp":
				return IPv4
			}
		}
		if strings.HasPrefix(argument, "icmp6-") {
			return IPv6
		}
	}
	return 0
}
