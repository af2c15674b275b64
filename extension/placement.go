package extension

import (
	"fmt"
	"strings"

	"nftmigrate/iptables"
)

// placement checks the table and the hooks that the kernel allows a target in.
// No table or no hooks means any.
//
// Kernel: net/netfilter/x_tables.c, xt_check_target.
func placement(c iptables.Context, target, table string, hooks iptables.HookSet) []iptables.Problem {
	if table != "" && c.Table != table {
		return []iptables.Problem{{
			Code:    "invalid-table",
			Summary: fmt.Sprintf("target %s is not valid in table %s", target, c.Table),
			Detail:  fmt.Sprintf("The kernel accepts it in table %s only.", table),
		}}
	}
	if outside := c.Hooks &^ hooks; hooks != 0 && outside != 0 {
		return []iptables.Problem{{
			Code:    "invalid-hook",
			Summary: fmt.Sprintf("target %s is not valid in this chain", target),
			Detail: fmt.Sprintf("The kernel accepts it where packets come from %s only; chain %s is also reached from %s.",
				hookList(c.Table, hooks), c.Chain, hookList(c.Table, outside)),
		}}
	}
	return nil
}

// arriving checks that only packets that came in by a device meet a match about
// the link header.
func arriving(c iptables.Context, match string) []iptables.Problem {
	const hooks = iptables.Prerouting | iptables.Input | iptables.Forward
	outside := c.Hooks &^ hooks
	if outside == 0 {
		return nil
	}
	return []iptables.Problem{{
		Code:    "invalid-hook",
		Summary: fmt.Sprintf("match %q is not valid in this chain", match),
		Detail: fmt.Sprintf("The kernel accepts it where packets come from %s only; chain %s is also reached from %s.",
			hookList(c.Table, hooks), c.Chain, hookList(c.Table, outside)),
	}}
}

func hookList(table string, hooks iptables.HookSet) string {
	var names []string
	for _, chain := range iptables.BuiltinChains(table) {
		if iptables.Hook(chain)&hooks != 0 {
			names = append(names, chain)
		}
	}
	return strings.Join(names, ", ")
}
