package transaction

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// arm starts the guards of a migration as processes: this test program again.
func (b *bench) arm(m *Migration) {
	b.Helper()
	b.Setenv("TRANSACTION_TEST", "guard")
	if _, err := m.Arm(context.Background(), GuardCommand{os.Args[0], []string{b.store.Dir(), b.host.dir}}); err != nil {
		log, _ := os.ReadFile(m.guardPath(1) + ".log")
		b.Fatalf("%v\n%s", err, log)
	}
	b.Cleanup(func() {
		for _, p := range m.Guards() {
			_ = unix.Kill(p.PID, unix.SIGKILL)
		}
	})
}

func (b *bench) kill(p Process) {
	b.Helper()
	if err := unix.Kill(p.PID, unix.SIGKILL); err != nil {
		b.Fatal(err)
	}
	for p.Alive() {
		time.Sleep(time.Millisecond)
	}
}

const patience = 30 * time.Second // for machines that are busy

// TestDeadline is G2: nobody says anything, and the old rules come back.
func TestDeadline(t *testing.T) {
	b := newBench(t)
	m, _ := b.begin(300 * time.Millisecond)
	b.arm(m)
	if err := b.host.set("kernel", "new"); err != nil {
		t.Fatal(err)
	}
	if err := m.Committed(); err != nil {
		t.Fatal(err)
	}
	b.eventually(m, RolledBack, patience)
	b.want(m, RolledBack, "old", "old")
	for len(m.Guards()) > 0 { // they end by themselves
		time.Sleep(10 * time.Millisecond)
	}
}

// TestGuardKilled is G2 and G6: one guard is killed, and the other does it.
func TestGuardKilled(t *testing.T) {
	b := newBench(t)
	m, _ := b.begin(time.Second)
	b.arm(m)
	if err := b.host.set("kernel", "new"); err != nil {
		t.Fatal(err)
	}
	if err := m.Committed(); err != nil {
		t.Fatal(err)
	}
	b.kill(m.Guards()[0])
	b.eventually(m, RolledBack, patience)
	b.want(m, RolledBack, "old", "old")
}

// TestApplierDies wants a rollback at once, not at the deadline, when the applier
// dies between the guards and the commit.
func TestApplierDies(t *testing.T) {
	b := newBench(t)
	m, _ := b.begin(time.Hour)
	b.arm(m)
	if err := b.host.set("kernel", "half"); err != nil {
		t.Fatal(err)
	}
	if err := m.enter(Prepared, func(r *Record) { r.Applier.Start++ }); err != nil {
		t.Fatal(err)
	}
	b.eventually(m, RolledBack, patience)
	b.want(m, RolledBack, "old", "old")
}

// TestHang wants a process that holds the lock beyond the deadline to be killed.
func TestHang(t *testing.T) {
	b := newBench(t)
	m, _ := b.begin(300 * time.Millisecond)
	b.arm(m)
	holder := b.stoppedHolder()
	if err := b.host.set("kernel", "new"); err != nil {
		t.Fatal(err)
	}
	if err := m.Committed(); err != nil {
		t.Fatal(err)
	}
	b.eventually(m, RolledBack, patience)
	b.want(m, RolledBack, "old", "old")
	if holder.Alive() {
		t.Error("the process that hung is still there")
	}
}

// TestFinishesConfirmation wants the guards to go on with what a process that died
// had confirmed.
func TestFinishesConfirmation(t *testing.T) {
	b := newBench(t)
	m, _ := b.commit(time.Hour)
	b.arm(m)
	if err := b.host.set("disk", "half"); err != nil {
		t.Fatal(err)
	}
	if err := m.enter(Confirming, nil); err != nil {
		t.Fatal(err)
	}
	b.eventually(m, Confirmed, patience)
	b.want(m, Confirmed, "new", "new")
}

// TestFullDisk wants the old rules back although the record cannot be written, and
// the migration to be closed once it can.
func TestFullDisk(t *testing.T) {
	b := newBench(t)
	m, _ := b.commit(time.Hour)
	dir := m.Dir()
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	err := m.RollBack(context.Background(), b.host.hooks(), "asked for")
	if err == nil || !strings.Contains(err.Error(), "note that it is") {
		t.Errorf("error %v, want one about the record", err)
	}
	if b.host.get("kernel") != "old" {
		t.Error("the old rules are not back")
	}
	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	if err := m.RollBack(context.Background(), b.host.hooks(), "asked for"); err != nil {
		t.Fatal(err)
	}
	b.want(m, RolledBack, "old", "old")
}

// TestRestoreFails wants a rollback that fails to be tried again, and to say why
// until it succeeds.
func TestRestoreFails(t *testing.T) {
	b := newBench(t)
	m, _ := b.commit(time.Millisecond)
	b.host.restoreFails = 2
	var log strings.Builder
	g := Guard{Line: 1, Hooks: b.host.hooks(), Log: &log}
	if err := g.Run(context.Background(), m); err != nil {
		t.Fatal(err)
	}
	b.want(m, RolledBack, "old", "old")
	if n := strings.Count(log.String(), "no memory"); n != 2 {
		t.Errorf("the log tells %d failures, want 2:\n%s", n, log.String())
	}
}
