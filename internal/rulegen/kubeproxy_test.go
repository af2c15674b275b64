package rulegen

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKubeProxyReads shows what a service looks like.
func TestKubeProxyReads(t *testing.T) {
	want := `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SEP-5GJ45LIRFREBSS6T - [0:0]
:KUBE-SEP-KQH7AYJTRDYDNNYR - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-64747U2BLA5PVZQH - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SEP-5GJ45LIRFREBSS6T -s 10.128.72.125/32 -m comment --comment "team-35/metrics-0:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-5GJ45LIRFREBSS6T -p tcp -m comment --comment "team-35/metrics-0:http" -m tcp -j DNAT --to-destination 10.128.72.125:3000
-A KUBE-SEP-KQH7AYJTRDYDNNYR -s 10.128.206.204/32 -m comment --comment "team-35/metrics-0:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-KQH7AYJTRDYDNNYR -p tcp -m comment --comment "team-35/metrics-0:http" -m tcp -j DNAT --to-destination 10.128.206.204:3000
-A KUBE-SERVICES -d 10.103.13.68/32 -p tcp -m comment --comment "team-35/metrics-0:http cluster IP" -m tcp --dport 8443 -j KUBE-SVC-64747U2BLA5PVZQH
-A KUBE-SERVICES -d 198.19.6.85/32 -p tcp -m comment --comment "team-35/metrics-0:http external IP" -m tcp --dport 8443 -j KUBE-SVC-64747U2BLA5PVZQH
-A KUBE-SERVICES -d 198.18.128.6/32 -p tcp -m comment --comment "team-35/metrics-0:http external IP" -m tcp --dport 8443 -j KUBE-SVC-64747U2BLA5PVZQH
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-64747U2BLA5PVZQH ! -s 10.128.0.0/14 -d 10.103.13.68/32 -p tcp -m comment --comment "team-35/metrics-0:http cluster IP" -m tcp --dport 8443 -j KUBE-MARK-MASQ
-A KUBE-SVC-64747U2BLA5PVZQH ! -s 10.128.0.0/14 -d 198.19.6.85/32 -p tcp -m comment --comment "team-35/metrics-0:http external IP" -m tcp --dport 8443 -j KUBE-MARK-MASQ
-A KUBE-SVC-64747U2BLA5PVZQH ! -s 10.128.0.0/14 -d 198.18.128.6/32 -p tcp -m comment --comment "team-35/metrics-0:http external IP" -m tcp --dport 8443 -j KUBE-MARK-MASQ
-A KUBE-SVC-64747U2BLA5PVZQH -m comment --comment "team-35/metrics-0:http" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-KQH7AYJTRDYDNNYR
-A KUBE-SVC-64747U2BLA5PVZQH -m comment --comment "team-35/metrics-0:http" -j KUBE-SEP-5GJ45LIRFREBSS6T
COMMIT
`
	if diff := cmp.Diff(want, string(KubeProxy(1, 1))); diff != "" {
		t.Error(diff)
	}
}

// TestServiceAddresses wants no two services to have one address.
func TestServiceAddresses(t *testing.T) {
	seen := map[string]string{}
	for line := range strings.Lines(string(KubeProxy(KubeServices, 5))) {
		if !strings.HasPrefix(line, "-A "+kubeServices+" -d ") {
			continue
		}
		address := strings.Fields(line)[3]
		if other := seen[address]; other != "" {
			t.Fatalf("one address twice:\n%s%s", other, line)
		}
		seen[address] = line
	}
	if len(seen) != KubeServices*9/4 {
		t.Errorf("%d addresses", len(seen))
	}
}
