package iptables

import (
	"fmt"
	"strings"
	"testing"

	"nftmigrate/diag"
)

// diagnosticCases are lines of a table, the code of the diagnostic they give,
// the text it is about, and a word that its detail has.
var diagnosticCases = []struct {
	in, code, subject, detail string
}{
	{"-A INPUT -p tcp -dport 22 -j ACCEPT", "single-dash", "-dport", "--dport"},
	{"-A INPUT -p tcp --dprot 22", "unknown-option", "--dprot", "--dport"},
	{"-A INPUT --dport 22 -p tcp", "unknown-option", "--dport", "-m tcp"},
	{"-A INPUT --log-prefix x -j LOG", "unknown-option", "--log-prefix", "-j LOG"},
	{"-A INPUT --sourc-port 1 -j DROP", "unknown-option", "--sourc-port", "Correct the name"},
	{"-A INPUT --s 1.1.1.1", "ambiguous-option", "--s", "--source or --set-counters"},
	{"-A INPUT -Q", "unknown-option", "-Q", "letter"},
	{"-A INPUT -m comnent --comment x -j DROP", "unknown-match", "comnent", "comment"},
	{"-A INPUT -m quota --quota 5 ! -p tcp --bytes 7 8 -j DROP", "unsupported-match", "quota", "iptables has it"},
	{"-A INPUT -p sctp --dport 5 -j DROP", "unsupported-match", "--dport", "iptables has it"},
	{"-A INPUT -j LED --led-trigger-id x", "unsupported-target", "LED", "iptables has it"},
	{"-A INPUT -j accept", "undefined-chain", "accept", "ACCEPT"},
	{"-A INPUT -j LOGG", "undefined-chain", "LOGG", "LOG"},
	{"-A INPUT -j LOGG --log-prefix x -s 1.1.1.1", "undefined-chain", "LOGG", "LOG"},
	{"-A INPUT -p tpc --dport 22 -j DROP", "invalid-argument", "tpc", "tcp"},
	{"-A INPUT -p sctp --dport 5 --sport 6 -j DROP", "unsupported-match", "--dport", "iptables has it"},
	{"-A INPUT -j TTL --ttl-set 5", "other-family", "TTL", "other family"},
	{"-A INPUT -j DORP", "undefined-chain", "DORP", "DROP"},
	{"-A INPUT -j C\n:C - [0:0]", "undefined-chain", "C", "line 5"},
	{"-A INPPUT -j DROP", "undefined-chain", "INPPUT", "INPUT"},
	{"-E C A2\n-X A2", "undefined-chain", "C", "Declare"},
	{"-P C DROP", "undefined-chain", "C", "Declare"},
	{"-A INPUT -g C", "undefined-chain", "C", "Declare"},
	{"-A INPUT -j FORWARD", "jump-to-builtin", "FORWARD", "kernel"},
	{"-A A -j B\n-A B -g A\n-A INPUT -j A", "chain-loop", "A", "A, B and A"},
	{"-A INPUT -s example.org", "invalid-argument", "example.org", "DNS"},
	{"-A INPUT -s 1.1.1.1,x,2.2.2.2", "invalid-argument", "x", "DNS"},
	{"-A INPUT -s 1.1.1.1/33", "invalid-argument", "1.1.1.1/33", "32"},
	{"-A INPUT -s fe80::1", "address-family", "fe80::1", "other family"},
	{"-A INPUT -i 1234567890123456", "invalid-argument", "1234567890123456", "15"},
	{"-A INPUT -i a/b", "odd-interface-name", "a/b", "slash"},
	{"-A INPUT -ilo", "attached-argument", "-ilo", "-i lo"},
	{"-A INPUT -o lo", "wrong-interface", "lo", "Remove"},
	{"-A OUTPUT -i lo", "wrong-interface", "lo", "Remove"},
	{"-A INPUT -p tpc", "invalid-argument", "tpc", "tcp"},
	{"-A INPUT -p tcp,udp", "invalid-argument", "tcp,udp", "each"},
	{"-A INPUT ! -p all", "never-matches", "all", "Remove"},
	{"-A INPUT -p tcp --dport 65536", "invalid-argument", "65536", "0 to 65535"},
	{"-A INPUT -p tcp --dport=65536", "invalid-argument", "65536", "0 to 65535"},
	{"-A INPUT -p tcp --dport 1 --dport 2", "repeated-option", "2", "once"},
	{"-A INPUT -s 1.1.1.1 -s 2.2.2.2", "repeated-option", "-s 2.2.2.2", "once"},
	{"-A INPUT -m comment ! --comment x", "not-negatable", "!", "Remove"},
	{"-A INPUT -p tcp --dport ! 22", "old-negation", "!", "before the option"},
	{"-A INPUT -s ! 1.1.1.1", "old-negation", "!", "before the option"},
	{"-A INPUT ! -s 1.1.1.1,2.2.2.2", "negated-list", "1.1.1.1,2.2.2.2", "ipset"},
	{"-A INPUT ! -j DROP", "misplaced-negation", "!", "Remove"},
	{"-A INPUT -j DROP !", "misplaced-negation", "!", "Remove"},
	{"-A INPUT ! ! -f", "misplaced-negation", "!", "Remove"},
	{"-A INPUT -p tcp --dport", "missing-argument", "--dport", "Add"},
	{"-A INPUT -p tcp --tcp-flags SYN -j DROP", "missing-argument", "--tcp-flags", "Add"},
	{"-A INPUT -j", "missing-argument", "-j", "Add"},
	{"-A INPUT -p tcp --syn=1", "unexpected-argument", "--syn=1", "Remove"},
	{"-A INPUT -m mark", "missing-option", "mark", "--mark"},
	{"-A INPUT -m tcp --dport 1", "needs-protocol", "tcp", "Add"},
	{"-A INPUT -j DROP # why", "stray-argument", "#", "comment"},
	{"-A INPUT -j DROP why", "stray-argument", "why", "left over"},
	{"-A INPUT –s 1.1.1.1 -j DROP", "stray-argument", "–s", "dash"},
	{"-A INPUT -m comment --comment 'a", "", "", ""},
	{"INPUT -j DROP", "stray-argument", "INPUT", "starts with -A"},
	{`-A INPUT -m comment --comment "abc -j DROP`, "unterminated-quote", `"abc -j DROP`, "closing quote"},
	{"-A INPUT -s " + strings.Repeat("1", 1024), "argument-too-long", strings.Repeat("1", 1024), "1023"},
	{"-A INPUT" + strings.Repeat(" -f", 250), "too-many-arguments", "-f", "251"},
	{"-A INPUT" + strings.Repeat(" ", 10240) + "-f", "line-too-long", "-A INPUT" + strings.Repeat(" ", 10240) + "-f", "Split"},
	{"-A INPUT \x00-j DROP", "nul-byte", "\x00", "see"},
	{"iptables -A INPUT -j DROP", "shell-command", "iptables", "iptables-save"},
	{"sudo /sbin/ip6tables -A INPUT -j DROP", "shell-command", "sudo /sbin/ip6tables", "iptables-save"},
	{"-A INPUT -t nat -j ACCEPT", "refused-option", "-t", "*table"},
	{"-L", "refused-option", "-L", "Remove"},
	{"-A INPUT -N x", "several-commands", "-N x", "two lines"},
	{"-F INPUT -s 1.1.1.1", "several-commands", "-F INPUT -s 1.1.1.1", "-s"},
	{"-I INPUT 2", "invalid-rule-number", "2", "0 rules"},
	{"-I INPUT 0", "invalid-rule-number", "0", "from 1"},
	{"-D INPUT -j DROP", "no-such-rule", "-D INPUT -j DROP", "equal"},
	{"-X INPUT", "chain-in-use", "INPUT", "built in"},
	{"-A INPUT -j A\n-X A", "chain-in-use", "A", "jumps"},
	{"-N A", "duplicate-chain", "A", "Remove"},
	{":A - [0:0]", "duplicate-chain", "A", "line 2"},
	{":INPUT drop [0:0]", "invalid-policy", "drop", "DROP"},
	{":C DROP [0:0]", "invalid-policy", "DROP", "built-in"},
	{":INPUT DROP [x]", "invalid-counters", "[x]", "zero"},
	{":C", "invalid-chain-line", ":C", "Write"},
	{":ACCEPT - [0:0]", "invalid-chain-name", "ACCEPT", "another"},
	{"-N LOG", "invalid-chain-name", "LOG", "another"},
	{"[1:x] -A INPUT", "invalid-counters", "[1:x]", "left out"},
	{"[1] -A INPUT", "invalid-counters", "[1]", "leave"},
	{"-A INPUT -c 1", "missing-argument", "-c", "Add"},
	{"-A INPUT -c a b", "invalid-counters", "a b", "PACKETS"},
	{"-A INPUT -f -f", "repeated-option", "-f", "once"},
	{"-j DROP", "no-command", "-j DROP", "-A"},
}

