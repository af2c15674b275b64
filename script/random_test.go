package script_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nftmigrate/iptables"
)

var (
	randomScripts = flag.Int("scripts", 25, "random scripts per plane")
	randomSeed    = flag.Uint64("seed", 1, "seed of the random scripts")
)

// words are what random commands are made of, by table.
var randomRules = map[string][]string{
	"filter": {
		"-s 10.0.0.0/8 -j ACCEPT", "-s 10.0.0.1,10.0.0.2 -j DROP", "-p tcp --dport 22 -j ACCEPT", "-p tcp -m tcp --dport 22 -j ACCEPT",
		"-p udp --sport 53 -j RETURN", "-j REJECT", "-j REJECT --reject-with icmp-port-unreachable", "-m state --state NEW -j ACCEPT", "-m conntrack --ctstate NEW -j ACCEPT",
		"-i lo -j ACCEPT", "-o eth0 -j DROP", "! -s 192.168.0.0/16 -j DROP", "-p icmp --icmp-type echo-request -j ACCEPT", "-m limit --limit 5/min -j LOG --log-prefix 'a b '",
		"-j ONE", "-j TWO", "-g TWO", "-p tcp -j THREE", "-j ONE", "-m comment --comment \"it is\" -j ACCEPT", "", "-s 1.2.3.4 -d 5.6.7.8,9.9.9.9",
		"-m mark --mark 1 -j TWO", "-m multiport -p tcp --dports 80,443 -j ACCEPT", "-p tcp --syn -j DROP",
	},
	"nat": {
		"-j MASQUERADE", "-j SNAT --to-source 1.2.3.4", "-p tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080", "-p tcp --dport 80 -j REDIRECT --to-ports 3128",
		"-j ONE", "-j TWO", "-g THREE", "-j RETURN", "-o eth0 -j MASQUERADE", "-s 10.0.0.0/8,11.0.0.0/8 -j ACCEPT",
	},
	"mangle": {
		"-j MARK --set-mark 1", "-p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu", "-j ONE", "-j TWO", "-j CONNMARK --save-mark", "-j TTL --ttl-set 64", "-i eth0 -j ACCEPT", "-g ONE",
	},
}

var randomBuiltin = map[string][]string{
	"filter": {"INPUT", "FORWARD", "OUTPUT"}, "nat": {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"}, "mangle": {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
}

// randomCommand returns one command of iptables.
func randomCommand(r *rand.Rand) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	table := pick("filter", "filter", "nat", "mangle")
	user := func() string { return pick("ONE", "TWO", "THREE") }
	chain := func() string {
		if r.IntN(2) == 0 {
			return user()
		}
		return pick(randomBuiltin[table]...)
	}
	rule := func() string { return pick(randomRules[table]...) }
	number := func() string { return strconv.Itoa(r.IntN(6)) }
	command := ""
	switch n := r.IntN(100); {
	case n < 30:
		command = pick("-A", "--append") + " " + chain() + " " + rule()
	case n < 42:
		command = pick("-I", "--insert") + " " + chain() + pick("", "", " 1", " "+number()) + " " + rule()
	case n < 57:
		command = pick("-N", "--new-chain", "--new") + " " + user()
	case n < 70:
		command = pick("-D", "--delete") + " " + chain() + " " + pick(rule(), rule(), rule(), number())
	case n < 74:
		command = pick("-R", "--replace") + " " + chain() + " " + number() + " " + rule()
	case n < 78:
		command = pick("-F", "-F "+chain(), "--flush "+user())
	case n < 82:
		command = pick("-X", "-X "+user(), "-X "+chain(), "--delete-chain "+user())
	case n < 86:
		command = "-E " + chain() + " " + pick(user(), "FOUR", "INPUT")
	case n < 90:
		command = "-P " + chain() + " " + pick("ACCEPT", "DROP", "ONE")
	case n < 92:
		command = pick("-Z", "-Z "+chain(), "-Z "+chain()+" "+number())
	case n < 94:
		command = pick("-S", "-L -n", "-vnL", "-L -Z", "-nL "+chain()+" --line-numbers", "-S "+chain()) + " >/dev/null"
	default:
		command = "-C " + chain() + " " + rule()
	}
	if table != "filter" || r.IntN(4) == 0 {
		option := pick("-t ", "-t", "--table ", "--table=") + table
		if pick("", "behind") == "" {
			command = option + " " + command
		} else if at := strings.Index(command, " >"); at < 0 {
			command += " " + option
		}
	}
	return "iptables " + pick("", "", "-w ", "-w 5 ") + strings.Join(strings.Fields(command), " ")
}

