package hosttest

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/testkit"
)

// release is the one of Debian; packages are what its host has beside the base.
const (
	release  = "bookworm"
	packages = "systemd,systemd-sysv,nftables,iptables,iptables-persistent,netfilter-persistent,ipset,ipset-persistent,strace,openssh-server,iproute2"
)

// system returns the directory of a fresh system, which is made once.
func system(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("MIGRATE_HOSTS")
	if cache == "" {
		testkit.NotHere(t, "MIGRATE_HOSTS, a directory for systems, is not set: make test-hosts")
	}
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("systemd-nspawn"), testkit.Tool("nsenter"))
	// Other packages are another system.
	root := filepath.Join(cache, fmt.Sprintf("debian-%s-%08x", release, crc32.ChecksumIEEE([]byte(packages))))
	if _, err := os.Stat(root); err == nil {
		return root
	}
	testkit.Need(t, testkit.Tool("debootstrap"))
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	part := root + ".part"
	if err := os.RemoveAll(part); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("debootstrap", "--variant=minbase", "--include="+packages, release, part)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("debootstrap: %v\n%.4000s", err, out)
	}
	if err := os.Rename(part, root); err != nil {
		t.Fatal(err)
	}
	return root
}

// A machine is a host that can be started, started again, and cut off.
type machine struct {
	t       *testing.T
	root    string // its file system
	console string
	nspawn  *exec.Cmd
	leader  int // its first process
}

// newMachine makes one over a fresh system, which stays as it is.
func newMachine(t *testing.T) *machine {
	t.Helper()
	lower, dir := system(t), t.TempDir()
	m := &machine{t: t, root: filepath.Join(dir, "root"), console: filepath.Join(dir, "console")}
	for _, d := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, filepath.Join(dir, "upper"), filepath.Join(dir, "work"))
	if err := unix.Mount("overlay", m.root, "overlay", 0, layers); err != nil {
		t.Fatalf("lay a file system over %s: %v", lower, err)
	}
	t.Cleanup(func() {
		m.cut()
		if err := unix.Unmount(m.root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return m
}

// boot is the variable that makes the test's program start a machine.
const boot = "HOSTTEST_BOOT"

func TestMain(m *testing.M) {
	if root := os.Getenv(boot); root != "" {
		fmt.Fprintln(os.Stderr, startIn(root))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// startIn becomes systemd-nspawn. It is in a mount namespace of its own, so that
// whatever the machine has mounted for control groups is not touched.
func startIn(root string) error {
	const groups = "/sys/fs/cgroup"
	if err := unix.Mount("cgroup2", groups, "cgroup2", 0, ""); err != nil {
		return fmt.Errorf("mount the control groups: %w", err)
	}
	group := filepath.Join(groups, "nftmigrate-hosttest")
	if err := os.MkdirAll(group, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return err
	}
	path, err := exec.LookPath("systemd-nspawn")
	if err != nil {
		return err
	}
	return syscall.Exec(path, []string{"systemd-nspawn", "--register=no", "--keep-unit", "-D", root, "-M", "nftmigrate-hosttest", "--private-network", "-b"},
		[]string{"PATH=" + os.Getenv("PATH")})
}

// start starts the machine and waits until it is up.
func (m *machine) start() {
	m.t.Helper()
	console, err := os.OpenFile(m.console, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer console.Close()
	m.nspawn = exec.Command(os.Args[0])
	m.nspawn.Env = append(os.Environ(), boot+"="+m.root)
	m.nspawn.Stdout, m.nspawn.Stderr = console, console
	m.nspawn.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := m.nspawn.Start(); err != nil {
		m.t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		m.leader = child(m.nspawn.Process.Pid)
		if m.leader != 0 {
			out, _ := m.try("systemctl", "is-system-running")
			if s := strings.TrimSpace(out); s == "running" || s == "degraded" {
				return
			}
		}
		if time.Now().After(end) || m.nspawn.Process.Signal(syscall.Signal(0)) != nil {
			text, _ := os.ReadFile(m.console)
			m.t.Fatalf("the machine does not start:\n%s", tail(string(text)))
		}
	}
}

func tail(text string) string { return text[max(0, len(text)-3000):] }

// child is the process that another started, 0 when there is none.
func child(pid int) int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// Behind the name, which can hold anything: state, parent.
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			n, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return n
		}
	}
	return 0
}

// try runs a program in the machine.
func (m *machine) try(args ...string) (string, error) {
	cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(m.leader), "-m", "-u", "-i", "-n", "-p", "-C", "--"}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run runs a program in the machine that has to succeed.
func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// reboot starts the machine again in the orderly way.
func (m *machine) reboot() {
	m.t.Helper()
	_, _ = m.try("systemctl", "reboot") // its connection may break before it returns
	stuck := time.AfterFunc(2*time.Minute, func() { _ = m.nspawn.Process.Kill() })
	err := m.nspawn.Wait()
	if !stuck.Stop() {
		m.t.Fatal("the machine does not go down")
	}
	// It ends with this code to be started again.
	const again = 133
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != again {
		m.t.Fatalf("the machine went down: %v", err)
	}
	m.nspawn = nil
	m.start()
}

// cut ends the machine as a power cut does, except that what was written is on the
// disk.
func (m *machine) cut() {
	if m.nspawn == nil {
		return
	}
	if m.leader != 0 {
		_ = syscall.Kill(m.leader, syscall.SIGKILL)
	}
	_ = m.nspawn.Process.Kill()
	_ = m.nspawn.Wait()
	m.nspawn = nil
}
