package transaction

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"nftmigrate/internal/netns"
)

// A Connection is one of TCP, seen from the host.
type Connection struct {
	Local  netip.AddrPort `json:"local"`
	Remote netip.AddrPort `json:"remote"`
}

// String is "10.0.0.7:51234 to 192.0.2.1:22".
func (c Connection) String() string { return c.Remote.String() + " to " + c.Local.String() }

// The states of sockets that are asked for.
//
// Kernel: include/net/tcp_states.h.
const (
	stateEstablished = "01"
	stateListen      = "0A"
)

// Established lists the TCP connections of a namespace that are open, with IPv4
// addresses in IPv6 sockets as IPv4.
func Established(ns *netns.NS) ([]Connection, error) { return sockets(ns, stateEstablished) }

// Listening lists where somebody listens for TCP connections, sorted, each once.
func Listening(ns *netns.NS) ([]netip.AddrPort, error) {
	list, err := sockets(ns, stateListen)
	var ends []netip.AddrPort
	for _, c := range list {
		ends = append(ends, c.Local)
	}
	slices.SortFunc(ends, netip.AddrPort.Compare)
	return slices.Compact(ends), err
}

// sockets lists those of TCP that are in a state.
//
// Man page: proc_pid_net(5), tcp and tcp6.
func sockets(ns *netns.NS, state string) ([]Connection, error) {
	var list []Connection
	err := ns.Do(func() error {
		for _, name := range []string{"tcp", "tcp6"} {
			f, err := os.Open("/proc/thread-self/net/" + name)
			if name == "tcp6" && errors.Is(err, fs.ErrNotExist) {
				continue // no IPv6
			}
			if err != nil {
				return err
			}
			more, err := parseConnections(bufio.NewScanner(f), state)
			f.Close()
			if err != nil {
				return fmt.Errorf("%s: %w", f.Name(), err)
			}
			list = append(list, more...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the sockets of TCP: %w", err)
	}
	return list, nil
}

// parseConnections reads the lines behind the head that are in a state.
func parseConnections(lines *bufio.Scanner, state string) ([]Connection, error) {
	var list []Connection
	for n := 0; lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		if n == 0 {
			continue
		}
		if len(f) < 4 {
			return nil, fmt.Errorf("line %d has %d fields", n+1, len(f))
		}
		if f[3] != state {
			continue
		}
		local, err := parseEnd(f[1])
		remote, err2 := parseEnd(f[2])
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		list = append(list, Connection{local, remote})
	}
	return list, lines.Err()
}

// parseEnd reads "0100007F:0016": words of the address in the byte order of the
// machine, and the port as a number.
func parseEnd(text string) (netip.AddrPort, error) {
	address, port, ok := strings.Cut(text, ":")
	b, err := hex.DecodeString(address)
	if !ok || err != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, fmt.Errorf("no address and port: %q", text)
	}
	for w := 0; w < len(b); w += 4 {
		binary.NativeEndian.PutUint32(b[w:], binary.BigEndian.Uint32(b[w:]))
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("no port: %q", text)
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// shows says why a confirmation over a connection does not show that new
// connections get through, "" when it does. now are the connections that are open.
//
// The rules of nearly every host accept what belongs to a connection that is there,
// so one from before the commit lives on whatever they say of new ones.
func (r *Record) shows(session *Connection, now []Connection) string {
	switch {
	case session == nil && r.Session == nil:
		return "" // nobody came over the network
	case session == nil:
		return fmt.Sprintf("the rules were applied over the connection from %s, and this is none", r.Session)
	case slices.Contains(r.Before, *session):
		return fmt.Sprintf("the connection from %s was there before the rules were, and stays open even when they refuse new ones", session)
	case !slices.Contains(now, *session):
		return fmt.Sprintf("the connection from %s, which this session says it came by, is not open", session)
	}
	return ""
}
