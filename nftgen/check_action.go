package nftgen

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"time"
)

func checkAction(s Stmt) error {
	switch s := s.(type) {
	case VerdictStmt:
		return s.check()
	case Limit:
		return s.check()
	case Log:
		return s.check()
	case LogGroup:
		return checkLogPrefix(s.Prefix)
	case Reject:
		if !s.Reset && s.Code > 15 || s.Any && (s.Reset || int(s.Code) >= len(anyCodeNames)) {
			return fmt.Errorf("write reject: there is no code %d", s.Code)
		}
	case Assign:
		return s.check()
	case Quota:
		if s.Bytes > math.MaxInt64 {
			return fmt.Errorf("write a quota: %d bytes are more than the kernel counts", s.Bytes)
		}
	case Use:
		if s.Object == nil {
			return fmt.Errorf("write the use of an object: there is none")
		}
		return s.Object.check()
	case HasLabel:
		return checkLabel(s.Bit)
	case SetLabel:
		return checkLabel(s.Bit)
	case SetField:
		return s.check()
	case NAT:
		return s.check()
	case Masquerade:
		return s.ports().check()
	case Redirect:
		return s.ports().check()
	case Update:
		return s.check()
	case action:
		return s.check()
	}
	return nil
}

func (s VerdictStmt) check() error {
	if _, ok := verdicts[s.Kind]; !ok {
		return fmt.Errorf("write a verdict: there is no kind %d", s.Kind)
	}
	switch jumps := s.Kind == Jump || s.Kind == Goto; {
	case jumps && !ValidName(s.Chain):
		return fmt.Errorf("write %s %q: it is no name of a chain", verdicts[s.Kind].word, s.Chain)
	case !jumps && s.Chain != "":
		return fmt.Errorf("write %s: it goes to no chain", verdicts[s.Kind].word)
	}
	return nil
}

func (s Limit) check() error {
	switch {
	case limitUnits[s.Unit].word == "":
		return fmt.Errorf("write a limit: there is no unit of %s", s.Unit)
	case s.Rate == 0 || s.Rate > math.MaxUint32:
		return fmt.Errorf("write a limit: the rate %d is not between 1 and %d", s.Rate, uint32(math.MaxUint32))
	case s.Burst == 0 && !s.Bytes:
		return fmt.Errorf("write a limit: the burst is 0")
	}
	return nil
}

// logFlags are the flags of log messages, in the order in which nft writes
// them.
//
// Kernel: include/uapi/linux/netfilter/nf_log.h.
var logFlags = []struct {
	bit  uint8
	text string
}{
	{0x03, "flags tcp sequence,options"},
	{0x01, "flags tcp sequence"},
	{0x02, "flags tcp options"},
	{0x04, "flags ip options"},
	{0x08, "flags skuid"},
	{0x20, "flags ether"},
}

var logLevels = []string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"}

func (s Log) check() error {
	known := uint8(0)
	for _, f := range logFlags {
		known |= f.bit
	}
	switch {
	case int(s.Level) >= len(logLevels):
		return fmt.Errorf("write log: there is no level %d", s.Level)
	case s.Level == auditLevel && (s.Prefix != "" || s.Flags != 0):
		return fmt.Errorf("write log: a record of the audit system has neither prefix nor flags")
	case s.Flags&^known != 0:
		return fmt.Errorf("write log: there is no flag %#x", s.Flags&^known)
	}
	return checkLogPrefix(s.Prefix)
}

func checkLogPrefix(prefix string) error {
	if len(prefix) > maxLogPrefix {
		return fmt.Errorf("write the log prefix %q: it is longer than %d bytes", prefix, maxLogPrefix)
	}
	return checkQuoted("log prefix", prefix)
}

