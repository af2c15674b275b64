package apply

import (
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
)

// A kernel is what a commit needs of the kernel of one namespace.
type kernel interface {
	namespace() (inode uint64, err error)
	send(batch []netlink.Message, generation uint32) error
	dump(tables []nfnetlink.Table) (*nfnetlink.Dump, error)
	// settle waits until no packet is judged by rules that a commit replaced.
	settle()
	// room is how many bytes one transaction may have.
	room() int
}

// A socket is the real kernel.
type socket struct {
	conn *nfnetlink.Conn
}

var _ kernel = socket{}

// dial opens a socket inside a namespace.
func dial(ns *netns.NS) (socket, error) {
	var s socket
	err := ns.Do(func() (err error) {
		s.conn, err = nfnetlink.Dial()
		return err
	})
	if err != nil {
		return s, fmt.Errorf("reach the kernel: %w", err)
	}
	return s, nil
}

func (s socket) namespace() (uint64, error) { return s.conn.Namespace() }

func (s socket) send(batch []netlink.Message, generation uint32) error {
	return nfnetlink.Send(s.conn, batch, nfnetlink.Options{Generation: &generation})
}

func (s socket) dump(tables []nfnetlink.Table) (*nfnetlink.Dump, error) {
	return nfnetlink.DumpRuleset(s.conn, tables...)
}

// settle waits for a grace period of the kernel: a packet is judged within one.
// Without it, a packet that began in rules of two stages ago could end in what
// the stage changes.
//
// Kernel: kernel/sched/membarrier.c, MEMBARRIER_CMD_GLOBAL is synchronize_rcu.
func (s socket) settle() {
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); errno != 0 {
		time.Sleep(graceGuess)
	}
}

// membarrierGlobal is MEMBARRIER_CMD_GLOBAL, which x/sys lacks.
const membarrierGlobal = 1

// graceGuess is longer than grace periods are on kernels that give no way to
// wait for one (nohz_full).
const graceGuess = 100 * time.Millisecond

// partSize is the most bytes of one part of a large stage: the kernel and we
// hold a part in memory, once each.
const partSize = 4 << 20

// room is how many bytes one transaction may have.
func (s socket) room() int { return min(partSize, s.conn.Room(partSize)) }

// ElementsInPlace reports whether the kernel that runs replaces the elements of
// a set in one transaction so that packets find the old ones or the new ones.
// Before 6.17 and 6.12.48, lookups during a commit could find neither; there is
// no way to try that, so this goes by the version.
//
// Kernel: "netfilter: nf_tables: restart set lookup on base_seq change".
func ElementsInPlace() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	return elementsInPlace(unix.ByteSliceToString(u.Release[:]))
}

func elementsInPlace(release string) bool {
	var major, minor, patch int
	fmt.Sscanf(release, "%d.%d.%d", &major, &minor, &patch)
	return major > 6 || major == 6 && (minor >= 17 || minor == 12 && patch >= 48)
}
