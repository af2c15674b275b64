package script_test

import (
	"strings"
	"testing"
	"time"

	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/script"
)

// TestInvolved makes sure that no script takes the stack or the time that there
// is, however much it nests.
func TestInvolved(t *testing.T) {
	for name, text := range map[string]string{
		"brackets":  strings.Repeat("(", 3_000_000) + "a",
		"few":       strings.Repeat("(", 9_900) + "a",
		"and":       strings.Repeat("a && ", 2_000_000) + "a",
		"and lines": strings.Repeat("a &&\n", 2_000_000) + "a",
		"pipe":      strings.Repeat("a |\n", 40_000) + "a",
		"if":        strings.Repeat("if a; then\n", 9_900) + "a" + strings.Repeat(";fi", 29_000),
		"while":     strings.Repeat("while a; do\n", 1_000_000) + "a",
		"elif":      "if a; then a" + strings.Repeat("\nelif a; then\na", 9_900) + "\nfi",
		"case":      strings.Repeat("case a in a)\n", 40_000) + "a",
		"function":  strings.Repeat("f()\n", 9_900) + "a",
		"quotes":    strings.Repeat(`"${a:-`, 9_900) + "a",
		"time":      strings.Repeat("time ", 1_000_000) + "a",
		"sign":      "echo $((" + strings.Repeat("-", 1_000_000) + "1))",
		"signs":     "echo $((" + strings.Repeat("-\n", 120_000) + "1))",
		"test":      "[[ " + strings.Repeat("!\n", 120_000) + "a ]]",
		"documents": strings.Repeat("cat <<A\n", 100_000),
		"value":     "A=aaaaaaaaaaaaaaaa\n" + strings.Repeat("A=$A$A$A\n", 1000) + "iptables -A INPUT -s $A",
		"words":     "A='a a a a a a a a'\n" + strings.Repeat("A=\"$A $A\"\n", 12) + "iptables " + strings.Repeat("$A ", 500),
	} {
		start := time.Now()
		_, list := script.Run(diag.NewSource("deep.sh", []byte(text)), extension.Registry)
		if !list.HasErrors() {
			t.Errorf("%s: nothing is reported", name)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s takes %v", name, took)
		} else {
			t.Logf("%s: %v, %v", name, took.Round(time.Millisecond), list[0].Code)
		}
	}
}