func TestDiagnostics(t *testing.T) {
	for _, c := range diagnosticCases {
		_, list := parseTest(t, IPv4, tableText(c.in))
		checkDiagnostic(t, c.in, list, c.code, c.subject, c.detail)
	}
}

func checkDiagnostic(t *testing.T, in string, list diag.List, code, subject, detail string) {
	t.Helper()
	if code == "" {
		if len(list) != 0 {
			t.Errorf("Parse(%.80q) reports %v", in, list)
		}
		return
	}
	if len(list) != 1 {
		t.Errorf("Parse(%.80q) reports %v, want one %s", in, list, code)
		return
	}
	d := list[0]
	if d.Code != code || d.Subject.Text() != subject {
		t.Errorf("Parse(%.80q) reports %s about %.80q, want %s about %.80q", in, d.Code, d.Subject.Text(), code, subject)
	}
	if !strings.Contains(d.Detail, detail) {
		t.Errorf("Parse(%.80q): detail %q lacks %q", in, d.Detail, detail)
	}
	if d.Summary == "" || d.Detail == "" || d.Context.IsZero() {
		t.Errorf("Parse(%.80q): the diagnostic is not complete: %+v", in, d)
	}
	if unsupported := strings.HasPrefix(code, "unsupported-"); unsupported != (d.Class == diag.Unsupported) {
		t.Errorf("Parse(%.80q): %s has class %d", in, code, d.Class)
	}
}

