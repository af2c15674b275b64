package transaction

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The host of these tests is two files: what the kernel would hold, and what the
// disk would.
type fakeHost struct {
	dir string
	// fails has each hook fail as often.
	restoreFails, persistFails int
}

func (h *fakeHost) set(name, value string) error {
	return os.WriteFile(filepath.Join(h.dir, name), []byte(value), 0o600)
}

func (h *fakeHost) get(name string) string {
	b, _ := os.ReadFile(filepath.Join(h.dir, name))
	return string(b)
}

func (h *fakeHost) hooks() Hooks {
	fail := func(left *int, what string) error {
		if *left > 0 {
			*left--
			return errors.New(what)
		}
		return nil
	}
	return Hooks{
		Restore: func(context.Context) error {
			return errors.Join(fail(&h.restoreFails, "no memory"), h.set("kernel", "old"))
		},
		Persist: func(context.Context) error {
			if err := h.set("disk", "half"); err != nil {
				return err
			}
			if err := fail(&h.persistFails, "disk full"); err != nil {
				return err
			}
			return h.set("disk", "new")
		},
		Unpersist: func(context.Context) error { return h.set("disk", "old") },
	}
}

// TestMain is a guard, or an applier that hangs, when the environment says so.
func TestMain(m *testing.M) {
	switch os.Getenv("TRANSACTION_TEST") {
	case "":
		os.Exit(m.Run())
	case "guard":
		os.Exit(guardMain(os.Args[1], os.Args[2], os.Args[3]))
	case "holder":
		s, err := OpenStore(os.Args[1])
		if err == nil {
			_, err = s.Lock(context.Background())
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("holds it")
		select {}
	}
}

// stoppedHolder starts a process that takes the lock and is stopped then.
func (b *bench) stoppedHolder() Process {
	b.Helper()
	c := exec.Command(os.Args[0], b.store.Dir())
	c.Env = append(os.Environ(), "TRANSACTION_TEST=holder")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "holds it\n" {
		b.Fatalf("the lock is not held: %q, %v", line, err)
	}
	if err := c.Process.Signal(unix.SIGSTOP); err != nil {
		b.Fatal(err)
	}
	p, err := processOf(c.Process.Pid)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func guardMain(store, host, line string) int {
	s, err := OpenStore(store)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	m, err := s.Open()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	n, _ := strconv.Atoi(line)
	g := Guard{Line: n, Hooks: (&fakeHost{dir: host}).hooks(), Log: os.Stdout}
	if err := g.Run(context.Background(), m); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

type bench struct {
	*testing.T
	store *Store
	host  *fakeHost
}

func newBench(t *testing.T) *bench {
	t.Helper()
	s, err := OpenStore(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHost{dir: t.TempDir()}
	for _, name := range []string{"kernel", "disk"} {
		if err := h.set(name, "old"); err != nil {
			t.Fatal(err)
		}
	}
	return &bench{t, s, h}
}

func (b *bench) begin(timeout time.Duration) (*Migration, string) {
	b.Helper()
	m, token, err := b.store.Begin(Intent{Timeout: timeout, Namespace: 7, Snapshot: func(path string) error {
		return os.WriteFile(path, []byte("snapshot"), 0o600)
	}})
	if err != nil {
		b.Fatal(err)
	}
	return m, token
}

// commit begins a migration and has the new rules in effect.
func (b *bench) commit(timeout time.Duration) (*Migration, string) {
	b.Helper()
	m, token := b.begin(timeout)
	if err := errors.Join(b.host.set("kernel", "new"), m.Committed()); err != nil {
		b.Fatal(err)
	}
	return m, token
}

// want compares what is on disk of a migration with what it should be.
func (b *bench) want(m *Migration, state State, kernel, disk string) {
	b.Helper()
	r, err := readRecord(m.Dir())
	if err != nil {
		b.Fatal(err)
	}
	if r.State != state || b.host.get("kernel") != kernel || b.host.get("disk") != disk {
		b.Errorf("%s (%s), kernel %s, disk %s; want %s, kernel %s, disk %s", r.State, r.Failed, b.host.get("kernel"), b.host.get("disk"), state, kernel, disk)
	}
}

// eventually waits for a state.
func (b *bench) eventually(m *Migration, state State, within time.Duration) {
	b.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if r, err := readRecord(m.Dir()); err == nil && r.State == state {
			return
		}
	}
	b.Fatalf("the migration is not %s after %v", state, within)
}

func TestConfirm(t *testing.T) {
	b := newBench(t)
	m, token := b.commit(time.Minute)
	b.want(m, Waiting, "new", "old") // G8: nothing on disk before the confirmation
	if err := m.Confirm(context.Background(), b.host.hooks(), Confirmation{Token: strings.ToUpper(strings.ReplaceAll(token, "-", ""))}); err != nil {
		t.Fatal(err)
	}
	b.want(m, Confirmed, "new", "new")
	if _, err := b.store.Open(); !errors.Is(err, ErrNone) {
		t.Errorf("after the confirmation a migration is open (%v)", err)
	}
	// Weeks later (G30).
	last, err := b.store.Last()
	if err != nil {
		t.Fatal(err)
	}
	if err := last.RollBack(context.Background(), b.host.hooks(), "asked for"); err != nil {
		t.Fatal(err)
	}
	b.want(m, RolledBack, "old", "old")
}

func connection(remote string) *Connection {
	return &Connection{Local: netip.MustParseAddrPort("192.0.2.1:22"), Remote: netip.MustParseAddrPort(remote)}
}

// TestRefusals is G5: what does not confirm.
func TestRefusals(t *testing.T) {
	old, other, fresh := connection("10.0.0.7:50000"), connection("10.0.0.8:50000"), connection("10.0.0.7:50001")
	for _, c := range []struct {
		name    string
		session *Connection // that applied
		change  func(*Record)
		c       Confirmation
		token   bool // is right
		refused string
	}{
		{name: "wrong token", refused: "not the token"},
		{name: "no session at all", token: true},
		{name: "the session that applied", session: old, token: true, c: Confirmation{Session: old, Connections: []Connection{*old, *other}}, refused: "was there before"},
		{name: "another old session", session: old, token: true, c: Confirmation{Session: other, Connections: []Connection{*old, *other}}, refused: "was there before"},
		{name: "a session that is not open", session: old, token: true, c: Confirmation{Session: fresh, Connections: []Connection{*old}}, refused: "is not open"},
		{name: "a console", session: old, token: true, c: Confirmation{Connections: []Connection{*old}}, refused: "this is none"},
		{name: "a console that says so", session: old, token: true, c: Confirmation{Console: true}},
		{name: "a new session", session: old, token: true, c: Confirmation{Session: fresh, Connections: []Connection{*old, *fresh}}},
		{name: "a new session, wrong token", session: old, c: Confirmation{Session: fresh, Connections: []Connection{*fresh}}, refused: "not the token"},
		{name: "too late", token: true, change: func(r *Record) { r.Deadline = Now() }, refused: "deadline"},
		{name: "after a restart", token: true, change: func(r *Record) { r.Boot = "another" }, refused: "started again"},
		{name: "before the commit", token: true, change: func(r *Record) { r.State = Prepared }, refused: "not in effect"},
		{name: "twice", token: true, change: func(r *Record) { r.State = Confirmed }, refused: "confirmed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			m, token := b.commit(time.Minute)
			m.Record.Session, m.Record.Before = c.session, []Connection{*old, *other}
			if c.change != nil {
				c.change(m.Record)
			}
			c.c.Token = "abcd-efgh-jkmn"
			if c.token {
				c.c.Token = token
			}
			err := m.Confirm(context.Background(), b.host.hooks(), c.c)
			var refusal *Refusal
			if errors.As(err, &refusal) != (c.refused != "") || c.refused != "" && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("error %v, want %q in it", err, c.refused)
			}
			if c.refused != "" && b.host.get("disk") != "old" {
				t.Errorf("the disk was changed by a refused confirmation")
			}
		})
	}
}

// TestOneAtATime is G5: a second migration is refused while one is open.
func TestOneAtATime(t *testing.T) {
	b := newBench(t)
	m, _ := b.commit(time.Minute)
	if _, _, err := b.store.Begin(Intent{Snapshot: func(string) error { return nil }}); err == nil || !strings.Contains(err.Error(), "is open") {
		t.Errorf("a second migration began (%v)", err)
	}
	if err := m.RollBack(context.Background(), b.host.hooks(), "asked for"); err != nil {
		t.Fatal(err)
	}
	b.begin(time.Minute)
}

// TestSnapshotFails is G11: without a snapshot there is no migration.
func TestSnapshotFails(t *testing.T) {
	b := newBench(t)
	_, _, err := b.store.Begin(Intent{Snapshot: func(path string) error { return unix.ENOSPC }})
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("error %v, want ENOSPC", err)
	}
	if list, err := b.store.List(); err != nil || len(list) != 0 {
		t.Errorf("%d migrations are there (%v), want none", len(list), err)
	}
}

