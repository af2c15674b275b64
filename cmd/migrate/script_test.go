package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/scratch"
)

func TestMain(m *testing.M) {
	scratch.Main()
	testscript.Main(m, map[string]func(){"migrate": main})
}

// TestScript runs the program as a user would; the first word of a script's
// name is the command that it is about.
//
// The conditions nft, ipset, setpriv, kernel, legacy and root say what the machine has. With CI=true
// they hold everywhere, so that what is missing fails a script.
func TestScript(t *testing.T) {
	features := map[string]func() error{
		"nft":     func() error { _, err := exec.LookPath("nft"); return err },
		"ipset":   func() error { _, err := exec.LookPath("ipset"); return err },
		"setpriv": func() error { _, err := exec.LookPath("setpriv"); return err },
		"legacy":  func() error { _, err := exec.LookPath("iptables-legacy-restore"); return err },
		"root": func() error {
			if os.Geteuid() != 0 {
				return os.ErrPermission
			}
			_, err := exec.LookPath("ip")
			return err
		},
		"kernel": func() error {
			n, err := netns.New()
			if err != nil {
				return err
			}
			return n.Close()
		},
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			path, err := exec.LookPath("migrate")
			e.Setenv("MIGRATE", path)
			return err
		},
		Condition: func(name string) (bool, error) {
			probe, ok := features[name]
			if !ok {
				return false, &exec.Error{Name: name, Err: os.ErrNotExist}
			}
			return os.Getenv("CI") == "true" || probe() == nil, nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits, "mode": mode, "netns": namedNS, "confirm": confirm, "migrate-background": interrupted},
	})
}

// exits is "exits CODE PROGRAM ARGUMENT...": the program must exit with the
// code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENT...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		code = ""
		if exit, ok := err.(*exec.ExitError); ok {
			code = exit.ProcessState.String()[len("exit status "):]
		}
	}
	if code != args[0] {
		ts.Fatalf("exit code %q (%v), want %s", code, err, args[0])
	}
}

// mode is "mode BITS FILE": the file must have these permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode BITS FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().Perm().String(); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// madeNS counts the namespaces of scripts, which run side by side.
var madeNS atomic.Int32

// namedNS is "netns VARIABLE": it makes a network namespace that lasts as long
// as the script, and puts its name into the variable.
func namedNS(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: netns VARIABLE")
	}
	name := fmt.Sprintf("migrate-test-%d-%d", os.Getpid(), madeNS.Add(1))
	ts.Check(ts.Exec("ip", "netns", "add", name))
	ts.Defer(func() { ts.Check(ts.Exec("ip", "netns", "delete", name)) })
	ts.Setenv(args[0], name)
}

// token is how apply tells what confirms.
var token = regexp.MustCompile(`migrate confirm .*([a-z2-9]{4}-[a-z2-9]{4}-[a-z2-9]{4})`)

// confirm is "confirm STATE FILE": it confirms with the token that apply told in a file.
func confirm(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: confirm STATE FILE")
	}
	found := token.FindStringSubmatch(ts.ReadFile(args[1]))
	if found == nil {
		ts.Fatalf("%s tells no token", args[1])
	}
	ts.Check(ts.Exec("migrate", "confirm", "--state", args[0], found[1]))
}

// interrupted is "migrate-background NETNS STATE FILE": an apply of a file that is
// interrupted once it waits.
func interrupted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: migrate-background NETNS STATE FILE")
	}
	c := exec.Command("migrate", "apply", "--keep-xt", "--timeout", "5m", "--netns", args[0], "--state", ts.MkAbs(args[1]), ts.MkAbs(args[2]))
	ts.Check(c.Start())
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, _ := exec.Command("migrate", "status", "--state", ts.MkAbs(args[1])).Output()
		if strings.Contains(string(out), "waiting") {
			break
		}
		if time.Now().After(end) {
			_ = c.Process.Kill()
			ts.Fatalf("it is not in effect after a minute: %s", out)
		}
	}
	ts.Check(c.Process.Signal(os.Interrupt))
	_ = c.Wait()
	if code := c.ProcessState.ExitCode(); code != exitRolledBack {
		ts.Fatalf("exit code %d, want %d", code, exitRolledBack)
	}
}
