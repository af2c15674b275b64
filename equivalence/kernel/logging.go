package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
	"nftmigrate/packet"
)

// The kernel log is one for all namespaces and is silent for others than the
// first, whichever logger is chosen in /proc/sys/net/netfilter/nf_log. So log
// statements are loaded as logs to a group, and the number of the group says
// what the statement was.
//
// Kernel: net/netfilter/nf_log.c, nf_log_packet; nf_log_syslog.c.

// logGroup returns the group that stands for the kernel log at a level with
// flags.
func logGroup(level, flags uint8) uint16 {
	return logGroups | uint16(level&0xf)<<8 | uint16(flags)
}

// logEvent is what a message of a group that is not an observer's means.
func logEvent(group uint16, prefix string) packet.LogEvent {
	if group < logGroups {
		return packet.LogEvent{Prefix: prefix, Group: int(group), SnapLen: -1}
	}
	return packet.LogEvent{Prefix: prefix, Level: uint8(group >> 8 & 0xf), Flags: uint8(group), Group: -1}
}

// defaultLevel is the level of nft's log statement without one.
const defaultLevel = 4

// divertBatch returns a batch with each log to the kernel log replaced, and the
// groups that the ruleset logs to. The batch given is not changed.
func divertBatch(batch []netlink.Message) (diverted []netlink.Message, groups []uint16, err error) {
	diverted = slices.Clone(batch)
	for i, m := range diverted {
		kind, ours := nfnetlink.Kind(m)
		if !ours || kind != unix.NFT_MSG_NEWRULE || len(m.Data) < 4 {
			continue
		}
		attrs := nfnetlink.Attributes(m)
		changed := false
		for j, a := range attrs {
			if a.Type != unix.NFTA_RULE_EXPRESSIONS {
				continue
			}
			list, found, err := divertExpressions(a.Data)
			if err != nil {
				return nil, nil, fmt.Errorf("message %d: %w", i, err)
			}
			groups = append(groups, found...)
			changed = changed || found != nil
			attrs[j].Data = list
		}
		if changed {
			m.Data = slices.Clone(m.Data[:4])
			for _, a := range attrs {
				m.Data = nfnetlink.AppendAttr(m.Data, nested(a.Type, unix.NFTA_RULE_EXPRESSIONS), a.Data)
			}
			diverted[i] = m
		}
	}
	slices.Sort(groups)
	return diverted, slices.Compact(groups), nil
}

func nested(kind, container uint16) uint16 {
	if kind == container {
		return kind | netlink.Nested
	}
	return kind
}

func divertExpressions(list []byte) (out []byte, groups []uint16, err error) {
	for _, element := range nfnetlink.Nested(list) {
		attrs := nfnetlink.Nested(element.Data)
		data := nfnetlink.Nested(nfnetlink.Find(attrs, unix.NFTA_EXPR_DATA))
		switch nfnetlink.FindString(attrs, unix.NFTA_EXPR_NAME) {
		case "target":
			if data = logOfTarget(data); data == nil {
				break
			}
			fallthrough
		case "log":
			if audits(data) {
				break
			}
			diverted, group, err := divertLog(data)
			if err != nil {
				return nil, nil, err
			}
			groups = append(groups, group)
			out = append(out, expression("log", diverted)...)
			continue
		}
		out = nfnetlink.AppendAttr(out, nested(element.Type, unix.NFTA_LIST_ELEM), element.Data)
	}
	return out, groups, nil
}

// audits reports whether a log expression makes a record for the audit system,
// which nobody sees here.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, NFT_LOGLEVEL_AUDIT.
func audits(attrs []nfnetlink.Attr) bool {
	level := nfnetlink.Find(attrs, unix.NFTA_LOG_LEVEL)
	return len(level) == 4 && binary.BigEndian.Uint32(level) == 8
}

// logOfTarget returns the attributes of a log expression that does what an xt
// target in an nf_tables rule does, nil when the target is not one that logs.
//
// Kernel: include/uapi/linux/netfilter/xt_LOG.h, xt_NFLOG.h.
func logOfTarget(attrs []nfnetlink.Attr) []nfnetlink.Attr {
	info := nfnetlink.Find(attrs, unix.NFTA_TARGET_INFO)
	logAttrs := func(prefix []byte, more ...nfnetlink.Attr) []nfnetlink.Attr {
		if end := bytes.IndexByte(prefix, 0); end > 0 {
			more = append(more, nfnetlink.Attr{Type: unix.NFTA_LOG_PREFIX, Data: prefix[:end+1]})
		}
		return more
	}
	switch name := nfnetlink.FindString(attrs, unix.NFTA_TARGET_NAME); {
	case name == "LOG" && len(info) >= 32:
		return logAttrs(info[2:32],
			nfnetlink.Attr{Type: unix.NFTA_LOG_LEVEL, Data: be32(uint32(info[0]))},
			nfnetlink.Attr{Type: unix.NFTA_LOG_FLAGS, Data: be32(uint32(info[1]))})
	case name == "NFLOG" && len(info) >= 76:
		return logAttrs(info[12:76],
			nfnetlink.Attr{Type: unix.NFTA_LOG_GROUP, Data: be16(binary.NativeEndian.Uint16(info[4:]))})
	}
	return nil
}

