package kernel

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"sync"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/packet"
)

// Options say how a machine treats connections. The zero value is what a
// comparison of single packets wants.
type Options struct {
	// Untracked leaves it to the ruleset whether connections are tracked. The
	// observers then read nothing of a connection. Otherwise both IP versions
	// are tracked, as they are on a host with any stateful rule.
	Untracked bool
	// Flow keeps the connections that packets make, so that later packets
	// belong to them. Otherwise each packet meets the connection that its
	// Tracking asks for, and no other.
	Flow bool
	// Sets is the output of "ipset save" of the sets that legacy rules name, nil
	// for none.
	Sets []byte
}

// A Machine is a namespace with a ruleset. Its methods are safe for concurrent
// use and run one packet at a time; two machines run in parallel.
type Machine struct {
	options Options
	ns      *netns.NS
	nft     *nfnetlink.Conn
	// accounting says that connections have counters, which some rules switch
	// on.
	accounting bool

	mu       sync.Mutex
	closed   bool
	tracker  *tracker
	listener *listener
	sender   *sender
	mark     [2]uint32 // mark and priority that arriving packets get
	exempt   bool      // packets are exempted from tracking
	run      int
	skipped  map[string]int
}

// open makes a namespace like the host, lets load put the ruleset in, and
// listens to the log groups that load names.
func open(host *packet.Host, options Options, load func(*Machine) ([]uint16, error)) (m *Machine, err error) {
	ns, err := netns.New()
	if err != nil {
		if errors.Is(err, unix.EPERM) {
			return nil, &MissingError{"right", "CAP_SYS_ADMIN", err}
		}
		if errors.Is(err, unix.EINVAL) {
			return nil, &MissingError{"kernel feature", "CONFIG_NET_NS", err}
		}
		return nil, err
	}
	m = &Machine{options: options, ns: ns, skipped: map[string]int{}}
	opened, ok := m, false
	defer func() {
		if !ok {
			opened.Close()
		}
	}()
	m.sender = &sender{
		host: host, inside: ns.Do, sockets: map[owner]*rawSocket{},
		members: members{joined: map[membership]bool{}, last: map[int]int{}},
	}
	err = ns.Do(func() (err error) {
		if m.sender.devices, err = buildHost(host); err != nil {
			return err
		}
		if m.nft, err = nfnetlink.Dial(); err != nil {
			return err
		}
		m.tracker, err = newTracker()
		return err
	})
	if err != nil {
		return nil, right(err)
	}
	if err := nfnetlink.Send(m.nft, observerBatch(!options.Untracked), nfnetlink.Options{}); err != nil {
		return nil, right(&MissingError{"kernel feature", "nf_tables with log, meta and ct for family inet", err})
	}
	groups, err := load(m)
	if err != nil {
		return nil, err
	}
	err = ns.Do(func() (err error) {
		on, _ := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_acct")
		m.accounting = len(on) > 0 && on[0] == '1'
		m.listener, err = newListener(groups)
		return err
	})
	if err != nil {
		return nil, right(err)
	}
	ok = true
	return m, nil
}

// right turns a refusal for want of rights into an error that names the right.
func right(err error) error {
	var missing *MissingError
	if (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)) && !(errors.As(err, &missing) && missing.Kind == "right") {
		return &MissingError{"right", "CAP_NET_ADMIN", err}
	}
	return err
}

// Close takes the namespace down with all it holds. A second Close does
// nothing.
func (m *Machine) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	if m.listener != nil {
		m.listener.close()
	}
	if m.tracker != nil {
		m.tracker.close()
	}
	m.sender.close()
	if m.nft != nil {
		m.nft.Close()
	}
	return m.ns.Close()
}

// Namespace returns the namespace, for tools that look into it. Next to the
// ruleset they find the observers' table. It is closed with the machine.
func (m *Machine) Namespace() *netns.NS { return m.ns }

// An Outcome is what became of one packet of many. Err wraps [ErrNotRunnable]
// or is nil.
type Outcome struct {
	Fate packet.Fate
	Err  error
}

// RunAll runs packets one after the other. The error is of the machine; the
// outcomes of the packets before it are returned with it.
func (m *Machine) RunAll(packets []*packet.Packet) ([]Outcome, error) {
	outcomes := make([]Outcome, 0, len(packets))
	for i, p := range packets {
		fate, err := m.Run(p)
		if err != nil && !errors.Is(err, ErrNotRunnable) {
			return outcomes, fmt.Errorf("packet %d: %w", i, err)
		}
		outcomes = append(outcomes, Outcome{fate, err})
	}
	return outcomes, nil
}

