package kernel

import (
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
	"nftmigrate/packet"
)

func TestDivertSave(t *testing.T) {
	for _, c := range []struct {
		line, want string
		groups     []uint16
	}{
		{"-A INPUT -j ACCEPT", "-A INPUT -j ACCEPT", nil},
		{"-A INPUT -m comment --comment LOG -j ACCEPT", "-A INPUT -m comment --comment LOG -j ACCEPT", nil},
		{`-A INPUT -m comment --comment "-j LOG" -j DROP`, `-A INPUT -m comment --comment "-j LOG" -j DROP`, nil},
		{"-A INPUT -g LOGDROP", "-A INPUT -g LOGDROP", nil},
		{"-A INPUT -j LOGDROP", "-A INPUT -j LOGDROP", nil},
		{"[3:180] -A INPUT -p tcp -j LOG", "[3:180] -A INPUT -p tcp -j NFLOG --nflog-group 33792", []uint16{0x8400}},
		{`-A INPUT -j LOG --log-prefix "a \"b\" c\\ " --log-level 7 --log-tcp-sequence --log-macdecode`,
			`-A INPUT -j NFLOG --nflog-group 34593 --nflog-prefix "a \"b\" c\\ "`, []uint16{0x8721}},
		{"-A INPUT -j LOG --log-level 0", "-A INPUT -j NFLOG --nflog-group 32768", []uint16{0x8000}},
		{"-A INPUT -j NFLOG --nflog-group 3 --nflog-threshold 9", "-A INPUT -j NFLOG --nflog-group 3 --nflog-threshold 1", []uint16{3}},
		{"-A INPUT -j NFLOG --nflog-prefix x", "-A INPUT -j NFLOG --nflog-prefix x", []uint16{0}},
	} {
		got, groups, err := divertSave(c.line + "\nCOMMIT\n")
		if err != nil || got != c.want+"\nCOMMIT\n" || !slices.Equal(groups, c.groups) {
			t.Errorf("divertSave(%q) = %q, %#x, %v, want %q, %#x", c.line, got, groups, err, c.want, c.groups)
		}
	}
	for _, line := range []string{"-A INPUT -j LOG --log-level nine", "-A INPUT -j LOG --log-level", "-A INPUT -j LOG --log-new x", "-A INPUT -j NFLOG --nflog-group 32768"} {
		if got, _, err := divertSave(line + "\n"); err == nil {
			t.Errorf("divertSave(%q) = %q, want an error", line, got)
		}
	}
}

func TestLogEvent(t *testing.T) {
	if got, want := logEvent(logGroup(6, 0x2f), "p"), (packet.LogEvent{Prefix: "p", Level: 6, Flags: 0x2f, Group: -1}); got != want {
		t.Errorf("logEvent = %v, want %v", got, want)
	}
	if got, want := logEvent(5, "p"), (packet.LogEvent{Prefix: "p", Group: 5, SnapLen: -1}); got != want {
		t.Errorf("logEvent = %v, want %v", got, want)
	}
}

// ruleWith returns a message of a rule with the expressions between two others.
func ruleWith(list ...[]byte) netlink.Message {
	list = append([][]byte{load("meta", unix.NFT_META_MARK, regA)}, append(list, verdict(1))...)
	return ruleMessage("chain", list...)
}