// TestPersistFails wants a migration that cannot be made to last to wait on, with
// the disk as it was.
func TestPersistFails(t *testing.T) {
	b := newBench(t)
	m, token := b.commit(time.Minute)
	b.host.persistFails = 1
	if err := m.Confirm(context.Background(), b.host.hooks(), Confirmation{Token: token}); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("error %v, want the disk's", err)
	}
	b.want(m, Waiting, "new", "old")
	if err := m.Confirm(context.Background(), b.host.hooks(), Confirmation{Token: token}); err != nil {
		t.Error(err)
	}
	b.want(m, Confirmed, "new", "new")
}

// TestRecover is what a boot, or the next command, makes of each state that a
// crash can leave (G8, G9, G28).
func TestRecover(t *testing.T) {
	for _, c := range []struct {
		state       State
		again       bool // another boot
		disk        string
		want        State
		kernel, end string
	}{
		{Prepared, true, "old", RolledBack, "new", "old"}, // the kernel of these tests keeps what a boot would lose
		{Waiting, true, "old", RolledBack, "new", "old"},
		{Confirming, true, "half", Confirmed, "new", "new"},
		{RollingBack, true, "half", RolledBack, "new", "old"},
		{Confirmed, true, "new", Confirmed, "new", "new"},
		{Prepared, false, "old", Prepared, "new", "old"}, // the guards' to end
		{Waiting, false, "old", Waiting, "new", "old"},
		{Confirming, false, "half", Confirmed, "new", "new"},
		{RollingBack, false, "half", RolledBack, "old", "old"},
	} {
		t.Run(fmt.Sprintf("%s again=%v", c.state, c.again), func(t *testing.T) {
			b := newBench(t)
			m, _ := b.commit(time.Minute)
			if err := b.host.set("disk", c.disk); err != nil {
				t.Fatal(err)
			}
			err := m.enter(c.state, func(r *Record) {
				if c.again {
					r.Boot = "another"
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time there is nothing to do
				if err := m.Recover(context.Background(), b.host.hooks()); err != nil {
					t.Fatal(err)
				}
			}
			b.want(m, c.want, c.kernel, c.end)
		})
	}
}

// TestAbandoned rolls back what nobody is at work on any more, and nothing else.
func TestAbandoned(t *testing.T) {
	for _, c := range []struct {
		name   string
		state  State
		change func(*Record)
		want   State
	}{
		{"applier at work", Prepared, nil, Prepared},
		{"applier died", Prepared, func(r *Record) { r.Applier.Start++ }, RolledBack},
		{"may still be confirmed", Waiting, func(r *Record) { r.Applier.Start++ }, Waiting},
		{"deadline over", Waiting, func(r *Record) { r.Deadline = Now() }, RolledBack},
	} {
		b := newBench(t)
		m, _ := b.commit(time.Minute)
		if err := m.enter(c.state, func(r *Record) {
			if c.change != nil {
				c.change(r)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if err := m.Recover(context.Background(), b.host.hooks()); err != nil {
			t.Fatal(err)
		}
		kernel := map[State]string{RolledBack: "old"}[c.want]
		if kernel == "" {
			kernel = "new"
		}
		t.Log(c.name)
		b.want(m, c.want, kernel, "old")
	}
}

// TestDamagedRecord wants what cannot be understood to stop everything, not to be
// taken for absent.
func TestDamagedRecord(t *testing.T) {
	for _, damage := range []func(string) string{
		func(s string) string { return s[:len(s)/2] },
		func(s string) string { return strings.Replace(s, `"waiting"`, `"wait"`, 1) },
		func(s string) string { return strings.Replace(s, `"id": "1"`, `"id": "2"`, 1) },
		func(s string) string { return strings.Replace(s, recordSchema, "nftmigrate/migration/9", 1) },
		func(string) string { return "" },
	} {
		b := newBench(t)
		m, _ := b.commit(time.Minute)
		path := filepath.Join(m.Dir(), recordName)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(damage(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := b.store.Open(); err == nil || errors.Is(err, ErrNone) {
			t.Errorf("error %v, want one about the record", err)
		}
	}
}

// TestStoreOfOthers refuses a directory in which others could put a record.
func TestStoreOfOthers(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(dir); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("error %v, want a refusal with its remedy", err)
	}
}

// TestGuardDue is the guard's decision by itself.
func TestGuardDue(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	dead := Process{self.PID, self.Start + 1}
	stopped := make(chan struct{})
	close(stopped)
	later, over := Now().Add(time.Hour), Now().Add(-time.Millisecond)
	for _, c := range []struct {
		name    string
		r       Record
		line    int
		stopped <-chan struct{}
		due     bool
	}{
		{"waits", Record{State: Waiting, Deadline: later, Applier: dead}, 1, nil, false},
		{"deadline", Record{State: Waiting, Deadline: over}, 1, nil, true},
		{"deadline, but the first guard comes first", Record{State: Waiting, Deadline: over}, 2, nil, false},
		{"deadline, long ago", Record{State: Waiting, Deadline: over.Add(-time.Minute)}, 2, nil, true},
		{"applier at work", Record{State: Prepared, Deadline: later, Applier: self}, 1, nil, false},
		{"applier died", Record{State: Prepared, Deadline: later, Applier: dead}, 1, nil, true},
		{"applier hangs", Record{State: Prepared, Deadline: over, Applier: self}, 1, nil, true},
		{"stopped", Record{State: Waiting, Deadline: later}, 1, stopped, true},
		{"somebody confirms", Record{State: Confirming, Deadline: over}, 1, nil, true},
		{"confirmed", Record{State: Confirmed, Deadline: over}, 1, stopped, false},
		{"rolled back", Record{State: RolledBack, Deadline: over}, 1, stopped, false},
	} {
		g := Guard{Line: c.line, Stopped: c.stopped, Log: io.Discard}
		if reason, due := g.due(&c.r); due != c.due {
			t.Errorf("%s: due %v (%s), want %v", c.name, due, reason, c.due)
		}
	}
}
