package ipset

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
)

// restoreAndSave returns what ipset prints of the sets of a text.
func restoreAndSave(t *testing.T, text string) (saved, complaint string, err error) {
	t.Helper()
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("ipset"))
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var stderr bytes.Buffer
	if strings.Contains(text, "-exist") {
		// ipset restore takes no notice of the option in a line.
		for line := range strings.Lines(text) {
			if out, err := ns.Command("ipset", strings.Fields(line)...).CombinedOutput(); err != nil {
				return "", string(out), err
			}
		}
	} else {
		restore := ns.Command("ipset", "restore")
		restore.Stdin = strings.NewReader(text)
		restore.Stderr = &stderr
		if err := restore.Run(); err != nil {
			return "", stderr.String(), err
		}
	}
	out, err := ns.Command("ipset", "save").Output()
	return string(out), "", err
}

func sortedLines(text string) string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

var elementTimeout = regexp.MustCompile(`(?m)^(add .*) timeout (\d+)`)

// settled rounds what is left of the times of elements.
func settled(text string) string {
	return elementTimeout.ReplaceAllStringFunc(text, func(s string) string {
		m := elementTimeout.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		return m[1] + " timeout " + strconv.Itoa((n+99)/100*100)
	})
}

// TestConfirmPrint loads what the cases print by ipset, which prints the same.
func TestConfirmPrint(t *testing.T) {
	for _, c := range cases {
		if c.lacking {
			continue
		}
		saved, complaint, err := restoreAndSave(t, c.text)
		if err != nil {
			t.Errorf("%s: ipset restore: %v %s", c.name, err, complaint)
			continue
		}
		if got, want := sortedLines(settled(printed(t, parsed(t, c.text)))), sortedLines(settled(saved)); got != want {
			t.Errorf("%s: we print\n%s\nipset prints\n%s", c.name, got, want)
		}
	}
}

// TestConfirmCommands has ipset carry out the same commands.
func TestConfirmCommands(t *testing.T) {
	for _, c := range commandCases {
		saved, complaint, err := restoreAndSave(t, c.text)
		if err != nil {
			t.Errorf("%s: ipset restore: %v %s", c.name, err, complaint)
			continue
		}
		if got := addLines(printed(t, parsed(t, c.text))); sortedLines(got) != sortedLines(addLines(saved)) {
			t.Errorf("%s: our sets hold\n%s\nthose of ipset\n%s", c.name, got, saved)
		}
	}
}

// TestConfirmWrong wants ipset to refuse what we refuse.
func TestConfirmWrong(t *testing.T) {
	for _, c := range wrong {
		switch c.code {
		case "nul-byte", "ipset-too-many-elements", "line-too-long", "unterminated-quote":
			continue // ours alone
		}
		if saved, _, err := restoreAndSave(t, c.text); err == nil {
			t.Errorf("ipset takes %q:\n%s", c.text, saved)
		}
	}
}
