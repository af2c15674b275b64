package hosttest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// uptime is the clock of the machine that nobody sets, in seconds.
func (v *virtual) uptime(text string) float64 {
	v.t.Helper()
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		v.t.Fatalf("uptime: %v", err)
	}
	return n
}

// TestClockSet: somebody sets the clock while a migration waits: the rollback comes at
// its deadline, neither at once nor hours later (G5).
func TestClockSet(t *testing.T) {
	v := newVirtual(t, nil)
	v.start()
	saved := rulesOnly(v.must("iptables-save", 0, "--dport 22 -j ACCEPT"))
	v.must("migrate plan -o good", 0)
	const deadline, slack = 30 * time.Second, 20 * time.Second
	var lines []string
	for i, change := range []string{"+2 days", "-1 hour"} {
		out := v.must(fmt.Sprintf("awk '{print \"uptime\", $1}' /proc/uptime; migrate apply --no-wait --timeout %v good && awk '{print \"uptime\", $1}' /proc/uptime && date -s '%s'", deadline, change), 0, "migrate confirm")
		var at []float64
		for line := range strings.Lines(out) {
			if text, ok := strings.CutPrefix(line, "uptime "); ok {
				at = append(at, v.uptime(strings.TrimSpace(text)))
			}
		}
		if len(at) != 2 {
			t.Fatalf("%d times, want 2:\n%s", len(at), out)
		}
		v.must("migrate status", 1, "waiting")
		back := v.uptime(strings.TrimSpace(v.must("for i in $(seq 600); do migrate status | tail -n 1 | grep -q 'rolled-back' && break; sleep 0.3; done; awk '{print $1}' /proc/uptime", 0)))
		v.must("migrate status", 0, fmt.Sprintf("rolled-back: no confirmation came within %v", deadline))
		if back < at[0]+deadline.Seconds() || back > at[1]+(deadline+slack).Seconds() {
			t.Errorf("%d, clock set by %s: in effect between %.1f and %.1f, back at %.1f, with a deadline of %v", i, change, at[0], at[1], back, deadline)
		}
		t.Logf("clock set by %s: back %.1f s after apply returned, deadline %v", change, back-at[1], deadline)
		lines = append(lines, fmt.Sprintf("`date -s '%s'`: the old rules were back %.0f seconds after `migrate apply --no-wait` returned.", change, back-at[1]))
		if now := rulesOnly(v.must("iptables-save", 0)); now != saved {
			t.Errorf("the old rules are not what they were:\n%s", now)
		}
	}
	v.result(fmt.Sprintf("The clock is set while a migration waits for its confirmation, for %v", deadline), lines...)
}
