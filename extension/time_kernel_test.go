package extension

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// TestTimeNow has rules around the time at which it runs, since no namespace has a
// clock of its own, and sends a packet through both engines of the kernel.
func TestTimeNow(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"))
	for {
		now := time.Now().UTC()
		// Midnight is not to be near.
		if now.Add(time.Minute).Day() != now.Day() || now.Add(-time.Minute).Day() != now.Day() {
			time.Sleep(time.Second)
			continue
		}
		save, want := timeRules(now)
		p, err := packet.Spec{Proto: packet.UDP, SrcPort: 4000, DstPort: 9, In: "eth0", State: packet.New}.Packet()
		if err != nil {
			t.Fatal(err)
		}
		both := engines(t, save)
		if time.Since(now) > 20*time.Second {
			continue // the rules are about another time already
		}
		both.mark(t, 0, p, want)
		if t.Failed() {
			t.Logf("at %s:\n%s", now.Format(time.RFC3339), save)
		}
		return
	}
}

// timeRules returns rules around a time of which each sets a bit, and the bits of
// those that hold.
func timeRules(now time.Time) (save string, want uint32) {
	clock := func(later time.Duration) string { return now.Add(later).Format("15:04:05") }
	date := func(later time.Duration) string { return now.Add(later).Format("2006-01-02T15:04:05") }
	weekday := func(days int) string { return now.AddDate(0, 0, days).Format("Mon") }
	month := func(days int) string { return fmt.Sprint(now.AddDate(0, 0, days).Day()) }
	const moment, hour = 30 * time.Second, time.Hour
	// Each with whether it holds.
	rules := []struct {
		match string
		holds bool
	}{
		{"--timestart " + clock(-moment) + " --timestop " + clock(moment), true},
		{"--timestart " + clock(moment) + " --timestop " + clock(hour), false},
		{"--timestart " + clock(-hour) + " --timestop " + clock(-1*time.Second), false},
		{"--timestart " + clock(moment) + " --timestop " + clock(-moment), false},
		{"--weekdays " + weekday(0), true},
		{"! --weekdays " + weekday(0), false},
		{"--weekdays " + weekday(-1) + "," + weekday(1), false},
		{"--monthdays " + month(0), true},
		{"! --monthdays " + month(0), false},
		{"--monthdays " + month(-1) + "," + month(1), false},
		{"--datestart " + date(-moment) + " --datestop " + date(moment), true},
		{"--datestart " + date(moment), false},
		{"--datestop " + date(-1*time.Second), false},
		{"--timestart " + clock(-moment) + " --timestop " + clock(-moment) + " --weekdays " + weekday(0), true},
		{"--kerneltz --monthdays " + month(0) + " --weekdays " + weekday(0), true},
		{"--timestart " + clock(2*moment) + " --timestop " + clock(moment) + " --contiguous --weekdays " + weekday(-1), true},
		{"--timestart " + clock(2*moment) + " --timestop " + clock(moment) + " --contiguous --weekdays " + weekday(0), false},
		{"--timestart " + clock(2*moment) + " --timestop " + clock(moment) + " --contiguous --monthdays " + month(-1), true},
		{"--timestart " + clock(-moment) + " --timestop " + clock(-2*moment) + " --contiguous --monthdays " + month(0), true},
	}
	var b strings.Builder
	b.WriteString("*mangle\n")
	for i, r := range rules {
		fmt.Fprintf(&b, "-A PREROUTING -m time %s -j MARK --or-mark %#x\n", r.match, 1<<i)
		if r.holds {
			want |= 1 << i
		}
	}
	return b.String() + "COMMIT\n", want
}