func TestDivertBatch(t *testing.T) {
	plain := expression("log")
	full := expression("log", attr(unix.NFTA_LOG_PREFIX, text("x")), attr(unix.NFTA_LOG_LEVEL, be32(7)), attr(unix.NFTA_LOG_FLAGS, be32(0x1f)))
	group := expression("log", attr(unix.NFTA_LOG_GROUP, be16(9)), attr(unix.NFTA_LOG_QTHRESHOLD, be16(20)), attr(unix.NFTA_LOG_SNAPLEN, be32(64)))
	info := append([]byte{6, 2}, make([]byte, 30)...)
	copy(info[2:], "y ")
	target := expression("target", attr(unix.NFTA_TARGET_NAME, text("LOG")), attr(unix.NFTA_TARGET_REV, be32(0)), attr(unix.NFTA_TARGET_INFO, info))
	other := expression("target", attr(unix.NFTA_TARGET_NAME, text("TTL")), attr(unix.NFTA_TARGET_INFO, info))
	batch := []netlink.Message{
		nfnetlink.Message(unix.NFT_MSG_NEWTABLE, 0, unix.NFPROTO_INET, attr(unix.NFTA_TABLE_NAME, text("log"))),
		ruleWith(),
		ruleWith(plain, full),
		ruleWith(group),
		ruleWith(target, other),
	}
	before := nfnetlink.Marshal(batch)
	got, groups, err := divertBatch(batch)
	if err != nil {
		t.Fatal(err)
	}
	want := []netlink.Message{
		batch[0], batch[1],
		ruleWith(expression("log", attr(unix.NFTA_LOG_GROUP, be16(0x8400)), attr(unix.NFTA_LOG_QTHRESHOLD, be16(1))),
			expression("log", attr(unix.NFTA_LOG_PREFIX, text("x")), attr(unix.NFTA_LOG_GROUP, be16(0x871f)), attr(unix.NFTA_LOG_QTHRESHOLD, be16(1)))),
		ruleWith(expression("log", attr(unix.NFTA_LOG_GROUP, be16(9)), attr(unix.NFTA_LOG_QTHRESHOLD, be16(1)))),
		ruleWith(expression("log", attr(unix.NFTA_LOG_PREFIX, text("y ")), attr(unix.NFTA_LOG_GROUP, be16(0x8602)), attr(unix.NFTA_LOG_QTHRESHOLD, be16(1))), other),
	}
	if string(nfnetlink.Marshal(got)) != string(nfnetlink.Marshal(want)) {
		t.Errorf("divertBatch:\n got %x\nwant %x", nfnetlink.Marshal(got), nfnetlink.Marshal(want))
	}
	if !slices.Equal(groups, []uint16{9, 0x8400, 0x8602, 0x871f}) {
		t.Errorf("groups %#x", groups)
	}
	if string(nfnetlink.Marshal(batch)) != string(before) {
		t.Error("the batch given was changed")
	}
	if _, _, err := divertBatch([]netlink.Message{ruleWith(expression("log", attr(unix.NFTA_LOG_GROUP, be16(0x9000))))}); err == nil || !strings.Contains(err.Error(), "36864") {
		t.Errorf("a log to an observer's group: %v, want an error that names it", err)
	}
}

func FuzzDivertSave(f *testing.F) {
	f.Add(`-A INPUT -j LOG --log-prefix "a \" b" --log-level 4`)
	f.Add(`-A x -j NFLOG --nflog-group 3`)
	f.Fuzz(func(t *testing.T, line string) {
		words := splitSave(line)
		if got, want := len(strings.Join(words, "")), len(line); got > want {
			t.Errorf("splitSave(%q) grew from %d to %d bytes", line, want, got)
		}
		if got, groups, err := divertSave(line); err == nil && groups == nil && got != line {
			t.Errorf("divertSave(%q) = %q without a log", line, got)
		}
	})
}

// FuzzParse feeds the readers of kernel messages and packets with anything.
func FuzzParse(f *testing.F) {
	f.Add([]byte{2, 0, 0x90, 2, 8, 0, 1, 0, 8, 0, 1, 0})
	f.Add([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 3, 1, 0, 0, 0, 0, 0, 0})
	f.Add(append([]byte{0x60, 0, 0, 0, 0, 8, 0, 64}, make([]byte, 48)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, ok := headerOf(data); ok {
			if got := invert(h.proto, invert(h.proto, h.tuple)); got != h.tuple {
				t.Errorf("inverted twice, %v is %v", h.tuple, got)
			}
		}
		restoreID(data, slices.Clone(data))
		if len(data) >= 4 {
			r := parseLog(data)
			if len(r.data) > len(data) {
				t.Errorf("%d bytes of payload in %d", len(r.data), len(data))
			}
		}
		parseEntry(data)
		divertBatch([]netlink.Message{{Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWRULE}, Data: data}})
	})
}
