package kernel

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// hostState is what a machine must not change in the namespace of the process.
func hostState(t *testing.T) string {
	t.Helper()
	c, err := nfnetlink.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	generation, err := nfnetlink.Generation(c)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.Write(be32(generation))
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		b.WriteString(l.Name + l.Flags.String() + " ")
	}
	for _, name := range []string{"net/ip_tables_names", "net/ip6_tables_names", "sys/net/ipv4/ip_forward", "sys/net/ipv4/icmp_ratemask",
		"sys/net/ipv6/conf/all/forwarding", "sys/net/ipv4/conf/lo/route_localnet", "net/route"} {
		// A table name file that is not there says that there are no tables.
		data, err := os.ReadFile("/proc/thread-self/../../" + name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		b.WriteString(name + ": " + string(data))
	}
	return b.String()
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestNoTrace: neither use nor failure leaves anything in the namespace of the
// process, or an open file.
func TestNoTrace(t *testing.T) {
	needKernel(t)
	batch := compile(t, randomNFT)
	before, inode := hostState(t), namespace(t)
	files := openFiles(t)
	bad := testHost()
	bad.Devices[2].Name = bad.Devices[1].Name
	for range 3 {
		for _, make := range []func() (*Machine, error){
			func() (*Machine, error) { return NewXtables(testHost(), []byte(randomV4), []byte(randomV6), Options{}) },
			func() (*Machine, error) { return NewNftables(testHost(), batch, Options{}) },
			func() (*Machine, error) { return NewXtables(bad, nil, nil, Options{}) },
			func() (*Machine, error) { return NewXtables(testHost(), []byte("*filter\n-A NONE\n"), nil, Options{}) },
			func() (*Machine, error) {
				return NewNftables(testHost(), append(batch[:len(batch):len(batch)], batch[len(batch)-1], ruleMessage("no chain")), Options{})
			},
		} {
			m, err := make()
			if err != nil {
				continue
			}
			for _, s := range []packet.Spec{syn(22), syn(23), {Proto: packet.UDP, Src: addr("192.0.2.1"), Dst: addr("198.51.100.9"), ID: 1, Socket: root}} {
				if _, err := m.Run(build(t, s)); err != nil {
					t.Error(err)
				}
			}
			func() {
				defer func() { recover() }()
				defer m.Close()
				panic("with a machine open")
			}()
			if _, err := m.Run(build(t, syn(22))); !errors.Is(err, netns.ErrClosed) {
				t.Errorf("Run of a closed machine: %v, want %v", err, netns.ErrClosed)
			}
			if err := m.Close(); err != nil {
				t.Errorf("second Close: %v", err)
			}
		}
	}
	if after := hostState(t); after != before || namespace(t) != inode {
		t.Errorf("the host changed:\nbefore %q\nafter  %q", before, after)
	}
	if n := openFiles(t); n != files {
		t.Errorf("%d open files, were %d", n, files)
	}
}

func namespace(t *testing.T) uint64 {
	t.Helper()
	inode, err := netns.Inode()
	if err != nil {
		t.Fatal(err)
	}
	return inode
}

func TestErrors(t *testing.T) {
	needKernel(t)
	var ruleset *RulesetError
	if _, err := NewXtables(testHost(), []byte("*filter\n-A INPUT -j NOSUCH\nCOMMIT\n"), nil, Options{}); !errors.As(err, &ruleset) {
		t.Errorf("a wrong rule: %v, want a RulesetError", err)
	}
	batch := compile(t, empty)
	batch = append(batch, batch[len(batch)-1])
	batch[len(batch)-1].Data = append([]byte(nil), batch[0].Data...)
	var commit *nfnetlink.CommitError
	if _, err := NewNftables(testHost(), batch, Options{}); !errors.As(err, &ruleset) || !errors.As(err, &commit) || commit.Failures[0].Index != len(batch)-1 {
		t.Errorf("a wrong batch: %v, want a RulesetError about message %d", err, len(batch)-1)
	}
	if _, err := NewNftables(testHost(), observerBatch(false)[:1], Options{}); !errors.As(err, &ruleset) {
		t.Errorf("a table of the observers' name: %v, want a RulesetError", err)
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	var missing *MissingError
	if _, err := NewXtables(testHost(), []byte("*filter\nCOMMIT\n"), nil, Options{}); !errors.As(err, &missing) || missing.Kind != "tool" || missing.Name != "iptables-legacy-restore" {
		t.Errorf("without tools: %v, want a MissingError that names iptables-legacy-restore", err)
	}
	// A tool that loads nothing at all stands for a kernel without xtables.
	if err := os.WriteFile(filepath.Join(dir, "ip6tables-legacy-restore"), []byte("#!/bin/sh\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := NewXtables(testHost(), nil, []byte("*filter\nCOMMIT\n"), Options{}); !errors.As(err, &missing) || missing.Kind != "kernel feature" || missing.Name != "CONFIG_IP6_NF_FILTER" {
		t.Errorf("without xtables: %v, want a MissingError that names CONFIG_IP6_NF_FILTER", err)
	}
}

// TestRejectRate: the limits that the stack puts on its answers are off.
func TestRejectRate(t *testing.T) {
	needKernel(t)
	m := xtables(t, "*filter\n-A INPUT -j REJECT\nCOMMIT\n", "*filter\n-A INPUT -j REJECT\nCOMMIT\n", Options{})
	for i := range 5000 {
		s := packet.Spec{Proto: packet.UDP, SrcPort: 1, DstPort: 2, In: "eth0"}
		want := packet.RejectEvent{Type: 3, Code: 3}
		if i%2 == 1 {
			s.Version, want = 6, packet.RejectEvent{Type: 1, Code: 4}
		}
		f, err := m.Run(build(t, s))
		if err != nil || len(f.Events) != 1 || f.Events[0] != want {
			t.Fatalf("packet %d: %s, %v, want %v", i, describe(f), err, want)
		}
	}
}

// TestOverrun: lost reports are an error and not a lost event.
func TestOverrun(t *testing.T) {
	needKernel(t)
	m := xtables(t, "*filter\n"+strings.Repeat("-A INPUT -j LOG --log-prefix x\n", 300)+"COMMIT\n", "*filter\nCOMMIT\n", Options{})
	f, err := m.Run(build(t, syn(22)))
	if err != nil || len(f.Events) != 300 {
		t.Fatalf("%d events, %v, want 300", len(f.Events), err)
	}
	if err := unix.SetsockoptInt(m.listener.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 2048); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Run(build(t, syn(22))); !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("overrun: %v, want %v", err, unix.ENOBUFS)
	}
}

func TestStats(t *testing.T) {
	needKernel(t)
	m := nftables(t, empty, Options{})
	unknownDevice := with(syn(1), func(s *packet.Spec) { s.In = "eth9" })
	socketless := with(syn(1), func(s *packet.Spec) { s.In = "" })
	var packets []*packet.Packet
	for _, s := range []packet.Spec{syn(1), unknownDevice, socketless, unknownDevice} {
		packets = append(packets, build(t, s))
	}
	outcomes, err := m.RunAll(packets)
	if err != nil || len(outcomes) != 4 || outcomes[0].Err != nil || !errors.Is(outcomes[2].Err, ErrNotRunnable) {
		t.Fatalf("RunAll = %v, %v", outcomes, err)
	}
	got := m.Stats()
	if got.Run != 1 || len(got.Skipped) != 2 || got.Skipped[0].Count != 2 || got.Skipped[1].Count != 1 {
		t.Errorf("Stats = %+v", got)
	}
}

// childVariable marks the process that TestUserNamespace starts.
const childVariable = "KERNEL_TEST_IN_USER_NAMESPACE"

// inUserNamespace runs tests of this binary in a user namespace that knows only
// the user of this process.
func inUserNamespace(t *testing.T, pattern string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run", pattern, "-test.v")
	cmd.Env = append(os.Environ(), childVariable+"=1", "CI=true")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWUSER,
		Unshareflags: syscall.CLONE_NEWNET,
		UidMappings:  []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings:  []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("in a user namespace: %v\n%s", err, out)
	}
	return string(out)
}

// TestUserNamespace runs the machine with no right on the host but to open the
// device node.
func TestUserNamespace(t *testing.T) {
	needKernel(t)
	testkit.Need(t, testkit.UserNS)
	if os.Getenv(childVariable) != "" {
		testkit.NotHere(t, "runs in the first user namespace")
	}
	out := inUserNamespace(t, "^(TestNAT|TestMarkLog|TestStates|TestFlow|TestFragments|TestUnknownOwner)$")
	if strings.Count(out, "\n--- PASS") < 5 {
		t.Errorf("not all tests ran:\n%s", out)
	}
}

// TestUnknownOwner is the part of TestUserNamespace about sockets of users that
// the namespace does not have.
func TestUnknownOwner(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		testkit.NotHere(t, "runs in the user namespace of TestUserNamespace")
	}
	m := nftables(t, empty, Options{})
	p := build(t, packet.Spec{Proto: packet.UDP, Src: addr("192.0.2.1"), Dst: addr("198.51.100.9"), ID: 1, Socket: &packet.Socket{UID: 1234}})
	if _, err := m.Run(p); !errors.Is(err, ErrNotRunnable) {
		t.Errorf("a socket of an unknown user: %v, want %v", err, ErrNotRunnable)
	}
}

// TestNoDevice is about a user who may not open the device node.
func TestNoDevice(t *testing.T) {
	needKernel(t)
	st, err := os.Stat(tunDevice)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm()&0o006 != 0 {
		testkit.NotHere(t, "everyone may open %s here", tunDevice)
	}
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	err = ns.Do(func() error {
		restore, err := become(owner{uid: 65534, gid: 65534})
		if err != nil {
			return err
		}
		defer restore()
		_, err = newDevice(&packet.Device{Name: "eth0"})
		return err
	})
	var missing *MissingError
	if !errors.As(err, &missing) || missing.Kind != "right" || !strings.Contains(missing.Name, tunDevice) {
		t.Errorf("without the right to open the device: %v, want a MissingError that names it", err)
	}
}
