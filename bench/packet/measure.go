package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nftmigrate/apply"
	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/internal/netns"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// forms are the forms of a ruleset that are compared.
var forms = []string{"empty", "legacy", "level 0", "level 1", "level 2"}

const (
	local     = "192.0.2.1"
	elsewhere = "198.51.100.9"
)

// sink drops what the rules let pass, so that nothing behind them is measured.
const sink = `table ip sink {
	chain input { type filter hook input priority 1000; counter drop; }
	chain forward { type filter hook forward priority 1000; counter drop; }
}
`

// A bed is a namespace with a form of the rules and a device.
type bed struct {
	ns *netns.NS
	fd int // where packets come in

	out int
}

func (b *bed) close() {
	unix.Close(b.fd)
	unix.Close(b.out)
	b.ns.Close()
}

// measure returns the processor time of a packet for each form, in nanoseconds.
func (s shape) measure(n int, hook string, rounds, packets int) (map[string]float64, error) {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	rules := s.write(n, hook, r)
	to := uint32(0xc0000201) // local
	if hook == "FORWARD" {
		to = 0xc6336409 // elsewhere
	}
	list := rules.packets(packets, to, r)
	beds := make(map[string]*bed)
	for _, f := range forms {
		b, err := newBed(f, rules.text(hook))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		defer b.close()
		beds[f] = b
	}
	times := make(map[string][]float64)
	for round := range rounds + 1 {
		for _, f := range forms {
			t, err := beds[f].run(list)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f, err)
			}
			if round > 0 { // the first one warms up
				times[f] = append(times[f], t)
			}
		}
	}
	cost := make(map[string]float64)
	for f, list := range times {
		slices.Sort(list)
		cost[f] = list[len(list)/4] // load from elsewhere only adds
	}
	return cost, nil
}

// newBed makes a namespace with a form of rules.
func newBed(form, text string) (*bed, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	b := &bed{ns: ns, fd: -1, out: -1}
	err = ns.Do(func() (err error) {
		if b.fd, err = device("in0"); err == nil {
			b.out, err = device("out0")
		}
		return err
	})
	if err == nil {
		err = b.setUp(form, text)
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// device makes a TUN device in the namespace of the calling thread.
func device(name string) (fd int, err error) {
	if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("open a TUN device: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("make a TUN device: %w", err)
	}
	return fd, nil
}

func (b *bed) setUp(form, text string) error {
	for _, command := range []string{
		"ip address add " + local + "/24 dev in0", "ip link set in0 up",
		"ip link set out0 up", "ip route add " + elsewhere + " dev out0",
		"sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.in0.rp_filter=0",
	} {
		words := strings.Fields(command)
		if out, err := b.ns.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", command, err, out)
		}
	}
	if err := b.feed(sink, "nft", "-f", "-"); err != nil {
		return err
	}
	switch form {
	case "empty":
		return nil
	case "legacy":
		return b.feed(text, "iptables-legacy-restore")
	}
	rules, list := iptables.Parse(diag.NewSource("bench.v4", []byte(text)), iptables.IPv4, extension.Registry)
	if list.HasErrors() {
		return fmt.Errorf("read the rules: %v", list)
	}
	result, list := translate.Translate(rules, nil, translate.Options{Optimize: int(form[len(form)-1] - '0')})
	if result == nil {
		return fmt.Errorf("translate the rules: %v", list)
	}
	batch, err := nftgen.Encode(result.Ruleset)
	if err != nil {
		return err
	}
	_, err = apply.Commit(context.Background(), b.ns, []apply.Batch{{Messages: batch.Messages}}, apply.Options{})
	return err
}

// feed runs a program with an input.
func (b *bed) feed(text, name string, args ...string) error {
	c := b.ns.Command(name, args...)
	c.Stdin = strings.NewReader(text)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// run writes the packets and returns the processor time of each, in nanoseconds. A
// packet goes all its way within the write.
func (b *bed) run(packets [][]byte) (float64, error) {
	var spent float64
	err := b.ns.Do(func() error {
		var before, after unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &before); err != nil {
			return err
		}
		for _, p := range packets {
			if _, err := unix.Write(b.fd, p); err != nil {
				return fmt.Errorf("send a packet: %w", err)
			}
		}
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &after); err != nil {
			return err
		}
		spent = float64(after.Nano()-before.Nano()) / float64(len(packets))
		return nil
	})
	return spent, err
}
