package optimize_test

import (
	"strings"
	"testing"
)

// TestTold wants to be told of rules that are left out, and of chains.
func TestTold(t *testing.T) {
	const head = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
	for _, c := range []struct{ name, rules, want string }{
		{"behind a verdict for all", "-A INPUT -s 10.0.0.1 -j ACCEPT\n-A INPUT -j DROP\n-A INPUT -s 10.0.0.2 -j ACCEPT\n-A INPUT -s 10.0.0.3 -j ACCEPT\n",
			"# Left out behind a rule that decides about all packets: 2 rules, test:7-8."},
		{"hidden by an earlier one", "-A INPUT -s 10.0.0.0/8 -j DROP\n-A INPUT -s 10.1.0.0/16 -j ACCEPT\n", "# Leaves nothing for others of 2 rules, test:5-6."},
		{"in a small set", "-A INPUT -p tcp --dport 1 -j DROP\n-A INPUT -p tcp --dport 2 -j DROP\n-A INPUT -p tcp --dport 3 -j DROP\n-A INPUT -p tcp --dport 9 -j DROP\n", "# 4 rules, test:5-8\n"},
		{"with a comment that nft does not take", "-A INPUT -s 10.0.0.0/8 -m comment --comment \"a \\\"b\\\" c\" -j DROP\n-A INPUT -s 10.1.0.0/16 -j DROP\n", `"b"`},
	} {
		word, text := proven(t, []string{head + c.rules + "COMMIT\n"}, 2, false)
		if word != "equivalent" || !strings.Contains(text, c.want) {
			t.Errorf("%s: %s, and it does not say %q:\n%s", c.name, word, c.want, text)
		}
	}
}