// TestTableDiagnostics are about whole texts.
func TestTableDiagnostics(t *testing.T) {
	cases := []struct{ in, code, subject, detail string }{
		{"*filter\n-A INPUT\n", "missing-commit", "-A INPUT", "COMMIT"},
		{"*filter\n*nat\nCOMMIT\n", "missing-commit", "*nat", "COMMIT"},
		{"*fitler\n-A INPUT -j X\nCOMMIT\n*nat\nCOMMIT\n", "unknown-table", "fitler", "filter"},
		{"*\nCOMMIT\n", "unknown-table", "*", "filter"},
		{"-A INPUT\n", "outside-table", "-A INPUT", "*filter"},
		{"*filter\nCOMMIT\nCOMMIT\n", "outside-table", "COMMIT", "remove"},
		{"iptables -P INPUT DROP\n", "shell-command", "iptables", "*filter"},
		{"*nat\n-A PREROUTING -j DROP\nCOMMIT\n", "drop-in-nat", "DROP", "filter"},
		{"*nat\n-P PREROUTING DROP\nCOMMIT\n", "drop-in-nat", "DROP", "filter"},
		{"*nat\n:X -\nCOMMIT\n*filter\n-A INPUT -j X\nCOMMIT\n", "undefined-chain", "X", "Table nat"},
	}
	for _, c := range cases {
		_, list := parseTest(t, IPv4, c.in)
		checkDiagnostic(t, c.in, list, c.code, c.subject, c.detail)
	}
	for _, c := range []struct{ in, code, subject, detail string }{
		{"-A INPUT -f", "ipv4-only", "-f", "frag"},
		{"-A INPUT -m ttl --ttl-eq 5 -j DROP", "other-family", "ttl", "other family"},
		{"-A INPUT -p ah", "never-matches-protocol", "ah", "extension headers"},
		{"-A INPUT -s 1.1.1.1", "address-family", "1.1.1.1", "other family"},
	} {
		_, list := parseTest(t, IPv6, tableText(c.in))
		checkDiagnostic(t, c.in, list, c.code, c.subject, c.detail)
	}
}

// TestAllErrors makes sure that one error hides no other, in the order of the
// text.
func TestAllErrors(t *testing.T) {
	text := "*filter\n-A INPUT -s x -d y -p z -m nosuch -j NOSUCH\n-A INPUT -m tcp --dport 1\n-A INPUT -i lo -o lo\n"
	_, list := parseTest(t, IPv4, text)
	var got []string
	for _, d := range list {
		got = append(got, d.Subject.Text())
	}
	if want := "x y z nosuch NOSUCH tcp -A INPUT -i lo -o lo lo"; strings.Join(got, " ") != want {
		t.Errorf("the diagnostics are about %q, want %q", got, want)
	}
}

