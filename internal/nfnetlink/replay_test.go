package nfnetlink_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
)

// replayed are rulesets with what is hard to make again.
var replayed = []struct{ name, tool, text string }{
	{"chains and jumps", "nft", `
table inet t {
	chain later { counter accept comment "from above"; }
	chain input { type filter hook input priority -5; policy drop; tcp dport 22 jump early; goto later; }
	chain early { ip saddr 192.0.2.0/24 counter packets 5 bytes 700 return; meta mark set ct mark; }
}
table ip6 t { chain c { ip6 daddr 2001:db8::1 reject with icmpv6 type admin-prohibited; }; }`},
	{"bound chain", "nft", `
table ip t { chain c { type filter hook forward priority 0; tcp dport 22 jump { ip saddr 192.0.2.1 accept; drop; }; udp dport 1 goto { counter; }; }; }`},
	{"sets and maps", "nft", `
table inet t {
	set plain { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.7 comment "seven" } }
	set spans { type ipv4_addr; flags interval; auto-merge; elements = { 10.0.0.0/8, 192.0.2.0-192.0.2.9, 255.255.255.0-255.255.255.255 } }
	set timed { type ipv4_addr; timeout 1h; size 100; flags dynamic,timeout; elements = { 192.0.2.1 timeout 2h expires 1h, 192.0.2.2 } }
	set pairs { type ipv4_addr . inet_service; flags interval; counter; elements = { 10.0.0.0/8 . 80-90, 192.0.2.1 . 22 counter packets 3 bytes 9 } }
	set marks { type mark; elements = { 0x1, 0x22 } }
	set six { typeof ip6 saddr; elements = { 2001:db8::1 } }
	map ports { type inet_service : ipv4_addr; elements = { 80 : 192.0.2.1, 443 : 192.0.2.2 } }
	map tomark { type ipv4_addr : mark; elements = { 192.0.2.1 : 0x01 } }
	map verdicts { type inet_service : verdict; flags interval; elements = { 1-5 : jump ssh, 22 : goto ssh, 80 : drop } }
	chain ssh { ip saddr @spans accept; }
	chain c {
		ip saddr . tcp dport @pairs accept
		tcp dport vmap @verdicts
		tcp dport vmap { 22 : jump ssh, 23 : drop }
		tcp dport { 80, 443, 8000-8100 } accept
		ip saddr . tcp dport { 192.0.2.1 . 22, 192.0.2.2 . 23 } accept
		meta mark set ip saddr map @tomark
		iifname { "lo", "eth*" } accept
		add @timed { ip saddr timeout 5m }
		update @timed { ip saddr limit rate over 5/minute counter } drop
		delete @timed { ip saddr }
	}
}`},
	{"objects", "nft", `
table inet t {
	counter hits { packets 12 bytes 3400 }
	quota q { over 10 mbytes used 1 mbytes }
	limit l { rate 400/minute burst 7 packets }
	ct helper ftp { type "ftp" protocol tcp; }
	ct timeout short { protocol tcp; l3proto ip; policy = { established : 100, close : 4 }; }
	ct expectation e { protocol tcp; dport 9876; timeout 2m; size 12; l3proto ip; }
	synproxy s { mss 1460; wscale 7; timestamp sack-perm; }
	map byport { type inet_service : counter; elements = { 80 : "hits" } }
	chain c { counter name "hits"; quota name "q" drop; limit name "l" accept; ct helper set "ftp"; counter name tcp dport map @byport; }
}`},
	{"expressions", "nft", `
table inet t {
	chain nat { type nat hook prerouting priority -100; meta l4proto tcp dnat ip to 192.0.2.1:80-90 random,persistent; tcp dport 81 redirect to :8080; }
	chain post { type nat hook postrouting priority 100; meta l4proto tcp masquerade to :1024-2048 random; ip saddr 10.0.0.0/8 snat ip prefix to ip saddr map { 10.0.0.0/24 : 192.0.2.0/24 }; }
	chain route { type route hook output priority -150; meta mark set 0x5 ; }
	chain c {
		ct state new,established ct direction original accept
		ct original ip saddr 192.0.2.1 ct bytes > 100 ct mark and 0xff == 0x12 accept
		ct label set 5
		ct mark set meta mark and 0xffff or 0x10000
		limit rate over 10 mbytes/second burst 5 kbytes drop
		log prefix "x: " level info flags all
		log group 3 snaplen 128 queue-threshold 5
		tcp option maxseg size set rt mtu
		tcp flags syn / syn,ack,rst,fin tcp option maxseg size 1-500 drop
		tcp option sack-perm exists accept
		reset tcp option timestamp
		exthdr frag exists drop
		meta length > 100 ip ttl 1-64 ip dscp set cs1 accept
		ip6 hoplimit set 64
		fib daddr . iif type local accept
		fib saddr oif missing drop
		numgen random mod 10 < 5 accept
		numgen inc mod 2 vmap { 0 : accept, 1 : drop }
		meta mark set jhash ip saddr . tcp sport mod 16 seed 0xabc offset 100
		socket transparent 1 accept
		rt ip nexthop 192.0.2.1 accept
		osf name "Linux" drop
		meta time "2026-01-01 10:00" meta hour "10:00"-"12:00" meta day "Monday" accept
		meta skuid 1000-2000 meta cgroup 5 meta rtclassid 7 meta pkttype broadcast accept
		meta iif "lo" accept
		quota over 5 mbytes drop
		ct count over 4 reject with tcp reset
		notrack
		@th,16,16 22 accept
		@nh,8,3 0x5 drop
		ip daddr set 192.0.2.9 
		meta nftrace set 1
		ip protocol icmp icmp type echo-request reject with icmp type host-prohibited
		tcp dport 99 tproxy to :100
		ip protocol tcp synproxy mss 1400 wscale 6
		ipsec in reqid 5 accept
	}
}
table ip d { chain c { dup to 192.0.2.1; }; }
table netdev n { chain c { ether type ip counter; }; }
table arp a { chain c { type filter hook input priority 0; arp operation request counter; }; }
table bridge b { chain c { ether saddr 02:00:00:00:00:01 drop; }; }`},
	{"iptables-nft", "iptables-nft-restore", `*filter
:INPUT DROP [7:900]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:guard - [0:0]
[3:180] -A INPUT -p tcp -m tcp --dport 22 -m recent --set --name ssh --mask 255.255.255.255 --rsource
-A INPUT -p tcp -m tcp --dport 22 -m recent --update --seconds 60 --hitcount 4 --name ssh --mask 255.255.255.255 --rsource -j DROP
-A INPUT -p udp -m string --string "attack" --algo bm --to 65535 -j DROP
-A INPUT ! -p tcp -m connmark --mark 0x1 -j guard
-A INPUT -p tcp -m multiport --dports 80,443 -m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 10 --hashlimit-mode srcip --hashlimit-name web -j ACCEPT
-A INPUT -p tcp -m connlimit --connlimit-above 10 --connlimit-mask 32 --connlimit-saddr -j REJECT --reject-with tcp-reset
-A INPUT -m statistic --mode random --probability 0.25 -m comment --comment "a quarter" -j DROP
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A guard -m addrtype --dst-type LOCAL -j LOG --log-prefix "local " --log-level 6
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -i eth0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:8080
-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE --random
COMMIT
`},
}

// passing is what time changes in a listing.
var passing = regexp.MustCompile(` expires [0-9a-z]+`)

// TestReplay loads each ruleset with the tool of its language, makes it again
// from the raw dump in another namespace, and compares dumps and listings.
func TestReplay(t *testing.T) {
	for _, c := range replayed {
		t.Run(c.name, func(t *testing.T) {
			first, source := dial(t)
			second, target := dial(t)
			args := []string{"-f", "-"}
			if c.tool != "nft" {
				args = []string{"--counters"}
			}
			run(t, first, c.text, c.tool, args...)
			loaded := dump(t, source)
			send(t, target, nfnetlink.Replay(loaded.Messages))
			made := dump(t, target)
			if diff := cmp.Diff(printed(loaded.Messages, nfnetlink.KeepElements), printed(made.Messages, nfnetlink.KeepElements)); diff != "" {
				t.Errorf("dumps differ (-loaded +made):\n%s", diff)
			}
			list := func(n *netns.NS) string {
				return passing.ReplaceAllString(run(t, n, "", "nft", "list", "ruleset"), "")
			}
			want, got := list(first), list(second)
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("listings differ (-loaded +made):\n%s", diff)
			}
		})
	}
}
