package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/host"
	"nftmigrate/internal/testkit"
	"nftmigrate/iptables"
)

func owned(t *testing.T, text string) (list []string) {
	t.Helper()
	rs, diags := iptables.Parse(diag.NewSource("rules.v4", []byte(text)), 0, extension.Registry)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	for _, c := range host.Owners(rs) {
		list = append(list, fmt.Sprintf("%s %s: %s; %d rules", c.Name, c.Action, strings.Join(c.Chains, ", "), c.Rules))
	}
	return list
}

func TestOwners(t *testing.T) {
	const head = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
	for name, c := range map[string]struct {
		rules string
		want  []string
	}{
		"nobody":      {":MY - [0:0]\n-A INPUT -j MY\n-A MY -p tcp -j DROP\n", nil},
		"by name":     {":DOCKER - [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER\n-A DOCKER-USER -s 10.0.0.1/32 -j DROP\n", []string{"Docker leave: filter DOCKER; 1 rules"}},
		"by the jump": {":f2b-sshd - [0:0]\n:INNER - [0:0]\n:SHARED - [0:0]\n-A INPUT -p tcp -j f2b-sshd\n-A INPUT -j SHARED\n-A f2b-sshd -j INNER\n-A f2b-sshd -j SHARED\n-A INNER -j RETURN\n", []string{"fail2ban switch: filter INNER, filter f2b-sshd; 1 rules"}},
		"by comment":  {"-A INPUT -i lxdbr0 -p udp -m udp --dport 67 -m comment --comment \"generated for LXD network lxdbr0\" -j ACCEPT\n-A INPUT -m comment --comment \"not generated for LXD network\" -j ACCEPT\n", []string{"LXD or Incus leave: ; 1 rules"}},
		"by set":      {"-A INPUT -m set --match-set crowdsec-blacklists src -j DROP\n", []string{"CrowdSec switch: ; 1 rules"}},
		"longest":     {":KUBE-ROUTER-INPUT - [0:0]\n:KUBE-SERVICES - [0:0]\n-A INPUT -j KUBE-ROUTER-INPUT\n-A INPUT -j KUBE-SERVICES\n", []string{"kube-router leave: filter KUBE-ROUTER-INPUT; 1 rules", "kube-proxy leave: filter KUBE-SERVICES; 1 rules"}},
		"converted":   {":ufw-user-input - [0:0]\n-A INPUT -j ufw-user-input\n-A ufw-user-input -p tcp -j ACCEPT\n", []string{"ufw convert: filter ufw-user-input; 1 rules"}},
	} {
		if diff := cmp.Diff(c.want, owned(t, head+c.rules+"COMMIT\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for table, want := range map[string]string{"docker-bridges": "Docker", "wg-quick-wg0": "wg-quick", "f2b-table": "fail2ban", "firewall": "", "filter": ""} {
		got := ""
		if o := host.OwnerOfTable(table); o != nil {
			got = o.Name
		}
		if got != want {
			t.Errorf("table %s belongs to %q, want %q", table, got, want)
		}
	}
}

// TestOwnersCorpus finds owners in real rulesets, and wants each chain that is named
// like one of Docker's to be claimed.
func TestOwnersCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testkit.Corpus(t), "*"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		rs, diags := iptables.Parse(diag.NewSource(file, text), 0, extension.Registry)
		if diags.HasErrors() {
			continue
		}
		for _, c := range host.Owners(rs) {
			found[c.Name]++
		}
	}
	t.Logf("owners: %v", found)
	if len(found) < 3 {
		t.Error("hardly any owner was found")
	}
}
