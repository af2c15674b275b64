package transaction

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// A GuardCommand is how a guard is started: a program and its arguments, to which
// the line is added as the last one.
type GuardCommand struct {
	Program   string
	Arguments []string
}

// armedWithin is how long a guard may take until it is armed: it reads the
// snapshot and opens the namespace first.
const armedWithin = 30 * time.Second

// Arm starts both guards and waits until they are armed. Without two nothing may
// be committed, and the migration is given up. The ways tell how they were
// started, for people.
func (m *Migration) Arm(ctx context.Context, c GuardCommand) (ways []string, err error) {
	for line := 1; line <= 2; line++ {
		way, err := m.startGuard(ctx, c, line)
		if err != nil {
			return nil, fmt.Errorf("start guard %d: %w", line, err)
		}
		ways = append(ways, way)
	}
	end := time.Now().Add(armedWithin)
	for len(m.Guards()) < 2 {
		if time.Now().After(end) {
			return nil, fmt.Errorf("the guards are not armed after %v; %s says why", armedWithin, filepath.Join(m.dir, "guard-*.log"))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return ways, nil
}

// startGuard starts a guard outside of the session: the first as a service of
// systemd, where there is one, since logging out may end every process of a
// session; the others in a session of their own.
//
// Man pages: systemd-run(1), logind.conf(5) KillUserProcesses.
func (m *Migration) startGuard(ctx context.Context, c GuardCommand, line int) (way string, err error) {
	args := append(c.Arguments[:len(c.Arguments):len(c.Arguments)], strconv.Itoa(line))
	if line == 1 && underSystemd() {
		unit := "nftmigrate-guard-" + m.Record.ID
		run := exec.CommandContext(ctx, "systemd-run", append([]string{
			"--quiet", "--collect", "--unit=" + unit, "--slice=system.slice",
			// A guard that is killed is started again, and takes up the deadline
			// that the record tells.
			"--property=Restart=on-failure", "--property=RestartSec=1", "--property=StartLimitIntervalSec=0",
			"--property=OOMScoreAdjust=-1000", "--", c.Program}, args...)...)
		if out, err := run.CombinedOutput(); err == nil {
			return "the service " + unit, nil
		} else if len(out) > 0 {
			way = fmt.Sprintf(" (systemd-run: %.200s)", out)
		}
	}
	log, err := os.OpenFile(m.guardPath(line)+".log", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return "", err
	}
	defer log.Close()
	run := exec.Command(c.Program, args...)
	run.Dir, run.Stdout, run.Stderr = "/", log, log
	run.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := run.Start(); err != nil {
		return "", err
	}
	go func() { _ = run.Wait() }() // its log tells how it ended
	return "a process of its own" + way, nil
}

// underSystemd reports whether systemd runs the machine, or the container, that
// this process is in, and would start services in the same network namespace.
//
// Man page: sd_booted(3).
func underSystemd() bool {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return false
	}
	ours, err := os.Readlink("/proc/thread-self/ns/net")
	first, err2 := os.Readlink("/proc/1/ns/net")
	return errors.Join(err, err2) == nil && ours == first
}
