package extension

import (
	"errors"
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerTarget("IDLETIMER", func() iptables.Target { return new(idletimerTarget) }) }

var (
	_ iptsim.Doing     = (*idletimerTarget)(nil)
	_ translate.Keeper = (*idletimerTarget)(nil)
)

// idletimerTarget is "-j IDLETIMER": a timer with a label starts again with each
// packet, and user space is told when it ends. nf_tables has no such timers.
//
// Kernel: net/netfilter/xt_IDLETIMER.c.
type idletimerTarget struct {
	Timeout iptables.Opt[idleSeconds]
	Label   iptables.Opt[idleLabel]
	Alarm   iptables.Opt[iptables.Flag]
}

func (*idletimerTarget) Name() string { return "IDLETIMER" }

func (t *idletimerTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("timeout", &t.Timeout, iptables.Required),
		iptables.Bind("label", &t.Label, iptables.Required),
		iptables.Bind("alarm", &t.Alarm, 0),
	}
}

func (t *idletimerTarget) Action(iptables.Context) predicate.Action {
	kind := "timer"
	if t.Alarm.Present {
		kind = "alarm timer"
	}
	return predicate.Action{
		Effects: []predicate.Effect{predicate.External{What: fmt.Sprintf("%s %q starts, for %d seconds", kind, string(t.Label.Value), t.Timeout.Value.U32)}},
		Then:    predicate.Continue,
	}
}

// Keep writes the structure.
//
// Kernel: include/uapi/linux/netfilter/xt_IDLETIMER.h, struct
// idletimer_tg_info_v1.
func (t *idletimerTarget) Keep(*translate.Rule) (translate.Kept, error) {
	var info xtLayout
	info.u32(uint32(t.Timeout.Value.U32))
	info.text(string(t.Label.Value), idleLabelSize)
	info.u8(0) // unused
	if t.Alarm.Present {
		info.u8(1)
	} else {
		info.u8(0)
	}
	info.pointer()
	return translate.Kept{Name: "IDLETIMER", Revision: 1, Info: info.data}, nil
}

const (
	idleLabelSize = 28
	// idleMax is the longest timeout in seconds.
	//
	// Kernel: net/netfilter/xt_IDLETIMER.c, idletimer_tg_helper: milliseconds
	// are kept in an int.
	idleMax = (1<<31-1)/1000 - 1
)

// An idleSeconds is the argument of "--timeout".
type idleSeconds struct{ iptables.U32 }

// Set reads a number of seconds.
func (s *idleSeconds) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, idleMax)
	if err == nil && n == 0 {
		err = errors.New("a timeout is at least 1 second")
	}
	s.U32 = iptables.U32(n)
	return err
}

// An idleLabel is the argument of "--label", cut to what the kernel keeps.
type idleLabel string

// Set reads a label.
func (l *idleLabel) Set(arg string) error {
	if arg == "" {
		return errors.New("a timer needs a label")
	}
	*l = idleLabel(arg[:min(len(arg), idleLabelSize-1)])
	return nil
}

// String writes the label, without quotes, as iptables-save does.
func (l *idleLabel) String() string { return string(*l) }
