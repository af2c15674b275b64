package snapshot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/ipsetlink"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/xtables"
)

// ErrUnstable is wrapped when others changed the rules at every attempt to read
// them.
var ErrUnstable = errors.New("the rules kept changing while they were read")

// A Plane is one of the places where a kernel keeps rules or sets.
type Plane string

// The planes.
const (
	NFTables  Plane = "nf_tables"
	IPTables  Plane = "ip_tables"
	IP6Tables Plane = "ip6_tables"
	ARPTables Plane = "arp_tables"
	IPSet     Plane = "ipset"
)

// legacyPlanes are the planes of legacy xtables, by NFPROTO_* number.
var legacyPlanes = []struct {
	family uint8
	plane  Plane
}{{unix.NFPROTO_IPV4, IPTables}, {unix.NFPROTO_IPV6, IP6Tables}, {unix.NFPROTO_ARP, ARPTables}}

// A Snapshot is what one network namespace held at one time.
type Snapshot struct {
	// Taken is when; BootID and Namespace say where: the boot, and the inode of
	// the namespace.
	Taken     time.Time
	BootID    string
	Namespace uint64
	// Lacks are the planes that the kernel does not have, with its words. Of the
	// others it is known that they held no more than what is here.
	Lacks map[Plane]string
	// Generation is that of the nf_tables ruleset.
	Generation uint32
	// Ruleset are the messages of nf_tables, as the kernel gave them.
	Ruleset []netlink.Message
	// Legacy are the tables of legacy xtables that are registered.
	Legacy []*xtables.Table
	// Sets are the sets of ipset.
	Sets []*ipsetlink.Set
	// Devices are the names of the network devices by their numbers. Rules of
	// nf_tables can mean a device by its number.
	Devices map[int]string

	// numbered are the names of the sets that rules of nf_tables mean by numbers.
	numbered map[uint16]string
}

// takeAttempts bounds how often a namespace is read until two readings agree.
const takeAttempts = 20

// Take reads everything until nothing changed while it was read. It has no side
// effects: it registers no table. What the kernel does not have is in Lacks; what
// cannot be read is an error, and never taken for nothing.
func Take(ctx context.Context, ns *netns.NS) (*Snapshot, error) {
	s, err := take(ctx, ns)
	if err != nil {
		return nil, fmt.Errorf("take a snapshot: %w", err)
	}
	return s, nil
}

func take(ctx context.Context, ns *netns.NS) (*Snapshot, error) {
	k, err := dial(ns)
	if err != nil {
		return nil, err
	}
	defer k.close()
	return settled(ctx, k.read)
}

// settled reads until two readings agree.
func settled(ctx context.Context, read func() (*Snapshot, error)) (*Snapshot, error) {
	var before []Part // nil when there is nothing to compare with
	for attempt := range takeAttempts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := read()
		if err != nil && !passing(err) {
			return nil, err
		}
		if err != nil {
			before = nil
		} else {
			now := s.Fingerprint()
			if before != nil && slices.Equal(before, now) {
				return s, nil
			}
			before = now
		}
		if attempt > 0 {
			time.Sleep(time.Duration(attempt) * time.Millisecond)
		}
	}
	return nil, ErrUnstable
}

// passing reports whether an error comes of others changing things: a table or set
// that was there is gone.
func passing(err error) bool {
	return errors.Is(err, xtables.ErrNoTable) || errors.Is(err, xtables.ErrChanged) || errors.Is(err, errGone) ||
		errors.Is(err, nfnetlink.ErrUnstable)
}

// A kernel is the connections to the planes of one namespace.
type kernel struct {
	ns    *netns.NS
	lacks map[Plane]string
	nft   *nfnetlink.Conn // nil when the kernel lacks it
	xt    *xtables.Conn
	sets  *ipsetlink.Conn // nil when the kernel lacks it
}

