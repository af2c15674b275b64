package bugs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nftmigrate/equivalence"
	"nftmigrate/equivalence/kernel"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// What becomes of a difference in the kernel.
const (
	confirmed   = "confirmed"
	varied      = "confirmed, with another state of the connection"
	refused     = "the kernel refuses the batch"
	notBrought  = "the packet cannot be brought in: "
	unsettable  = "it takes answers of clocks or random numbers"
	notObserved = "it cannot be observed: "
	contrary    = "the kernel does otherwise"
)

// freeChoice is the kind whose mutants no packet shows: which port or address of a
// range the kernel takes is its own choice, with any flags.
const freeChoice = "flags of a translation"

// TestKernelConfirms sends the packets by which a proof refutes mutants to the
// kernel: to xtables with the source rules, and to nf_tables with the mutant.
// They must come out unlike there too, in the same respect. Some packets the kernel
// cannot be made to meet: they take long, chance, or a connection that nobody can
// make; of each kind of mutant others must be confirmed.
func TestKernelConfirms(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("nft"),
		testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"))
	counts := map[string]int{}
	kinds := map[string]bool{} // that were refuted: whether one was confirmed
	all := 0
	var mu sync.Mutex
	t.Run("of", func(t *testing.T) {
		for _, s := range subjects(t) {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				p := provenOf(t, s)
				k := &kernels{subject: s, right: p.right, sources: map[string]*kernel.Machine{}, targets: map[string]*kernel.Machine{}}
				defer forget(t, k.sources)
				for i, m := range p.mutants {
					proof := p.proofs[i]
					if proof.Word != equivalence.Different {
						continue
					}
					result := k.confirm(t, m, proof.Differences)
					mu.Lock()
					all++
					counts[result]++
					kinds[m.kind] = kinds[m.kind] || result == confirmed || result == varied
					mu.Unlock()
					switch result {
					case confirmed, varied:
					case contrary, refused:
						t.Errorf("%v: %s: %s", m, result, shownBy(proof))
					default:
						t.Logf("%v: %s: %s", m, result, shownBy(proof))
					}
				}
			})
		}
	})
	var b strings.Builder
	for _, result := range equivalence.ByCount(counts) {
		fmt.Fprintf(&b, "\n%5d %s", counts[result], result)
	}
	t.Logf("%d mutants:%s", all, &b)
	for kind, ok := range kinds {
		if !ok && kind != freeChoice {
			t.Errorf("%s: no mutant of this kind is confirmed", kind)
		}
	}
	const percent = 80
	if n := counts[confirmed] + counts[varied]; 100*n < percent*all {
		t.Errorf("%d of %d mutants are confirmed, want %d %%", n, all, percent)
	}
}

// kernels are the machines of one subject. Those of the source serve all
// mutants on a host, as long as they remember nothing.
type kernels struct {
	subject subject
	right   *translation
	sources map[string]*kernel.Machine
	// targets are those of the mutant at hand, by host.
	targets map[string]*kernel.Machine
}

