package extension

import (
	"fmt"
	"time"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerTarget("SET", func() iptables.Target { return new(setTarget) }) }

var (
	_ iptsim.Doing         = (*setTarget)(nil)
	_ translate.Translator = (*setTarget)(nil)
	_ translate.Collector  = (*setTarget)(nil)
	_ iptables.Validator   = (*setTarget)(nil)
)

// setTarget is "-j SET": what the directions take from the packet is added to an
// ipset, deleted from one, or looked up in one for a mark, a class or a queue. The
// rule then goes on, whether that succeeded or not.
//
// Kernel: net/netfilter/xt_set.c, set_target_v3.
type setTarget struct {
	Add      iptables.Opt[setArgument]
	Exist    iptables.Opt[iptables.Flag]
	Timeout  iptables.Opt[setSeconds]
	Delete   iptables.Opt[setArgument]
	Map      iptables.Opt[setArgument]
	MapMark  iptables.Opt[iptables.Flag]
	MapPrio  iptables.Opt[iptables.Flag]
	MapQueue iptables.Opt[iptables.Flag]
}

// setSeconds is the life of an element, 0 for ever.
type setSeconds uint32

// Set reads a number of seconds.
//
// Kernel: include/uapi/linux/netfilter/ipset/ip_set.h, IPSET_MAX_TIMEOUT.
func (s *setSeconds) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, (1<<32-1)>>1/1000)
	*s = setSeconds(n)
	return err
}

// String returns the number.
func (s *setSeconds) String() string { return fmt.Sprint(uint32(*s)) }

func (*setTarget) Name() string { return "SET" }

func (t *setTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("add-set", &t.Add, 0),
		iptables.Bind("exist", &t.Exist, 0),
		iptables.Bind("timeout", &t.Timeout, 0),
		iptables.Bind("del-set", &t.Delete, 0),
		iptables.Bind("map-set", &t.Map, 0),
		iptables.Bind("map-mark", &t.MapMark, 0),
		iptables.Bind("map-prio", &t.MapPrio, 0),
		iptables.Bind("map-queue", &t.MapQueue, 0),
	}
}

func (t *setTarget) Validate(c iptables.Context) []iptables.Problem {
	if !t.Add.Present && !t.Delete.Present && !t.Map.Present {
		return []iptables.Problem{{
			Code: "missing-option", Summary: "target SET needs an option",
			Detail: "Give at least one of --add-set, --del-set and --map-set.",
		}}
	}
	if t.Map.Present && !t.MapMark.Present && !t.MapPrio.Present && !t.MapQueue.Present {
		return []iptables.Problem{{
			Code: "missing-option", Summary: "--map-set needs what it maps to",
			Detail: "Give at least one of --map-mark, --map-prio and --map-queue.",
		}}
	}
	if !t.Map.Present {
		return nil
	}
	// One of these hooks is enough for the kernel.
	const leaving = iptables.Output | iptables.Forward | iptables.Postrouting
	if (t.MapPrio.Present || t.MapQueue.Present) && c.Hooks&leaving == 0 {
		return placement(c, "SET", "mangle", leaving)
	}
	return placement(c, "SET", "mangle", 0)
}

func (t *setTarget) Action(iptables.Context) predicate.Action {
	action := predicate.Action{Then: predicate.Continue}
	if t.Add.Present {
		change := predicate.SetChange{Name: t.Add.Value.name, Source: t.Add.Value.source, Exist: t.Exist.Present}
		if t.Timeout.Present {
			life := time.Duration(t.Timeout.Value) * time.Second
			change.Timeout = &life
		}
		action.Effects = append(action.Effects, change)
	}
	if t.Delete.Present {
		action.Effects = append(action.Effects, predicate.SetChange{Name: t.Delete.Value.name, Source: t.Delete.Value.source, Delete: true})
	}
	if t.Map.Present {
		action.Effects = append(action.Effects, predicate.SetMap{
			Name: t.Map.Value.name, Source: t.Map.Value.source,
			Mark: t.MapMark.Present, Priority: t.MapPrio.Present, Queue: t.MapQueue.Present,
		})
	}
	return action
}

// changes are what the target does to sets.
func (t *setTarget) changes() (list []translate.SetChange) {
	if t.Add.Present {
		c := translate.SetChange{Name: t.Add.Value.name, Source: t.Add.Value.source, Range: t.Add.Range, Exist: t.Exist.Present}
		if t.Timeout.Present {
			life := time.Duration(t.Timeout.Value) * time.Second
			c.Timeout = &life
		}
		list = append(list, c)
	}
	if t.Delete.Present {
		list = append(list, translate.SetChange{Name: t.Delete.Value.name, Source: t.Delete.Value.source, Range: t.Delete.Range, Delete: true})
	}
	return list
}

// Collect notes which sets change.
func (t *setTarget) Collect(s *translate.Shared, c iptables.Context) error {
	for _, change := range t.changes() {
		s.NoteChange(c, change)
	}
	return nil
}

func (t *setTarget) Translate(r *translate.Rule) error {
	if t.MapQueue.Present {
		return &translate.Untranslatable{
			Summary: "--map-queue has no counterpart in nftables",
			Detail: "No expression of nf_tables sets the transmit queue of a packet. Let --map-mark set a mark instead, and have tc choose the queue " +
				"by it: \"tc filter add ... fw action skbedit queue_mapping N\".",
			Range: t.MapQueue.Range,
		}
	}
	if changes := t.changes(); len(changes) > 0 {
		if err := r.ChangeSets(changes); err != nil {
			return err
		}
	}
	if !t.Map.Present {
		return nil
	}
	return r.LookUp(translate.SetMap{
		Name: t.Map.Value.name, Range: t.Map.Range, Source: t.Map.Value.source,
		Mark: t.MapMark.Present, Priority: t.MapPrio.Present,
	})
}