// TestManyErrors bounds what is reported, and keeps how bad it is.
func TestManyErrors(t *testing.T) {
	text := tableText(strings.Repeat("-A INPUT -m quota\n", 2*reportMax) + strings.Repeat("-A INPUT -s ! 1.1.1.1\n", 2*reportMax) + "-A INPUT -s x")
	_, list := parseTest(t, IPv4, text)
	if len(list) != 2*reportMax+2 || !list.HasInvalid() {
		t.Fatalf("%d diagnostics, invalid %v", len(list), list.HasInvalid())
	}
	last := list[len(list)-2]
	if last.Code != "too-many-diagnostics" || last.Severity != diag.Error || !strings.Contains(last.Detail, "201 more") {
		t.Errorf("the last but one is %+v", last)
	}
	_, list = parseTest(t, IPv4, tableText(strings.Repeat("-A INPUT -m quota\n", 2*reportMax)))
	if !list.HasErrors() || list.HasInvalid() {
		t.Errorf("errors %v, invalid %v", list.HasErrors(), list.HasInvalid())
	}
}

// TestExpansionBounded makes sure that short lines cannot make rules without
// end.
func TestExpansionBounded(t *testing.T) {
	list := strings.TrimSuffix(strings.Repeat("1,", 500), ",")
	r, diags := parseTest(t, IPv4, tableText(strings.Repeat("-A INPUT -s "+list+" -d "+list+"\n", 100)))
	if n := len(r.Table("filter").Chain("INPUT").Rules); n > expandMax {
		t.Errorf("%d rules", n)
	}
	if !diags.HasErrors() || diags[0].Code != "too-many-rules" {
		t.Errorf("diagnostics are %v", diags)
	}
}

// TestChangesBounded makes sure that no lines take time without end.
func TestChangesBounded(t *testing.T) {
	const n = 4000
	chains := strings.Builder{}
	for i := range n {
		fmt.Fprintf(&chains, ":c%d - [0:0]\n-A c%d\n", i, i)
	}
	for _, text := range []string{
		strings.Repeat("-A INPUT\n", n) + strings.Repeat("-D INPUT -j DROP\n", n),
		chains.String() + strings.Repeat("-F\n", n),
		chains.String() + strings.Repeat("-X\n", n),
		chains.String() + strings.Repeat("-N x\n-X x\n", n),
		chains.String() + strings.Repeat("-E c1 x\n-E x c1\n", n),
	} {
		p := &parser{src: diag.NewSource("test", nil), family: IPv4, reg: testRegistry{}, ruleset: new(Ruleset)}
		p.text = tableText(text)
		p.readText()
		if p.searched < searchMax || p.searched > searchMax+3*n {
			t.Errorf("%s: %d rules and chains were looked at, want about %d", text[len(text)-10:], p.searched, searchMax)
		}
	}
}

// TestInsertMany makes sure that rules inserted at the front come out in the
// right order, whatever else is done with the chain.
func TestInsertMany(t *testing.T) {
	text := tableText("-I INPUT -s 1\n-A INPUT -s 2\n-I INPUT -s 3,4\n-I INPUT 2 -s 5\n-I INPUT 1 -s 6\n-D INPUT 3\n-I INPUT -s 7\n-R INPUT 2 -s 8\n-I A\n-F A\n-I B\n-D B")
	r, list := parseTest(t, IPv4, text)
	if len(list) != 0 {
		t.Fatal(list)
	}
	var got []string
	for _, rule := range r.Table("filter").Chain("INPUT").Rules {
		got = append(got, rule.Source.Value.Addr.String()[:1])
	}
	if want := "7 8 4 3 1 2"; strings.Join(got, " ") != want {
		t.Errorf("the rules are %v, want %s", got, want)
	}
}

// TestRemedies holds what is said of mistakes that many files have.
func TestRemedies(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"-A INPUT -j ufw-logging-deny", "one of ufw"},
		{"-A DOCKER-USER -j DROP", "one of Docker"},
		{"-A INPUT -g ACCEPT", "Write -j ACCEPT"},
		{"-A INPUT -s 10.0.0.1-10.0.0.9 -j DROP", "-m iprange"},
		{"-A INPUT -m comment --comment health check ports -j DROP", "double quotes"},
		{"-A INPUT -s fe80::1 -j DROP", "rules of both has to be split"},
	} {
		_, list := parseTest(t, IPv4, tableText(c.line))
		if len(list) != 1 || !strings.Contains(list[0].Detail, c.want) {
			t.Errorf("%q: diagnostics are %v, want one that says %q", c.line, list, c.want)
		}
	}
}
