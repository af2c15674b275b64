package nftsim

import (
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func init() { register("log", decodeLog) }

// Log writes a message, to the kernel log or to a group of listeners.
//
// Kernel: net/netfilter/nft_log.c.
type Log struct {
	Prefix     string
	Level      uint32 // of the kernel log; 8 is an audit record
	HasLevel   bool
	Flags      uint32 // NF_LOG_*
	Group      int    // -1 for the kernel log
	SnapLen    uint32
	Snaps      bool // SnapLen is given
	QThreshold uint16
}

// defaultLevel is the level of a message that gives none: warning.
const defaultLevel = 4

// logFlags are the names of the flags that the kernel log knows.
//
// Kernel: include/uapi/linux/netfilter/nf_log.h.
var logFlags = []struct {
	bit  uint32
	name string
}{
	{0x01, "tcpseq"}, {0x02, "tcpopt"}, {0x04, "ipopt"}, {0x08, "uid"}, {0x20, "macdecode"},
}

func decodeLog(_ *scope, data []byte) (Instruction, error) {
	i := &Log{Group: -1, Level: defaultLevel}
	err := decodeNest("log", data, may(unix.NFTA_LOG_PREFIX, decodeString(&i.Prefix)),
		may(unix.NFTA_LOG_LEVEL, func(ad *netlink.AttributeDecoder) error {
			i.Level, i.HasLevel = ad.Uint32(), true
			return nil
		}),
		may(unix.NFTA_LOG_FLAGS, decodeU32(&i.Flags)), may(unix.NFTA_LOG_SNAPLEN, func(ad *netlink.AttributeDecoder) error {
			i.SnapLen, i.Snaps = ad.Uint32(), true
			return nil
		}),
		may(unix.NFTA_LOG_QTHRESHOLD, decodeU16(&i.QThreshold)),
		may(unix.NFTA_LOG_GROUP, func(ad *netlink.AttributeDecoder) error {
			i.Group = int(ad.Uint16())
			return nil
		}))
	if err != nil {
		return nil, err
	}
	if i.Group >= 0 && (i.HasLevel || i.Flags != 0) {
		return nil, fmt.Errorf("level or flags of a message to group %d", i.Group)
	}
	const known = 0x2f
	if i.Level > 8 || i.Flags&^known != 0 {
		return nil, fmt.Errorf("level %d, flags %#x", i.Level, i.Flags)
	}
	return i, nil
}

func (i *Log) String() string {
	var s strings.Builder
	s.WriteString("[ log ")
	if i.Prefix != "" {
		fmt.Fprintf(&s, "prefix %s ", i.Prefix)
	}
	if i.Group >= 0 {
		fmt.Fprintf(&s, "group %d snaplen %d qthreshold %d ", i.Group, i.SnapLen, i.QThreshold)
	} else if i.HasLevel {
		fmt.Fprintf(&s, "level %d ", i.Level)
	}
	for _, f := range logFlags {
		if i.Flags&f.bit != 0 {
			s.WriteString(f.name + " ")
		}
	}
	return s.String() + "]"
}

func (i *Log) event() packet.LogEvent {
	e := packet.LogEvent{Prefix: i.Prefix, Group: i.Group}
	if i.Group < 0 {
		e.Level, e.Flags = uint8(i.Level), uint8(i.Flags)
		return e
	}
	e.SnapLen, e.Threshold = -1, i.QThreshold
	if i.Snaps {
		e.SnapLen = int64(i.SnapLen)
	}
	return e
}

// audits reports whether the message is a record for the audit system.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, NFT_LOGLEVEL_AUDIT.
func (i *Log) audits() bool { return i.Group < 0 && i.Level == 8 }

func (i *Log) exec(x *execution) result {
	if i.audits() {
		x.flight.Emit(packet.AuditEvent{})
		return proceed
	}
	x.flight.Emit(i.event())
	return proceed
}

func (i *Log) symbolic(x *symbolicRun) {
	if i.audits() {
		x.emit(symbolic.Token{Kind: "audit"})
		return
	}
	x.emit(symbolic.Token{Kind: "log", Text: i.event().String()})
}