// TestRandom runs random commands by a shell and in our model. Both must end
// with the same rules, and the same commands must fail.
func TestRandom(t *testing.T) {
	for _, plane := range []string{"legacy", "nft"} {
		t.Run(plane, func(t *testing.T) {
			h := newHost(t, plane)
			defer h.end(t)
			commands, failures, rules := 0, 0, 0
			for n := range *randomScripts {
				r := rand.New(rand.NewPCG(*randomSeed, uint64(n)))
				var lines []string
				for _, table := range []string{"filter", "nat", "mangle"} {
					for _, chain := range []string{"ONE", "TWO", "THREE"} {
						if r.IntN(3) > 0 {
							lines = append(lines, "iptables -t "+table+" -N "+chain)
						}
					}
				}
				for range 20 + r.IntN(40) {
					line := randomCommand(r)
					if plane == "nft" && differsInNft(line) {
						continue
					}
					switch r.IntN(12) {
					case 0:
						line += " && " + ordinary(randomCommand(r))
					case 1:
						line += " || " + ordinary(randomCommand(r))
					case 2:
						line = "! " + line
					}
					lines = append(lines, line)
				}
				h.fresh(t)
				if plane == "nft" {
					h.prime(t)
				}
				text := strings.Join(lines, "\n") + "\n"
				// The shell tells which lines fail by counting complaints: a
				// line has as many commands as it runs.
				watched := "fail() { echo $1; }\n"
				asks := make(map[int]bool)
				for i, line := range lines {
					asks[i+1] = strings.Contains(line, " -C ")
					watched += strings.ReplaceAll(wrap(line), "@", strconv.Itoa(i+1)) + "\n"
				}
				out, complaints := h.run(t, watched, "sh")
				want := h.save(t, iptables.IPv4)
				got, _, _, list := made(t, text)
				if got != want {
					t.Fatalf("script %d:\n%s\nmakes\n%s\nand in our model\n%s\n%s\n%v", n, numbered(text), want, got, complaints, list)
				}
				failed := make(map[int]bool)
				for line := range strings.Lines(out) {
					if i, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && !asks[i] {
						failed[i] = true
					}
				}
				if got, want := failingLines(list, asks), fmt.Sprint(slices.Sorted(maps.Keys(failed))); got != want {
					t.Fatalf("script %d:\n%s\nlines %s fail, and in our model %s\n%s\n%v", n, numbered(text), want, got, complaints, list)
				}
				commands += len(lines)
				failures += len(failed)
				rules += strings.Count(got, "\n-A")
			}
			t.Logf("%d lines, of which %d fail, leave %d rules", commands, failures, rules)
			if commands == 0 || failures == 0 || rules == 0 {
				t.Error("the scripts test nothing")
			}
		})
	}
}

// wrap makes each command of a line tell when it fails, but for -C, which asks.
func wrap(line string) string {
	var out []string
	for _, word := range []string{" && ", " || "} {
		if left, right, ok := strings.Cut(line, word); ok {
			return wrap(left) + word + wrap(right)
		}
	}
	negated := ""
	if rest, ok := strings.CutPrefix(line, "! "); ok {
		negated, line = "! ", rest
	}
	if slices.Contains(strings.Fields(line), "-C") {
		return negated + line
	}
	out = append(out, negated+"{ "+line+" || { fail @; false; }; }")
	return strings.Join(out, "")
}

// prime makes the built-in chains, which iptables-nft has only when a command
// needed them before; until then -Z, -F and -D of one fail.
func (h *host) prime(t *testing.T) {
	var commands strings.Builder
	for table, chains := range randomBuiltin {
		for _, chain := range chains {
			fmt.Fprintf(&commands, "iptables -t %s -P %s ACCEPT\n", table, chain)
		}
	}
	if _, complaints := h.run(t, commands.String(), "sh"); complaints != "" {
		t.Fatal(complaints)
	}
}

func numbered(text string) string {
	var b strings.Builder
	n := 0
	for line := range strings.Lines(text) {
		n++
		fmt.Fprintf(&b, "%3d %s", n, line)
	}
	return b.String()
}

// differsInNft reports a command that iptables-nft carries out otherwise than
// iptables-legacy: it renames and deletes built-in chains, takes any number
// for the counters of a rule, and TCPMSS where it does not look at the hook.
// Its -X deletes built-in chains, too, which then cannot be named.
func differsInNft(line string) bool {
	if strings.Contains(line, "TCPMSS") {
		return true
	}
	if _, rest, ok := strings.Cut(line, "-Z "); ok {
		if words := strings.Fields(rest); len(words) > 1 && strings.Trim(words[1], "0123456789") == "" {
			return true
		}
	}
	for _, command := range []string{"-E ", "-X ", "--delete-chain ", "-Z ", "-F ", "-S ", "-nL "} {
		if _, rest, ok := strings.Cut(line, command); ok && !strings.HasPrefix(rest, "-") && !strings.HasPrefix(rest, ">") && !strings.Contains("ONE TWO THREE", strings.Fields(rest)[0]) {
			return true
		}
	}
	return false
}

// ordinary makes another command of one that differs.
func ordinary(line string) string {
	if differsInNft(line) {
		return "iptables -N TWO"
	}
	return line
}
