package extension

import (
	"errors"
	"fmt"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerTarget("LOG", func() iptables.Target {
		return &logTarget{Level: iptables.Opt[logLevel]{Value: logLevelDefault}}
	})
}

var (
	_ iptsim.Doing         = (*logTarget)(nil)
	_ translate.Translator = (*logTarget)(nil)
)

// logTarget is "-j LOG": a message to the kernel log; the packet goes on.
//
// Kernel: net/netfilter/xt_LOG.c.
type logTarget struct {
	Prefix      iptables.Opt[logPrefix]
	Level       iptables.Opt[logLevel]
	TCPSequence iptables.Opt[iptables.Flag]
	TCPOptions  iptables.Opt[iptables.Flag]
	IPOptions   iptables.Opt[iptables.Flag]
	UID         iptables.Opt[iptables.Flag]
	MACDecode   iptables.Opt[iptables.Flag]
}

func (*logTarget) Name() string { return "LOG" }

func (t *logTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("log-prefix", &t.Prefix, 0),
		iptables.Bind("log-level", &t.Level, 0),
		iptables.Bind("log-tcp-sequence", &t.TCPSequence, 0),
		iptables.Bind("log-tcp-options", &t.TCPOptions, 0),
		iptables.Bind("log-ip-options", &t.IPOptions, 0),
		iptables.Bind("log-uid", &t.UID, 0),
		iptables.Bind("log-macdecode", &t.MACDecode, 0),
	}
}

func (t *logTarget) Action(iptables.Context) predicate.Action {
	// include/uapi/linux/netfilter/xt_LOG.h
	var flags uint8
	if t.TCPSequence.Present {
		flags |= 0x01
	}
	if t.TCPOptions.Present {
		flags |= 0x02
	}
	if t.IPOptions.Present {
		flags |= 0x04
	}
	if t.UID.Present {
		flags |= 0x08
	}
	if t.MACDecode.Present {
		flags |= 0x20
	}
	return predicate.Action{
		Effects: []predicate.Effect{predicate.Log{Prefix: string(t.Prefix.Value), Level: uint8(t.Level.Value), Flags: flags}},
		Then:    predicate.Continue,
	}
}

func (t *logTarget) Translate(r *translate.Rule) error {
	log := nftgen.Log{Prefix: string(t.Prefix.Value), Level: uint8(t.Level.Value)}
	// include/uapi/linux/netfilter/nf_log.h, NF_LOG_*
	for bit, option := range []bool{
		0: t.TCPSequence.Present, 1: t.TCPOptions.Present, 2: t.IPOptions.Present, 3: t.UID.Present, 5: t.MACDecode.Present,
	} {
		if option {
			log.Flags |= 1 << bit
		}
	}
	if log.Prefix = writablePrefix(log.Prefix); log.Prefix != string(t.Prefix.Value) {
		r.Declare(translate.Deviation{Code: "log-prefix-characters", Detail: unwritable(string(t.Prefix.Value))})
	}
	r.Add(log)
	return nil
}

// writablePrefix returns a prefix as nft can write it.
func writablePrefix(prefix string) string {
	return strings.NewReplacer(`"`, `'`, "$", "S").Replace(prefix)
}

// unwritable says what becomes of a prefix that nft cannot write.
func unwritable(prefix string) string {
	return fmt.Sprintf("The text of nft has no way to write a log prefix with a double quote or a dollar sign: "+
		"%q is logged as %q.", prefix, writablePrefix(prefix))
}

// logPrefixMax is how many bytes of a prefix the kernel keeps.
//
// Kernel: include/uapi/linux/netfilter/xt_LOG.h, struct xt_log_info.
const logPrefixMax = 29

// A logPrefix is the argument of "--log-prefix". It is cut to what the kernel
// keeps, as iptables does.
type logPrefix string

// Set reads a prefix.
func (p *logPrefix) Set(arg string) error {
	if arg == "" {
		return errors.New("an empty prefix is not valid; leave the option out")
	}
	if strings.Contains(arg, "\n") {
		return errors.New("a newline is not allowed in a log prefix")
	}
	*p = logPrefix(arg[:min(len(arg), logPrefixMax)])
	return nil
}

// String writes the prefix with the quotes of iptables-save.
func (p *logPrefix) String() string { return iptables.Quote(string(*p)) }

// A logLevel is the argument of "--log-level": a syslog level from 0 to 7, by
// number or by name. It prints as a number.
type logLevel uint8

// logLevelDefault is the level of LOG without "--log-level": warning.
const logLevelDefault = 4

// logLevels are the names that iptables takes, by level.
//
// syslog(3); "err" and "warn" are not among them.
var logLevels = map[string]logLevel{
	"emerg": 0, "panic": 0, "alert": 1, "crit": 2, "error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7,
}

// Set reads a level.
func (l *logLevel) Set(arg string) error {
	if level, ok := logLevels[arg]; ok {
		*l = level
		return nil
	}
	n, err := iptables.ParseNumber(arg, 7)
	if err != nil {
		return fmt.Errorf("%q is no log level, expected 0-7, emerg, alert, crit, error, warning, notice, info or debug", arg)
	}
	*l = logLevel(n)
	return nil
}

// String writes the number.
func (l *logLevel) String() string { return fmt.Sprint(uint8(*l)) }

// IsDefault reports whether the level is that of LOG without the option.
func (l *logLevel) IsDefault() bool { return *l == logLevelDefault }