// Run sends one packet and returns what became of it. An error that wraps
// [ErrNotRunnable] is about the packet alone; the fate then has a verdict when
// the packet met rules all the same. Unless the machine is one of
// flows, the packet meets the connection that its Tracking asks for; what
// tracking made of it is in Fate.Observed, and may be something else when the
// bytes do not fit the wish.
func (m *Machine) Run(p *packet.Packet) (packet.Fate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return packet.Fate{}, netns.ErrClosed
	}
	fate, err := m.runOne(p)
	var skip *skipError
	switch {
	case errors.As(err, &skip):
		m.skipped[skip.reason]++
	case err == nil:
		m.run++
	}
	return fate, err
}

func (m *Machine) runOne(p *packet.Packet) (packet.Fate, error) {
	if err := m.sender.check(p); err != nil {
		return packet.Fate{}, err
	}
	met, err := m.meet(p)
	if err != nil {
		return packet.Fate{}, err
	}
	if err := errors.Join(m.setMark(p), m.setExempt(p)); err != nil {
		return packet.Fate{}, errors.Join(err, m.forget(met.made...))
	}
	// What is there now is about earlier business: the connection just made.
	if _, err := m.listener.drain(); err != nil {
		return packet.Fate{}, err
	}
	sent := m.sender.send(p)
	reports, err := m.listener.drain()
	if err == nil && len(reports) == 0 && m.sender.queued(p) {
		// Kernels before 6.4 may leave the loopback device to a thread.
		if err = m.listener.await(); err == nil {
			reports, err = m.listener.drain()
		}
	}
	if err == nil {
		err = sent
	}
	if err != nil {
		fate := packet.Fate{}
		if errors.Is(err, ErrNotRunnable) && len(reports) > 0 {
			// It met rules before it was refused, so that they remember it.
			r := readReports(m.sender.host, p, reports)
			fate, fate.Observed = r.fate, r.tracking(met)
		}
		if forgotten := m.forget(met.made...); forgotten != nil {
			err = errors.Join(err, forgotten)
		}
		return fate, err
	}
	r := readReports(m.sender.host, p, reports)
	r.fate.Observed = r.tracking(met)
	missed := m.missed(met.own, r)
	if missed != nil && !errors.Is(missed, ErrNotRunnable) {
		return packet.Fate{}, errors.Join(missed, m.forget(append(met.made, r.made)...))
	}
	if err := m.refreshed(met.own, r.fate.Observed.Entry); err != nil {
		return packet.Fate{}, errors.Join(err, m.forget(append(met.made, r.made)...))
	}
	if m.accounting {
		if err := m.count(p, r); err != nil {
			return packet.Fate{}, errors.Join(err, m.forget(append(met.made, r.made)...))
		}
	}
	if !m.options.Flow {
		switch {
		case r.zoned, r.ended && r.fate.Tracked && r.made == nil && (r.state == stateNew || met.helper != ""):
			// It cannot be named, or the ruleset switched events off for it.
			err = m.tracker.flush()
		default:
			err = m.forget(append(met.made, r.made)...)
		}
	}
	if err == nil {
		err = missed
	}
	return r.fate, err
}

// forget deletes connections. Nil entries are passed over.
func (m *Machine) forget(entries ...*packet.Entry) error {
	if m.options.Flow {
		return nil
	}
	var errs []error
	for _, e := range entries {
		if e != nil {
			errs = append(errs, m.tracker.remove(e))
		}
	}
	return errors.Join(errs...)
}

// setMark sets what mark and priority arriving packets have before the first
// hook. A leaving packet has those of its socket.
func (m *Machine) setMark(p *packet.Packet) error {
	want := [2]uint32{p.Mark, p.Priority}
	if p.Path != packet.Arriving || m.mark == want {
		return nil
	}
	if err := nfnetlink.Send(m.nft, markBatch(want[0], want[1]), nfnetlink.Options{}); err != nil {
		return fmt.Errorf("set the mark of arriving packets: %w", err)
	}
	m.mark = want
	return nil
}

// setExempt sets whether packets are exempted from tracking, as the raw table
// would do it.
func (m *Machine) setExempt(p *packet.Packet) error {
	want := p.Tracking.State == packet.Untracked
	if m.options.Untracked || m.exempt == want {
		return nil
	}
	if err := nfnetlink.Send(m.nft, exemptBatch(want), nfnetlink.Options{}); err != nil {
		return fmt.Errorf("exempt packets from tracking: %w", err)
	}
	m.exempt = want
	return nil
}

// A Skip is a reason for which packets were not run.
type Skip struct {
	Reason string
	Count  int
}

// Stats counts the packets of a machine.
type Stats struct {
	Run     int
	Skipped []Skip // sorted by reason
}

// Stats returns the counts so far.
func (m *Machine) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Stats{Run: m.run}
	for reason, n := range m.skipped {
		s.Skipped = append(s.Skipped, Skip{reason, n})
	}
	sort.Slice(s.Skipped, func(i, j int) bool { return s.Skipped[i].Reason < s.Skipped[j].Reason })
	return s
}
