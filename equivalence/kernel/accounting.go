package kernel

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
)

// Messages and attributes of the accounting subsystem.
//
// Kernel: include/uapi/linux/netfilter/nfnetlink_acct.h.
const (
	accountNew  = unix.NFNL_SUBSYS_ACCT<<8 | 0 // NFNL_MSG_ACCT_NEW
	accountName = 1                            // NFACCT_NAME
)

// MakeAccounts makes the accounting objects that rules of save files name, which
// a rule cannot be loaded without. They have no quota.
//
// Kernel: net/netfilter/nfnetlink_acct.c, nfnl_acct_new.
func MakeAccounts(ns *netns.NS, saves ...[]byte) error {
	var names []string
	for _, save := range saves {
		names = append(names, accountNames(save)...)
	}
	if names == nil {
		return nil
	}
	return ns.Do(func() error {
		t, err := newTracker()
		if err != nil {
			return err
		}
		defer t.close()
		for _, name := range names {
			data := join([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0}, attr(accountName, text(name)))
			switch err := t.request(accountNew, unix.NLM_F_CREATE, data); {
			case errors.Is(err, unix.EBUSY), err == nil: // EBUSY: it is there
			case errors.Is(err, unix.EINVAL):
				return &MissingError{"kernel feature", "CONFIG_NETFILTER_NETLINK_ACCT", err}
			default:
				return fmt.Errorf("make the accounting object %q: %w", name, err)
			}
		}
		return nil
	})
}

var accountPattern = regexp.MustCompile(`--nfacct-name ("(?:[^"\\]|\\.)*"|\S+)`)

// accountNames returns the names of accounting objects in a save file, as the
// tool keeps them: at most NFACCT_NAME_MAX - 1 bytes.
func accountNames(save []byte) []string {
	var names []string
	for _, m := range accountPattern.FindAllSubmatch(save, -1) {
		name := string(m[1])
		if strings.HasPrefix(name, `"`) {
			name = unescape.Replace(name[1 : len(name)-1])
		}
		if name != "" {
			names = append(names, name[:min(len(name), 31)])
		}
	}
	return names
}

var unescape = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\'`, `'`)
