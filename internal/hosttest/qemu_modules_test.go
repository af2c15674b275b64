package hosttest

import (
	"strings"
	"testing"
)

// TestModules: the kernel cannot do what the rules need, because a module went missing
// after the plan was made or because none may be loaded any more. Both plan and apply
// find it before anything changes.
func TestModules(t *testing.T) {
	v := newVirtual(t, nil)
	v.start()
	const state = "iptables-save | sed '/^#/d; s/\\[.*\\]//'; nft list tables"
	before, files := v.must(state, 0, "--dport 22 -j ACCEPT"), v.must(filesOf, 0)
	v.must("migrate plan -o good", 0) // with the module it is possible
	// A namespace that was used to try the rules goes a moment later.
	v.must("for i in $(seq 100); do modprobe -r nft_ct && break; sleep 0.3; done; ! grep -q ^nft_ct /proc/modules", 0)

	refused := func(how string) {
		t.Helper()
		for _, line := range []string{"migrate apply --no-wait --timeout 10m good", "migrate plan -o other"} {
			out, code := v.ssh(line)
			t.Logf("%s: %s: exit code %d\n%s", how, line, code, out)
			if code != 4 {
				t.Errorf("%s: %s: exit code %d, want 4", how, line, code)
			}
			if !strings.Contains(out, "expression ct") || !strings.Contains(out, "nft_ct") {
				t.Errorf("%s: %s: the feature is not named:\n%s", how, line, out)
			}
		}
		if now := v.must(state, 0); now != before {
			t.Errorf("%s: there are\n%s\nwant\n%s", how, now, before)
		}
		if now := v.must(filesOf, 0); now != files {
			t.Errorf("%s: files changed:\n%s\nwant\n%s", how, now, files)
		}
	}
	v.must("mv $(modinfo -n nft_ct) nft_ct.ko && depmod", 0)
	refused("nft_ct.ko is missing")
	v.must("mv nft_ct.ko /lib/modules/$(uname -r)/kernel/net/netfilter/ && depmod && echo 1 > /proc/sys/kernel/modules_disabled", 0)
	refused("kernel.modules_disabled=1")
	v.result("A kernel that lacks what the rules need",
		"nft_ct.ko is missing: `migrate plan` and `migrate apply` name it and end with 4; rules and files stay.",
		"kernel.modules_disabled=1: `migrate plan` and `migrate apply` name the module and end with 4; rules and files stay.")
}