func dial(ns *netns.NS) (*kernel, error) {
	k := &kernel{ns: ns, lacks: map[Plane]string{}}
	err := ns.Do(func() (err error) {
		k.nft, err = nfnetlink.Dial()
		return err
	})
	if errors.Is(err, nfnetlink.ErrUnsupported) {
		k.nft, k.lacks[NFTables], err = nil, err.Error(), nil
	}
	if err == nil {
		k.xt, err = xtables.Dial(ns)
	}
	if err == nil {
		k.sets, err = ipsetlink.Dial(ns)
		if errors.Is(err, ipsetlink.ErrUnsupported) {
			k.sets, k.lacks[IPSet], err = nil, err.Error(), nil
		}
	}
	if err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func (k *kernel) close() {
	if k.nft != nil {
		k.nft.Close()
	}
	if k.xt != nil {
		k.xt.Close()
	}
	if k.sets != nil {
		k.sets.Close()
	}
}

// read reads everything once.
func (k *kernel) read() (*Snapshot, error) {
	s := &Snapshot{Taken: time.Now().UTC(), Namespace: k.ns.Inode(), Lacks: map[Plane]string{}}
	for plane, why := range k.lacks {
		s.Lacks[plane] = why
	}
	var err error
	if s.BootID, err = bootID(); err != nil {
		return nil, err
	}
	if s.Devices, err = devices(k.ns); err != nil {
		return nil, err
	}
	if err := k.readLegacy(s); err != nil {
		return nil, err
	}
	if err := k.readRuleset(s); err != nil {
		return nil, err
	}
	return s, k.readSets(s)
}

func (k *kernel) readLegacy(s *Snapshot) error {
	for _, p := range legacyPlanes {
		names, err := k.xt.Names(p.family)
		if errors.Is(err, xtables.ErrUnsupported) {
			s.Lacks[p.plane] = err.Error()
			continue
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			t, err := k.xt.Read(p.family, name)
			if err != nil {
				return err
			}
			s.Legacy = append(s.Legacy, t)
		}
	}
	return nil
}

func (k *kernel) readRuleset(s *Snapshot) error {
	if k.nft == nil {
		return nil
	}
	dump, err := nfnetlink.DumpRuleset(k.nft)
	if errors.Is(err, nfnetlink.ErrUnsupported) {
		s.Lacks[NFTables] = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	s.Generation, s.Ruleset, s.numbered = dump.Generation, dump.Messages, map[uint16]string{}
	eachSetNumber(s.Ruleset, func(number []byte, _ bool) {
		n := byteOrder.Uint16(number)
		if s.numbered[n] == "" && err == nil {
			s.numbered[n], err = k.xt.SetName(n)
		}
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return nil
}

// errGone is wrapped when something that was there a moment before is gone.
var errGone = errors.New("something went away while it was read")

func (k *kernel) readSets(s *Snapshot) error {
	if k.sets == nil {
		return nil
	}
	sets, err := k.sets.Read()
	if errors.Is(err, ipsetlink.ErrUnsupported) {
		s.Lacks[IPSet] = err.Error()
		return nil
	}
	s.Sets = sets
	return err
}

func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("identify the boot: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

func devices(ns *netns.NS) (map[int]string, error) {
	names := map[int]string{}
	err := ns.Do(func() error {
		all, err := net.Interfaces()
		for _, d := range all {
			names[d.Index] = d.Name
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the network devices: %w", err)
	}
	return names, nil
}

// Owned returns the tables of nf_tables that belong to a program that runs: nobody
// else can change them, and they go away with it (NFT_TABLE_F_OWNER).
func (s *Snapshot) Owned() []nfnetlink.Table {
	var owned []nfnetlink.Table
	for _, m := range s.Ruleset {
		if kind, _ := nfnetlink.Kind(m); kind == unix.NFT_MSG_NEWTABLE && tableFlags(m)&flagOwner != 0 {
			owned = append(owned, nfnetlink.TableOf(m))
		}
	}
	return owned
}
