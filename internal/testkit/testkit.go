package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"nftmigrate/internal/netns"
)

// A Feature is something of the machine that a test can need.
type Feature struct {
	name  string
	probe func() error
}

// String returns the name of the feature.
func (f Feature) String() string { return f.name }

// The features of the machine. Each is tried, not guessed.
var (
	// Root is an effective user ID of 0.
	Root = Feature{"root", probeRoot}
	// NetNS is the right to make a network namespace.
	NetNS = Feature{"network namespace", sync.OnceValue(probeNetNS)}
	// TUN is the right to open /dev/net/tun.
	TUN = Feature{"TUN device", sync.OnceValue(probeTUN)}
	// UserNS is the right to make a user namespace and, in it, a network
	// namespace.
	UserNS = Feature{"user namespace", sync.OnceValue(probeUserNS)}
)

// Tool is a program in the search path.
func Tool(name string) Feature {
	return Feature{"tool " + name, func() error {
		_, err := exec.LookPath(name)
		return err
	}}
}

// Need skips the test when a feature is missing and names each that is. With
// CI=true in the environment a missing feature fails the test instead.
func Need(t testing.TB, needs ...Feature) {
	t.Helper()
	var missing []string
	for _, f := range needs {
		if err := f.probe(); err != nil {
			missing = append(missing, fmt.Sprintf("%s (%v)", f.name, err))
		}
	}
	if missing == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("missing, and CI=true: %s", strings.Join(missing, ", "))
	}
	t.Skipf("missing: %s", strings.Join(missing, ", "))
}

// NotHere skips a test, or a case, that says nothing on this machine although
// nothing is missing: it belongs to another process, or the machine was too
// busy for a test of times. It skips with CI=true too, so it is never for what
// [Need] can name.
func NotHere(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Skipf("not here: "+format, args...)
}

// Corpus returns the directory of real rulesets, from MIGRATE_CORPUS, and
// skips the test when the variable is not set. The rulesets belong to others
// and are not part of the project, so this skips under CI=true too.
func Corpus(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("MIGRATE_CORPUS")
	if dir == "" {
		t.Skip("missing: MIGRATE_CORPUS, the directory of real rulesets")
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		t.Fatalf("MIGRATE_CORPUS=%q: not a directory that can be read", dir)
	}
	return dir
}

func probeRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	return nil
}

func probeNetNS() error {
	n, err := netns.New()
	if err != nil {
		return err
	}
	return n.Close()
}

func probeTUN() error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func probeUserNS() error {
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWUSER,
		Unshareflags: syscall.CLONE_NEWNET,
		UidMappings:  []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings:  []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	return cmd.Run()
}
