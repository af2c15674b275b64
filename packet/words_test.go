package packet

import (
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	tests := []struct{ args, want string }{
		{
			"--in eth0 --tcp 10.0.0.7:4000-192.0.2.1:22 --syn --ct new",
			"in eth0 10.0.0.7:4000 > 192.0.2.1:22 tcp syn length 40, ct new",
		},
		{
			"--in eth0 --tcp [2001:db8::7]:4000-[2001:db8::1]:22 --ack --psh --ct established,reply --ct-mark 0x10",
			"in eth0 [2001:db8::7]:4000 > [2001:db8::1]:22 tcp psh,ack length 60, ct established reply mark 0x10",
		},
		{
			"--udp 192.0.2.1:53-10.0.0.7:5353 --uid 1000 --gid 100 --mark 7 --at 1.5",
			"local 192.0.2.1:53 > 10.0.0.7:5353 udp length 28, ct new, mark 0x7, uid 1000 gid 100, at 1.5s",
		},
		{
			"--in=eth0 --icmp 10.0.0.7-192.0.2.1 --type 3/4 --ct=related --ttl 1 --tos 0x10",
			"in eth0 10.0.0.7 > 192.0.2.1 icmp type 3/4 ttl 1 tos 0x10 length 28, ct related",
		},
		{
			"--in eth0 --ip 10.0.0.7-192.0.2.1 --proto 47 --length 60 --ct untracked --mac 02:00:00:00:00:09 --pkttype broadcast",
			"in eth0 10.0.0.7 > 192.0.2.1 protocol 47 length 60, mac 02:00:00:00:00:09, to broadcast, ct untracked",
		},
		{
			"--in eth0 --tcp 10.0.0.7:1-192.0.2.1:2 --fragment 16+ --payload 0011223344556677 --ct invalid",
			"in eth0 10.0.0.7 > 192.0.2.1 tcp fragment at 16 more length 28, ct invalid",
		},
		{
			"--in eth0 --tcp 10.0.0.7:1-192.0.2.1:2 --keep 4",
			"in eth0 10.0.0.7:1 > 192.0.2.1:2 tcp truncated to 4 bytes length 24, ct new",
		},
	}
	for _, tt := range tests {
		p, err := ParseWords(strings.Fields(tt.args))
		if err != nil {
			t.Errorf("%s: %v", tt.args, err)
			continue
		}
		if got := p.String(); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.args, got, tt.want)
		}
	}
}

func TestWordsRefuse(t *testing.T) {
	for _, args := range []string{
		"--nonsense", "--in", "--syn=1", "--tcp 10.0.0.1", "--tcp x-y", "--tcp 10.0.0.1:70000-10.0.0.2:1",
		"--ttl 256", "--fragment 3", "--ct maybe", "--mac 1:2", "--payload 0", "--at -1", "--at NaN", "--type 256",
		"--pkttype loop", "--ip 10.0.0.1-::1", "--tcp 10.0.0.1:1-10.0.0.2:2 --length 20",
	} {
		if p, err := ParseWords(strings.Fields(args)); err == nil {
			t.Errorf("%s is read as %v", args, p)
		}
	}
}

func FuzzParseWords(f *testing.F) {
	f.Add("--in eth0 --tcp 10.0.0.7:4000-192.0.2.1:22 --syn --ct new")
	f.Add("--hex 4500001c --length 65535")
	f.Fuzz(func(t *testing.T, line string) {
		if p, err := ParseWords(strings.Fields(line)); err == nil && p.String() == "" {
			t.Error("no words")
		}
	})
}
