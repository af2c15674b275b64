package live

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nftmigrate/diag"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
	"nftmigrate/ipset"
)

// loaded are sets of all types that the kernel of the tests has, with all options
// and extensions.
const loaded = `create a hash:ip family inet hashsize 64 maxelem 10 netmask 24 timeout 5000 counters comment skbinfo bucketsize 12 initval 0xd5837d20
add a 1.1.1.0 timeout 0 packets 1 bytes 2 comment "x y" skbmark 0x1/0x3 skbprio 1:2 skbqueue 3
add a 1.1.2.0 timeout 4000 packets 0 bytes 18446744073709551614 skbmark 0x5
create a6 hash:ip family inet6 hashsize 64 maxelem 10 netmask 64 bucketsize 4 initval 0x00000001
add a6 2001:db8::
create b hash:net family inet hashsize 1024 maxelem 65536 comment forceadd
add b 10.0.0.0/8 comment "all"
add b 10.1.2.3 nomatch comment "one"
create b6 hash:net family inet6
add b6 2001:db8::/32 nomatch
add b6 ::ffff:1.2.3.4
create c hash:ip,port family inet timeout 0
add c 1.2.3.0,tcp:80 timeout 0
add c 1.2.3.0,icmp:echo-request timeout 900
add c 1.2.3.0,200:0
create c6 hash:ip,port family inet6
add c6 ::1,ipv6-icmp:138/1
create d hash:ip,port,ip family inet
add d 1.1.1.1,udp:53,2.2.2.2
create e hash:ip,port,net family inet
add e 1.1.1.1,sctp:5,10.0.0.0/8 nomatch
create f hash:net,port family inet
add f 10.1.0.0/16,esp:0
create g hash:net,iface family inet
add g 10.0.0.0/8,eth wildcard
add g 10.0.0.0/8,physdev:eth1 nomatch
add g 0.0.0.0/0,eth3
create h bitmap:ip range 10.0.0.0-10.0.0.255 netmask 28 timeout 5000 counters comment skbinfo
add h 10.0.0.0 timeout 4000 packets 1 bytes 2 comment "q" skbmark 0x5
create i bitmap:port range 10-20
add i 12
create j bitmap:ip,mac range 10.0.0.0-10.0.255.255
add j 10.0.0.1
add j 10.0.0.2,00:01:02:0A:04:05
create k list:set size 8 timeout 600 counters
add k b timeout 0 packets 1 bytes 2
add k i timeout 500
create empty hash:ip
`

// both returns what Save and ipset say of the sets that a text makes.
func both(t *testing.T, text string) (ours, theirs string) {
	t.Helper()
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("ipset"))
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	restore := ns.Command("ipset", "restore")
	restore.Stdin = strings.NewReader(text)
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("ipset restore: %v %s", err, out)
	}
	var saved []byte
	if err := ns.Do(func() (err error) {
		saved, err = Save()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	out, err := ns.Command("ipset", "save").Output()
	if err != nil {
		t.Fatal(err)
	}
	return canonical(t, string(saved)), canonical(t, string(out))
}

// canonical returns a text as ipset.Print has it, with lines sorted and without
// the last digits of times.
func canonical(t *testing.T, text string) string {
	t.Helper()
	sets, list := ipset.Parse(diag.NewSource("test", []byte(text)))
	if len(list) > 0 {
		t.Fatalf("%v: %s\n%s", list, list[0].Detail, text)
	}
	var b bytes.Buffer
	if err := ipset.Print(&b, sets); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, l := range lines {
		words := strings.Split(l, " ")
		if n := slices.Index(words, "timeout"); n > 0 && words[0] == "add" {
			var left int
			fmt.Sscan(words[n+1], &left)
			words[n+1] = fmt.Sprint((left + 99) / 100 * 100)
			lines[i] = strings.Join(words, " ")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestSave(t *testing.T) {
	ours, theirs := both(t, loaded)
	// The one of ipset 7.17 forgets the option.
	if !strings.Contains(ours, " forceadd ") {
		t.Error("Save leaves out forceadd")
	}
	if strings.ReplaceAll(ours, " forceadd", "") != strings.ReplaceAll(theirs, " forceadd", "") {
		t.Errorf("Save says\n%s\nipset says\n%s", ours, theirs)
	}
	if !strings.Contains(ours, "create empty ") {
		t.Error("Save leaves out a set without elements")
	}
}

// TestSaveLarge reads sets that take many messages, one behind the other.
func TestSaveLarge(t *testing.T) {
	var text strings.Builder
	for s := range 3 {
		fmt.Fprintf(&text, "create s%d hash:ip\n", s)
		for i := range 20_000 {
			fmt.Fprintf(&text, "add s%d 10.%d.%d.%d\n", s, s, i>>8, i&0xff)
		}
	}
	ours, theirs := both(t, text.String())
	if ours != theirs {
		t.Errorf("Save and ipset disagree; %d against %d lines", strings.Count(ours, "\n"), strings.Count(theirs, "\n"))
	}
}

func TestSaveNone(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := ns.Do(func() error {
		text, err := Save()
		if len(text) > 0 {
			t.Errorf("Save returns %q", text)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestSaveRefused gives up the right to read the sets of a namespace.
func TestSaveRefused(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	err = ns.Do(func() error {
		var caps [2]unix.CapUserData // the thread ends with the call
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &caps[0]); err != nil {
			t.Fatal(err)
		}
		_, err := Save()
		return err
	})
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("without rights Save says: %v", err)
	}
}
