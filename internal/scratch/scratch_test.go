package scratch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nftmigrate/diag"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/scratch"
	"nftmigrate/internal/testkit"
)

func TestMain(m *testing.M) {
	scratch.Main()
	os.Exit(m.Run())
}

// asUser makes TestAsOrdinaryUser run its body.
const asUser = "SCRATCH_TEST_AS_USER"

const small = `table inet t {
	set s { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 } }
	chain c { type filter hook input priority 0; ip saddr @s tcp dport { 22, 80 } jump d; }
	chain d { counter drop; }
}
`

func source(name, text string) *diag.Source { return diag.NewSource(name, []byte(text)) }

func checkSmall(t *testing.T) {
	t.Helper()
	r, list, err := scratch.Load(context.Background(), source("small.nft", small))
	if err != nil || list != nil {
		t.Fatal(err, list)
	}
	kinds := map[int]int{}
	for _, m := range r.Batch {
		kind, _ := nfnetlink.Kind(m)
		kinds[kind]++
	}
	want := map[int]int{unix.NFT_MSG_NEWTABLE: 1, unix.NFT_MSG_NEWCHAIN: 2, unix.NFT_MSG_NEWSET: 2, unix.NFT_MSG_NEWSETELEM: 2, unix.NFT_MSG_NEWRULE: 2}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("messages of the batch (-want +got):\n%s", diff)
	}
	if !strings.Contains(r.Listing, "ip saddr @s tcp dport { 22, 80 } jump d") {
		t.Errorf("listing lacks the rule:\n%s", r.Listing)
	}
}

func TestCompile(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	outside, err := netns.Inode()
	if err != nil {
		t.Fatal(err)
	}
	checkSmall(t)
	batch, list, err := scratch.Compile(context.Background(), source("empty.nft", ""))
	if err != nil || list != nil || len(batch) != 0 {
		t.Errorf("empty text: %d messages, error %v, want none", len(batch), err)
	}
	if after, err := netns.Inode(); err != nil || after != outside {
		t.Errorf("thread is in namespace %d, error %v, want %d", after, err, outside)
	}
}

// TestAsOrdinaryUser compiles as a user without rights, in a process of its
// own.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Getenv(asUser) == "" {
		testkit.Need(t, testkit.Root, testkit.UserNS, testkit.Tool("nft"))
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestAsOrdinaryUser$", "-test.v")
		cmd.Dir = "/"
		cmd.Env = append(os.Environ(), asUser+"=1", "TMPDIR=/tmp", "CI=true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("as an ordinary user: %v\n%s", err, out)
		}
		return
	}
	if os.Geteuid() == 0 {
		t.Fatal("still root")
	}
	checkSmall(t)
	_, list, err := scratch.Compile(context.Background(), source("bad.nft", "table ip t {\n\tchain c { nonsense }\n}\n"))
	if err != nil || !list.HasErrors() || list[0].Subject.Line() != 2 {
		t.Errorf("bad text: %v, error %v, want a diagnostic on line 2", list, err)
	}
	var big strings.Builder
	big.WriteString("table ip t {\n\tchain c {\n")
	for i := range 5000 {
		fmt.Fprintf(&big, "\t\tip saddr 10.0.%d.%d tcp dport 22 counter accept comment \"number %d\"\n", i/256, i%256, i)
	}
	big.WriteString("\t}\n}\n")
	batch, _, err := scratch.Compile(context.Background(), source("big.nft", big.String()))
	var missing *scratch.MissingError
	switch {
	case err == nil && len(batch) == 5002: // this nft sizes its buffer without force
	case errors.As(err, &missing) && errors.Is(err, unix.EMSGSIZE):
	default:
		t.Errorf("big text: %d messages, error %v, want all or a MissingError", len(batch), err)
	}
}

func TestTextErrors(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	for _, c := range []struct {
		name, text string
		want       string // place and code
		subject    string // text of the first range
	}{
		{"syntax", "table ip t {\n\tchain c { tcp dprt 22 }\n}\n", "x.nft:2:16 nft-refused", "dprt"},
		{"kernel", "table ip t {\n\tchain c { jump missing; }\n}\n", "x.nft:2:17 nft-refused", "missing"},
		{"include", "# include \"a\"\ntable ip t { chain c { comment \"include\"; }; }\ninclude \"/etc/hostname\"\n", "x.nft:3:1 nft-include", "include"},
		{"include behind a line continuation", "include\\\n\"/etc/hostname\"", "x.nft:1:1 nft-include", "include"},
		{"zero byte", "table ip t { }\n\x00flush ruleset\n", "x.nft:2:1 nft-zero-byte", "\x00"},
		{"not text", "\xff\xfe{{{", "x.nft:1:1 nft-refused", "\xff"},
	} {
		t.Run(c.name, func(t *testing.T) {
			batch, list, err := scratch.Compile(context.Background(), source("x.nft", c.text))
			if err != nil || batch != nil || !list.HasErrors() {
				t.Fatalf("Compile = %v, %v, %v, want errors in the list alone", batch, list, err)
			}
			var got []string
			for _, d := range list {
				got = append(got, d.Subject.String()+" "+d.Code)
			}
			if got[0] != c.want { // nft stumbles on after the first
				t.Errorf("diagnostics %q, want %q first", got, c.want)
			}
			if text := list[0].Subject.Text(); text != c.subject {
				t.Errorf("subject %q, want %q", text, c.subject)
			}
			var out strings.Builder
			if err := diag.Write(&out, list); err != nil || out.Len() == 0 {
				t.Errorf("diagnostics do not print: %v", err)
			}
		})
	}
}

func TestMissingNft(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, _, err := scratch.Compile(context.Background(), source("small.nft", small))
	var missing *scratch.MissingError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "nft") {
		t.Errorf("Compile without nft = %v, want a MissingError that names it", err)
	}
}

func TestCancelled(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	if _, _, err := scratch.Compile(ctx, source("small.nft", small)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Compile after the deadline = %v, want DeadlineExceeded", err)
	}
}
