package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"nftmigrate/equivalence"
	"nftmigrate/internal/netns"
	"nftmigrate/packet"
	"nftmigrate/report"
)

// A wayIn is a connection by which somebody reaches the host.
type wayIn struct {
	client, server netip.AddrPort
	from           string // where it is known from, for people
}

// wayInFlags say which connections a commit must not close.
type wayInFlags struct {
	keep  []string
	force bool
}

func (f *wayInFlags) register(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.keep, "keep-open", nil, "refuse rules that drop this connection, `CLIENT:PORT-SERVER:PORT`; the SSH connection that the command runs under is looked at by itself")
	c.Flags().BoolVar(&f.force, "force", false, "commit although the rules close the way in")
}

// ways returns the connections to look at: those that were named, and the SSH
// connection of the session, when the commit is for the namespace it is in.
func (f *wayInFlags) ways(namespace string) ([]wayIn, error) {
	var list []wayIn
	for _, text := range f.keep {
		client, server, ok := strings.Cut(text, "-")
		w := wayIn{from: "--keep-open"}
		var errs [2]error
		w.client, errs[0] = netip.ParseAddrPort(client)
		w.server, errs[1] = netip.ParseAddrPort(server)
		if !ok || errs[0] != nil || errs[1] != nil || w.client.Addr().Is4() != w.server.Addr().Is4() {
			return nil, usage("--keep-open %s: write it as 10.0.0.7:51234-192.0.2.1:22, or with IPv6 addresses in brackets", text)
		}
		list = append(list, w)
	}
	if namespace != "" {
		return list, nil
	}
	if w, ok := sshSession("/proc", os.Getpid()); ok {
		list = append(list, w)
	}
	return list, nil
}

// sshSession finds the SSH connection that a process runs under: sshd tells it in
// the environment of the session, which sudo takes away from what it starts, so
// the processes above are asked, too.
//
// Man page: ssh(1), SSH_CONNECTION.
func sshSession(proc string, pid int) (wayIn, bool) {
	const most = 64 // processes above
	for range most {
		if pid <= 0 {
			break
		}
		dir := filepath.Join(proc, strconv.Itoa(pid))
		environment, _ := os.ReadFile(filepath.Join(dir, "environ"))
		for entry := range bytes.SplitSeq(environment, []byte{0}) {
			if value, ok := bytes.CutPrefix(entry, []byte("SSH_CONNECTION=")); ok {
				if w, ok := parseSSH(string(value)); ok {
					return w, true
				}
			}
		}
		// The name, in parentheses, can hold anything; behind it are state and parent.
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		end := bytes.LastIndexByte(stat, ')')
		if err != nil || end < 0 {
			break
		}
		fields := strings.Fields(string(stat[end+1:]))
		if len(fields) < 2 {
			break
		}
		pid, _ = strconv.Atoi(fields[1])
	}
	return wayIn{}, false
}

// parseSSH reads "CLIENT PORT SERVER PORT".
func parseSSH(value string) (wayIn, bool) {
	f := strings.Fields(value)
	if len(f) != 4 {
		return wayIn{}, false
	}
	end := func(address, port string) (netip.AddrPort, error) {
		a, err := netip.ParseAddr(address)
		if err != nil {
			return netip.AddrPort{}, err
		}
		n, err := strconv.ParseUint(port, 10, 16)
		return netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(n)), err
	}
	client, err := end(f[0], f[1])
	server, err2 := end(f[2], f[3])
	return wayIn{client, server, "SSH_CONNECTION"}, err == nil && err2 == nil && client.Addr().Is4() == server.Addr().Is4()
}

// An ownAddress is an address of a device.
type ownAddress struct {
	device   string
	address  netip.Addr
	loopback bool
}

// ownAddresses lists the addresses of the devices of a namespace.
func ownAddresses(ns *netns.NS) (list []ownAddress, err error) {
	err = ns.Do(func() error {
		all, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, d := range all {
			addresses, err := d.Addrs()
			if err != nil {
				return err
			}
			for _, x := range addresses {
				p, err := netip.ParsePrefix(x.String())
				if err != nil {
					return err
				}
				list = append(list, ownAddress{d.Name, p.Addr().Unmap().WithZone(""), d.Flags&net.FlagLoopback != 0})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the addresses of the devices: %w", err)
	}
	return list, nil
}

// devicesOf returns the devices of a namespace that have an address; when none has,
// as behind an address translation, all but the loopback device.
func devicesOf(namespace string, a netip.Addr) (names []string, err error) {
	ns, err := openNamespace(namespace)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	own, err := ownAddresses(ns)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, o := range own {
		if o.address == a {
			names = append(names, o.device)
		}
		if !o.loopback && !slices.Contains(others, o.device) {
			others = append(others, o.device)
		}
	}
	if names == nil {
		names = others
	}
	return names, nil
}

// A step of a connection is a packet by which it lives.
type wayStep struct {
	what string
	word []string
}

// steps are the packets of a connection over a device: one that opens another like it,
// and one each way of the connection that is there.
func (w wayIn) steps(device string) []wayStep {
	there := w.client.String() + "-" + w.server.String()
	back := w.server.String() + "-" + w.client.String()
	return []wayStep{
		{"a new connection", []string{"--in", device, "--tcp", there, "--syn", "--ct", "new"}},
		{"the connection that is there", []string{"--in", device, "--tcp", there, "--ack", "--ct", "established"}},
		{"an answer on it", []string{"--tcp", back, "--ack", "--ct", "established,reply"}},
	}
}

// check runs the ways in through the new rules, says which they close, and returns
// what was found in a few words, or the exit of a refusal.
func (f *wayInFlags) check(out io.Writer, in *input, p *pair, namespace string) (found string, err error) {
	ways, err := f.ways(namespace)
	if err != nil {
		return "", err
	}
	closed, looked := 0, 0
	for _, w := range ways {
		if !slices.Contains(in.versions(), map[bool]int{true: 4, false: 6}[w.client.Addr().Is4()]) {
			continue // nothing is said about its family
		}
		devices, err := devicesOf(namespace, w.server.Addr())
		if err != nil {
			return "", &exit{exitMissing, err}
		}
		looked++
		for _, device := range devices {
			for _, step := range w.steps(device) {
				one, err := packet.ParseWords(step.word)
				if err != nil {
					return "", fmt.Errorf("make a packet of %s: %w", w.from, err)
				}
				_, fate := equivalence.Trace(p.source, p.target, one, "")
				if fate.Verdict == packet.Accept {
					continue
				}
				closed++
				fmt.Fprintf(out, "the way in would close: %s from %s to %s by %s (%s) is %s\n", step.what, w.client, w.server, device, w.from, equivalence.Describe(fate))
				if err := report.Trace(out, p.names[1], fate); err != nil {
					return "", err
				}
			}
		}
	}
	switch {
	case closed > 0 && !f.force:
		fmt.Fprintln(out, "migrate: nothing was committed; correct the rules, or give --force when there is another way in")
		return "", &exit{exitDifferent, nil}
	case closed > 0:
		fmt.Fprintln(out, "going on all the same, because of --force")
		return "the way in closes, which is wanted", nil
	case looked == 0:
		return "there is no connection over SSH that has to stay open", nil
	}
	return "the way in stays open", nil
}
