package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"nftmigrate/internal/testkit"
)

const killRules = `*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
`

// A victim is a namespace with rules, a plan for it, and what it holds before.
type victim struct {
	*testing.T
	name, state, plan string
	before            string
}

func newVictim(t *testing.T, name string) *victim {
	t.Helper()
	v := &victim{T: t, name: name, state: filepath.Join(t.TempDir(), "state"), plan: filepath.Join(t.TempDir(), "plan")}
	v.run("", "ip", "netns", "add", name)
	t.Cleanup(func() { v.run("", "ip", "netns", "delete", name) })
	v.run(killRules, "ip", "netns", "exec", name, "iptables-legacy-restore")
	v.before = v.now()
	v.run("", "migrate", "plan", "--netns", name, "--state", v.state, "-o", v.plan)
	return v
}

func (v *victim) run(input, name string, args ...string) string {
	v.Helper()
	c := exec.Command(name, args...)
	c.Stdin = strings.NewReader(input)
	out, err := c.CombinedOutput()
	if err != nil {
		v.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// now is what the namespace holds, without times.
func (v *victim) now() string {
	v.Helper()
	var b strings.Builder
	for line := range strings.Lines(v.run("", "ip", "netns", "exec", v.name, "iptables-legacy-save")) {
		if line[0] != '#' {
			b.WriteString(line)
		}
	}
	return b.String() + v.run("", "ip", "netns", "exec", v.name, "nft", "list", "ruleset")
}

// start starts an apply that nobody will confirm, and returns it with its output.
func (v *victim) start(timeout time.Duration, prepare func(*exec.Cmd)) (*exec.Cmd, *bytes.Buffer) {
	v.Helper()
	c := exec.Command("migrate", "apply", "--state", v.state, "--timeout", timeout.String(), v.plan)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if prepare != nil {
		prepare(c)
	}
	if err := c.Start(); err != nil {
		v.Fatal(err)
	}
	return c, &out
}

// settle waits until nothing is open. When the process died before there were guards,
// nothing was changed, and the next command ends it.
func (v *victim) settle() {
	v.Helper()
	const patience = time.Minute
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		_ = exec.Command("migrate", "recover", "--state", v.state).Run()
		out, err := exec.Command("migrate", "status", "--state", v.state).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(v.state, "migrations", "1", "guard-1.log"))
			v.Fatalf("after %v: %s\n%s", patience, out, log)
		}
	}
}

// TestApplyDies is G2 and G3: the process is killed, hung up on or terminated at points
// all over its way, and the old rules are in effect when the deadline is over.
func TestApplyDies(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("ip"), testkit.Tool("iptables-legacy-restore"), testkit.Tool("nft"))
	whole := newVictim(t, fmt.Sprintf("migrate-whole-%d", os.Getpid()))
	begin := time.Now()
	c, out := whole.start(time.Second, nil)
	if err := c.Wait(); err == nil || c.ProcessState.ExitCode() != exitRolledBack {
		t.Fatalf("an apply that nobody confirms: %v\n%s", err, out)
	}
	took := time.Since(begin) - time.Second
	var committed atomic.Int32
	const points = 8
	t.Run("points", func(t *testing.T) {
		for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGHUP, syscall.SIGTERM} {
			for i := range points {
				if signal != syscall.SIGKILL && i%3 != 1 {
					continue
				}
				t.Run(fmt.Sprintf("%v at %d of %d", signal, i, points), func(t *testing.T) {
					t.Parallel()
					v := newVictim(t, fmt.Sprintf("migrate-kill-%d-%d-%d", os.Getpid(), signal, i))
					c, out := v.start(time.Second, nil)
					time.Sleep(took * time.Duration(i) / (points - 2)) // the last ones while it waits
					_ = c.Process.Signal(signal)
					_ = c.Wait()
					if strings.Contains(out.String(), "\ncommitted ") {
						committed.Add(1)
					}
					v.settle()
					if now := v.now(); now != v.before {
						t.Errorf("afterwards there is\n%s\nwant\n%s\nit said\n%s", now, v.before, out)
					}
				})
			}
		}
	})
	if committed.Load() == 0 {
		t.Error("no apply came as far as the commit, so the points are badly chosen")
	}
}

// TestTerminalGone is G3: nobody reads what it says any more, which is what a terminal
// that is gone is like.
func TestTerminalGone(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("ip"), testkit.Tool("iptables-legacy-restore"), testkit.Tool("nft"))
	v := newVictim(t, fmt.Sprintf("migrate-pipe-%d", os.Getpid()))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	c, _ := v.start(time.Second, func(c *exec.Cmd) { c.Stdout, c.Stderr = w, w })
	w.Close()
	_ = c.Wait()
	v.settle()
	if now := v.now(); now != v.before {
		t.Errorf("afterwards there is\n%s\nwant\n%s", now, v.before)
	}
}