// forget closes machines.
func forget(t *testing.T, machines map[string]*kernel.Machine) {
	for _, m := range machines {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	clear(machines)
}

// source returns a machine with the source rules.
func (k *kernels) source(host *packet.Host, o kernel.Options) (*kernel.Machine, error) {
	key := fmt.Sprint(*host, o)
	if m := k.sources[key]; m != nil {
		return m, nil
	}
	text := func(s string) []byte {
		if s == "" {
			return nil
		}
		return []byte(s)
	}
	o.Sets = text(k.subject.sets)
	m, err := kernel.NewXtables(host, text(k.subject.v4), text(k.subject.v6), o)
	if err == nil {
		k.sources[key] = m
	}
	return m, err
}

// open opens both sides of a mutant.
func (k *kernels) open(m mutant) equivalence.KernelPair {
	return equivalence.KernelPair{
		Open: func(host *packet.Host, tracked bool) (source, target equivalence.Kernel, done func() error, err error) {
			o := kernel.Options{Untracked: !tracked}
			xt, err := k.source(host, o)
			if err != nil {
				return nil, nil, nil, err
			}
			key := fmt.Sprint(*host)
			if k.targets[key] == nil {
				nft, err := kernel.NewNftables(host, m.batch, o)
				if err != nil {
					return nil, nil, nil, err
				}
				k.targets[key] = nft
			}
			return xt, k.targets[key], func() error { return nil }, nil
		},
		Skips: func(err error) bool { return errors.Is(err, kernel.ErrNotRunnable) },
		Wait:  2 * time.Second,
	}
}

// confirm says what becomes of the differences of a mutant in the kernel:
// confirmed, when one of them shows, else what became of the last.
func (k *kernels) confirm(t *testing.T, m mutant, list []equivalence.Difference) (result string) {
	t.Helper()
	defer forget(t, k.targets)
	for _, d := range list {
		if d.A.Volatile || d.B.Volatile || len(d.Before) > 0 {
			forget(t, k.sources)
			forget(t, k.targets)
		}
		// Not each connection that a proof thinks of can be made in the kernel.
		for i, p := range kin(d.Packet) {
			of := d
			if i > 0 {
				if of = k.right.run(t, m.batch, d.Host, d.Before, p); len(of.Aspects) == 0 {
					continue
				}
			}
			switch said := k.one(t, m, of); {
			case said == confirmed && i > 0:
				return varied
			case said == confirmed, said == refused:
				return said
			case i == 0:
				result = said
			}
		}
	}
	return result
}

// kin are a packet and the same with other connections.
func kin(p *packet.Packet) []*packet.Packet {
	list := []*packet.Packet{p}
	for _, to := range []packet.Tracking{{State: packet.Established}, {State: packet.Established, Reply: true}, {State: packet.New}} {
		q := *p
		q.Tracking.State, q.Tracking.Reply = to.State, to.Reply
		if to.State == packet.New || q.Tracking.Entry == nil {
			q.Tracking.Entry = &packet.Entry{}
		}
		list = append(list, &q)
	}
	return list
}

// one says what becomes of one difference.
func (k *kernels) one(t *testing.T, m mutant, d equivalence.Difference) string {
	t.Helper()
	err := equivalence.Confirm(context.Background(), &d, k.open(m), k.right.tracks(t, m.batch))
	var no *kernel.RulesetError
	if errors.As(err, &no) {
		t.Log(err)
		return refused
	}
	if err != nil {
		t.Fatalf("%v: %v", m, err)
	}
	c := d.InKernel
	if c.Skipped != "" {
		return notBrought + strings.TrimPrefix(c.Skipped, kernel.ErrNotRunnable.Error()+": ")
	}
	if slices.ContainsFunc(c.Aspects, func(a equivalence.Aspect) bool { return slices.Contains(expected(d), a) }) {
		return confirmed
	}
	switch why := hidden(d); {
	case d.A.Unsure || d.B.Unsure || d.A.Volatile || d.B.Volatile:
		return unsettable
	case why != "":
		return notObserved + why
	case !k.unlikeAsObserved(t, m, d):
		return notBrought + "with this connection"
	}
	t.Logf("in the kernel %s; %s", equivalence.Describe(c.A), equivalence.Describe(c.B))
	return contrary
}

// unlikeAsObserved says whether the models differ with the connections that the
// kernel found.
func (k *kernels) unlikeAsObserved(t *testing.T, m mutant, d equivalence.Difference) bool {
	t.Helper()
	as := func(f packet.Fate) []*packet.Packet {
		q := *d.Packet
		if f.Observed.State != 0 {
			q.Tracking = f.Observed
		}
		return append(slices.Clone(d.Before), &q)
	}
	return len(k.right.both(t, m.batch, d.Host, as(d.InKernel.A), as(d.InKernel.B)).Aspects) > 0
}

// expected are the aspects in which a difference can show in the kernel: a
// translation shows in the bytes.
func expected(d equivalence.Difference) []equivalence.Aspect {
	list := slices.Clone(d.Aspects)
	if slices.Contains(list, equivalence.AspectEvents) && !slices.Equal(translations(d.A), translations(d.B)) {
		list = append(list, equivalence.AspectData)
	}
	return list
}

func translations(f packet.Fate) []packet.NATEvent {
	var list []packet.NATEvent
	for _, e := range f.Events {
		if n, ok := e.(packet.NATEvent); ok {
			list = append(list, n)
		}
	}
	return list
}

// hidden says why a difference cannot show in the kernel, "" when it can.
func hidden(d equivalence.Difference) string {
	for _, a := range d.Aspects {
		switch {
		case a == equivalence.AspectEvents && slices.Equal(reported(d.A), reported(d.B)):
		case a == equivalence.AspectConnMark && (d.A.Verdict != packet.Accept || d.B.Verdict != packet.Accept):
		case a == equivalence.AspectPriority, a == equivalence.AspectData && ranges(d.A, d.B):
		default:
			return ""
		}
	}
	return fmt.Sprint(d.Aspects)
}

// reported are the events that the kernel tells of.
func reported(f packet.Fate) []packet.Event {
	var list []packet.Event
	for _, e := range f.Events {
		switch e.(type) {
		case packet.LogEvent:
			list = append(list, e)
		case packet.RejectEvent:
			if !f.Silent {
				list = append(list, e)
			}
		}
	}
	return list
}

// ranges says whether a translation is out of a range, of which the kernel takes
// what it likes.
func ranges(fates ...packet.Fate) bool {
	return slices.ContainsFunc(fates, func(f packet.Fate) bool {
		return slices.ContainsFunc(translations(f), func(n packet.NATEvent) bool {
			return n.Min != n.Max || n.MinPort != n.MaxPort || n.Flags != 0
		})
	})
}