func (s Assign) check() error {
	if !slices.Contains([]string{MetaMark.Text, CTMark.Text, MetaPriority.Text, MetaSecmark.Text, CTSecmark.Text}, s.Field.Text) {
		return fmt.Errorf("write an assignment: %s cannot be set", s.Field.Text)
	}
	if s.From == nil && (s.Field.Text == MetaSecmark.Text || s.Field.Text == CTSecmark.Text) {
		return fmt.Errorf("write an assignment: nft has no words for a number in %s", s.Field.Text)
	}
	t := s.Field.Type
	for _, v := range []Value{s.Keep, s.Take, s.Xor} {
		if v == nil {
			continue
		}
		if err := t.check(v); err != nil {
			return err
		}
	}
	switch {
	case s.From == nil && (s.Take != nil || s.Shift != 0):
		return fmt.Errorf("write an assignment of %s: a part of nothing is taken", s.Field.Text)
	case s.From != nil && s.From.Type != t:
		return fmt.Errorf("write an assignment of %s: %s is of another type", s.Field.Text, s.From.Text)
	case s.From != nil && !s.keepsNothing():
		return fmt.Errorf("write an assignment of %s from %s: keeping a part takes two registers, which old kernels lack", s.Field.Text, s.From.Text)
	case s.Shift <= -8*t.Bytes || s.Shift >= 8*t.Bytes:
		return fmt.Errorf("write an assignment of %s: a shift by %d bits leaves nothing", s.Field.Text, s.Shift)
	}
	return nil
}

func (s SetField) check() error {
	if !s.Field.rawBytes() && !slices.Contains([]string{IPTTL.Text, IP6Hoplimit.Text, IPDSCP.Text, IP6DSCP.Text, IPECN.Text, IP6ECN.Text, TCPFlags.Text}, s.Field.Text) {
		return fmt.Errorf("write %s set: it cannot be set", s.Field.Text)
	}
	if s.Field.load.mask != nil {
		if _, ok := s.Field.load.placed(s.Value); !ok {
			return fmt.Errorf("write %s set: %x does not fit", s.Field.Text, []byte(s.Value))
		}
	}
	return s.Field.Type.check(s.Value)
}

func (s NAT) check() error {
	if err := s.ports().check(); err != nil {
		return err
	}
	if s.Map != nil {
		if s.ports().given() || s.Prefix != 0 {
			return fmt.Errorf("write nat: a map of ports beside ports or a prefix")
		}
		if err := s.Map.check(2); err != nil {
			return err
		}
	}
	if s.Low == nil {
		switch {
		case s.High != nil || s.Prefix != 0:
			return fmt.Errorf("write nat: a span without its start")
		case !s.ports().given() && s.Map == nil:
			return fmt.Errorf("write nat: neither addresses nor ports")
		}
		return nil
	}
	if s.family() == 0 || s.High != nil && len(s.High) != len(s.Low) {
		return fmt.Errorf("write nat: %d and %d bytes are no addresses", len(s.Low), len(s.High))
	}
	switch {
	case s.High != nil && bytes.Compare(s.Low, s.High) > 0:
		return fmt.Errorf("write nat: the span of addresses is empty")
	case s.Prefix < 0 || s.Prefix > 8*len(s.Low):
		return fmt.Errorf("write nat: a prefix of %d bits", s.Prefix)
	case s.Prefix != 0 && (s.High != nil || s.ports().given()):
		return fmt.Errorf("write nat: a prefix has neither an end nor ports")
	}
	return nil
}

func (s Update) check() error {
	if err := checkKey(s.Fields, s.Masks, s.Set); err != nil {
		return err
	}
	switch {
	case s.Op > OpDelete:
		return fmt.Errorf("write an update of %s: there is no operation %d", s.Set.Name, s.Op)
	case !s.Set.Dynamic:
		return fmt.Errorf("write an update of %s: the set is not dynamic", s.Set.Name)
	case s.Timeout != 0 && !s.Set.expires():
		return fmt.Errorf("write an update of %s: its elements do not expire", s.Set.Name)
	case s.Timeout%time.Millisecond != 0 || s.Timeout < 0:
		return fmt.Errorf("write an update of %s: the timeout %s is not whole milliseconds", s.Set.Name, s.Timeout)
	}
	for _, inner := range s.Stmts {
		if stateful(inner) == nil {
			return fmt.Errorf("write an update of %s: elements cannot hold a %T", s.Set.Name, inner)
		}
		if err := checkAction(inner); err != nil {
			return err
		}
	}
	return nil
}
