package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"nftmigrate/internal/netns"
)

// A router is a namespace between a client and a server, each with one of its
// own.
type router struct {
	client, router, server *netns.NS
}

func newRouter() (*router, error) {
	r := &router{}
	for _, ns := range []**netns.NS{&r.client, &r.router, &r.server} {
		var err error
		if *ns, err = netns.New(); err != nil {
			r.close()
			return nil, err
		}
	}
	err := r.wire("cl", r.client, "198.18.0", "203.0.113.0/24")
	if err == nil {
		err = r.wire("sv", r.server, "198.18.1", "")
	}
	if err == nil {
		err = commands(r.router, "sysctl -qw net.ipv4.ip_forward=1")
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// wire connects a namespace to the router.
func (r *router) wire(name string, ns *netns.NS, network, route string) error {
	// The peer is made in the router and moved by the inode of a thread's
	// namespace; ip knows it as that of a process.
	hold := ns.Command("sleep", "1000")
	if err := hold.Start(); err != nil {
		return err
	}
	defer func() { hold.Process.Kill(); hold.Wait() }()
	pid := strconv.Itoa(hold.Process.Pid)
	if err := commands(r.router,
		"ip link add "+name+"0 type veth peer name eth0 netns "+pid,
		"ip address add "+network+".1/24 dev "+name+"0", "ip link set "+name+"0 up"); err != nil {
		return err
	}
	lines := []string{"ip address add " + network + ".2/24 dev eth0", "ip link set eth0 up"}
	if route != "" {
		lines = append(lines, "ip route add "+route+" via "+network+".1")
	}
	return commands(ns, lines...)
}

func (r *router) close() {
	for _, ns := range []*netns.NS{r.client, r.router, r.server} {
		if ns != nil {
			ns.Close()
		}
	}
}

// sessionRules translate addresses both ways, let nothing begin but what is
// asked for, and have a list of others beside it.
func sessionRules(version int) string {
	var b strings.Builder
	b.WriteString("*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n")
	for i := range 100 {
		fmt.Fprintf(&b, "-A PREROUTING -d 203.0.113.%d/32 -p tcp -m tcp --dport %d -j DNAT --to-destination 198.18.1.2:8080\n", 100+i, 1000+version)
	}
	b.WriteString("-A PREROUTING -d 203.0.113.80/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 198.18.1.2:8080\n" +
		"-A POSTROUTING -o sv0 -j MASQUERADE\nCOMMIT\n" +
		"*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n" +
		"-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "-A FORWARD -s 10.%d.%d.0/24 -p tcp -m tcp --dport %d -j ACCEPT\n", i/200, i%200, 1000+i%50+version)
	}
	b.WriteString("-A FORWARD -i cl0 -o sv0 -d 198.18.1.2/32 -p tcp -m tcp --dport 8080 -j ACCEPT\nCOMMIT\n")
	return b.String()
}

// sessionResult is what became of connections.
type sessionResult struct {
	switches      int
	kept, opened  int // that live since before the first switch; that were opened meanwhile
	lost, refused int
	exchanges     int64
	retransmitted int // segments, by client and server
	took          time.Duration
}

// sessions holds connections open, and opens others, while rules are switched.
func sessions(o options, connections int) (sessionResult, error) {
	var res sessionResult
	r, err := newRouter()
	if err != nil {
		return res, err
	}
	defer r.close()
	var texts [2]string
	var turn func(n int) error
	for i := range texts {
		texts[i] = sessionRules(i)
	}
	first, err := translated(texts[0], o.level)
	if err != nil {
		return res, err
	}
	second, err := translated(texts[1], o.level)
	if err != nil {
		return res, err
	}
	if o.migrate {
		turn, err = migration(r.router, texts[0], first, o.way)
	} else {
		turn = func(n int) error {
			if n%2 == 1 {
				return o.way.commit(r.router, second)
			}
			return o.way.commit(r.router, first)
		}
		err = turn(0)
	}
	if err != nil {
		return res, err
	}
	var listener net.Listener
	if err := r.server.Do(func() (err error) {
		listener, err = net.Listen("tcp4", "198.18.1.2:8080")
		return err
	}); err != nil {
		return res, err
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	dial := func() (c net.Conn, err error) {
		err = r.client.Do(func() (err error) {
			c, err = net.DialTimeout("tcp4", "203.0.113.80:80", 10*time.Second)
			return err
		})
		return c, err
	}
	var wait sync.WaitGroup
	var stop atomic.Bool
	var lost, exchanges atomic.Int64
	for range connections {
		c, err := dial()
		if err != nil {
			return res, fmt.Errorf("open a connection before the first switch: %w", err)
		}
		defer c.Close()
		wait.Go(func() {
			for n := int64(1); !stop.Load(); n++ {
				if err := exchange(c, n); err != nil {
					lost.Add(1)
					return
				}
				exchanges.Add(1)
			}
		})
		res.kept++
	}
	var opened, refused atomic.Int64
	wait.Go(func() {
		for !stop.Load() {
			c, err := dial()
			if err == nil {
				err = exchange(c, 1)
				c.Close()
			}
			if err != nil {
				refused.Add(1)
			}
			opened.Add(1)
			time.Sleep(2 * time.Millisecond)
		}
	})
	before, err := r.retransmitted()
	if err != nil {
		return res, err
	}
	begin := time.Now()
	for n := 1; n <= o.switches && err == nil; n++ {
		err = turn(n)
		res.switches++
		time.Sleep(o.pause)
	}
	res.took = time.Since(begin)
	stop.Store(true)
	wait.Wait()
	after, readErr := r.retransmitted()
	res.retransmitted = after - before
	res.opened, res.refused, res.lost, res.exchanges = int(opened.Load()), int(refused.Load()), int(lost.Load()), exchanges.Load()
	return res, errors.Join(err, readErr)
}

// exchange sends something and wants it back.
func exchange(c net.Conn, n int64) error {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	want := fmt.Sprintf("%0128d", n)
	if _, err := io.WriteString(c, want); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("got %q back, want %q", got, want)
	}
	return nil
}

// retransmitted is how many segments client and server sent again: what a
// switch dropped, or what took too long.
func (r *router) retransmitted() (total int, err error) {
	for _, ns := range []*netns.NS{r.client, r.server} {
		err := ns.Do(func() error {
			text, err := os.ReadFile("/proc/thread-self/net/snmp")
			if err != nil {
				return err
			}
			var names []string
			for line := range strings.Lines(string(text)) {
				words := strings.Fields(line)
				if len(words) == 0 || words[0] != "Tcp:" {
					continue
				}
				if names == nil {
					names = words
					continue
				}
				for i, name := range names {
					if name == "RetransSegs" {
						n, err := strconv.Atoi(words[i])
						total += n
						return err
					}
				}
			}
			return errors.New("/proc/net/snmp has no RetransSegs")
		})
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

func measureSessions(o options) error {
	for _, migrate := range []bool{false, true} {
		o.migrate = migrate
		res, err := sessions(o, 8)
		if err != nil {
			return err
		}
		kind := "nft to nft"
		if migrate {
			kind = "legacy to nft and back"
		}
		fmt.Printf("%s: %d switches in %v; %d sessions with DNAT and masquerade, %d exchanges, %d lost; %d opened meanwhile, %d refused; %d segments sent again\n",
			kind, res.switches, res.took.Round(time.Millisecond), res.kept, res.exchanges, res.lost, res.opened, res.refused, res.retransmitted)
		if res.lost+res.refused > 0 && o.way.name == staged.name {
			return errors.New("sessions were lost")
		}
	}
	return nil
}