// divertLog returns the attributes of a log expression as a log to a group. A
// log to a group is made to report at once.
func divertLog(attrs []nfnetlink.Attr) (data []byte, group uint16, err error) {
	level, flags := uint8(defaultLevel), uint8(0)
	own := nfnetlink.Find(attrs, unix.NFTA_LOG_GROUP)
	for _, a := range attrs {
		switch a.Type {
		case unix.NFTA_LOG_LEVEL:
			level = uint8(uint32BE(a.Data))
		case unix.NFTA_LOG_FLAGS:
			flags = uint8(uint32BE(a.Data))
		case unix.NFTA_LOG_PREFIX:
			data = nfnetlink.AppendAttr(data, a.Type, a.Data)
		}
	}
	group = logGroup(level, flags)
	if own != nil {
		if group = uint16BE(own); group >= logGroups {
			return nil, 0, errOwnGroup(group)
		}
	}
	data = nfnetlink.AppendAttr(data, unix.NFTA_LOG_GROUP, be16(group))
	return nfnetlink.AppendAttr(data, unix.NFTA_LOG_QTHRESHOLD, be16(1)), group, nil
}

func errOwnGroup(group uint16) error {
	return fmt.Errorf("log to group %d: groups from %d on are the observers'", group, logGroups)
}

// divertSave returns the text of iptables-save with each LOG replaced by an
// NFLOG, and the groups that the rules log to. The text is what the tool
// printed, so that each option has one spelling and stands behind its target.
func divertSave(save string) (string, []uint16, error) {
	var groups []uint16
	lines := strings.SplitAfter(save, "\n")
	for i, line := range lines {
		if !strings.Contains(line, "LOG") {
			continue
		}
		words := splitSave(strings.TrimSuffix(line, "\n"))
		target := slices.Index(words, "-j")
		if target < 0 || target+1 >= len(words) {
			continue
		}
		var group uint16
		var err error
		switch words[target+1] {
		case "LOG":
			words, group, err = divertLOG(words, target)
			lines[i] = strings.Join(words, " ") + "\n"
		case "NFLOG":
			// The tool always prints a threshold after the group, or none when
			// it is the default of 1.
			words, group, err = divertNFLOG(words, target)
			lines[i] = strings.Join(words, " ") + "\n"
		default:
			continue
		}
		if err != nil {
			return "", nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		groups = append(groups, group)
	}
	slices.Sort(groups)
	return strings.Join(lines, ""), slices.Compact(groups), nil
}

// logFlags are the options of LOG without a value.
//
// Kernel: include/uapi/linux/netfilter/nf_log.h.
var logFlags = map[string]uint8{
	"--log-tcp-sequence": 1 << 0,
	"--log-tcp-options":  1 << 1,
	"--log-ip-options":   1 << 2,
	"--log-uid":          1 << 3,
	"--log-macdecode":    1 << 5,
}

func divertLOG(words []string, target int) ([]string, uint16, error) {
	level, flags := uint8(defaultLevel), uint8(0)
	prefix := ""
	options := words[target+2:]
	for i := 0; i < len(options); i++ {
		if flag, ok := logFlags[options[i]]; ok {
			flags |= flag
			continue
		}
		if i+1 == len(options) {
			return nil, 0, fmt.Errorf("LOG: option %q is not known", options[i])
		}
		switch options[i] {
		case "--log-prefix":
			prefix = options[i+1]
		case "--log-level":
			n, err := strconv.ParseUint(options[i+1], 10, 3)
			if err != nil {
				return nil, 0, fmt.Errorf("LOG: level %q: %w", options[i+1], err)
			}
			level = uint8(n)
		default:
			return nil, 0, fmt.Errorf("LOG: option %q is not known", options[i])
		}
		i++
	}
	group := logGroup(level, flags)
	words = append(words[:target:target], "-j", "NFLOG", "--nflog-group", strconv.Itoa(int(group)))
	if prefix != "" {
		words = append(words, "--nflog-prefix", prefix)
	}
	return words, group, nil
}

func divertNFLOG(words []string, target int) ([]string, uint16, error) {
	group := uint64(0)
	for i := target + 2; i+1 < len(words); i++ {
		var err error
		switch words[i] {
		case "--nflog-group":
			group, err = strconv.ParseUint(words[i+1], 10, 16)
		case "--nflog-threshold":
			words[i+1] = "1"
		default:
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("NFLOG: group %q: %w", words[i+1], err)
		}
		i++
	}
	if group >= logGroups {
		return nil, 0, errOwnGroup(uint16(group))
	}
	return words, uint16(group), nil
}

// splitSave splits a line of iptables-save at spaces outside of double quotes.
// Words keep their quotes and backslashes.
func splitSave(line string) []string {
	var words []string
	var word strings.Builder
	quoted := false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && quoted && i+1 < len(line):
			word.WriteByte(c)
			i++
			word.WriteByte(line[i])
			continue
		case c == '"':
			quoted = !quoted
		case c == ' ' && !quoted:
			if word.Len() > 0 {
				words = append(words, word.String())
				word.Reset()
			}
			continue
		}
		word.WriteByte(c)
	}
	if word.Len() > 0 {
		words = append(words, word.String())
	}
	return words
}
