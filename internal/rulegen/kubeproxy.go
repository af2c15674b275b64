package rulegen

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"math/rand/v2"
	"net/netip"
)

// The networks of a cluster. A service has one address of each of the first
// and last, and two pods.
const (
	clusterNetwork  = "10.96.0.0/12"
	podNetwork      = "10.128.0.0/14"
	externalNetwork = "198.18.0.0/15"
)

// The ports that a node lends to services.
const (
	nodePortFirst = 30000
	nodePorts     = 2768
)

// KubeProxy returns the table nat of a cluster's node as kube-proxy 1.22 writes
// it, with two endpoints for each service. Every service has an address outside
// of the cluster, every fourth two, and every fourth a port of the node, as
// long as the 2,768 of them last.
//
// For n services, a multiple of four up to 11,072, there are 11n+8 rules and
// 3n+8 chains, four of which are built-in: with [KubeServices] 110,008 rules and
// 30,008 chains. From 100,000 services on addresses repeat.
func KubeProxy(services int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 8))
	k := &cluster{
		Rand: r,
		save: new(save),

		cluster:  spread{netip.MustParsePrefix(clusterNetwork), r.Uint32()},
		pods:     spread{netip.MustParsePrefix(podNetwork), r.Uint32()},
		external: spread{netip.MustParsePrefix(externalNetwork), r.Uint32()},
	}
	k.nat = k.save.table("nat", "PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")
	k.addFrame()
	for i := range services {
		k.addService(i)
	}
	return k.save.text()
}

// A cluster is the services of a cluster, and the save file that speaks of
// them.
type cluster struct {
	*rand.Rand
	save *save
	nat  *table

	cluster, pods, external spread
	externals               int // how many are in use
}

// A spread gives out the addresses of a network without a pattern: each once,
// before they repeat.
type spread struct {
	network netip.Prefix
	first   uint32
}

func (s spread) addr(i int) netip.Addr {
	return nth(s.network.Addr(), scatter(uint32(i)+s.first, 1<<(32-s.network.Bits())))
}

// The chains of kube-proxy.
const (
	kubeServices    = "KUBE-SERVICES"
	kubeNodePorts   = "KUBE-NODEPORTS"
	kubePostrouting = "KUBE-POSTROUTING"
	kubeMarkMasq    = "KUBE-MARK-MASQ"
)

func comment(text string) string { return fmt.Sprintf("comment --comment %q", text) }

// addFrame adds what is there without services.
func (k *cluster) addFrame() {
	portals := rule{action: "-j " + kubeServices}.with(comment("kubernetes service portals"))
	k.nat.chain("PREROUTING").add(portals)
	k.nat.chain("OUTPUT").add(portals)
	k.nat.chain("POSTROUTING").add(rule{action: "-j " + kubePostrouting}.with(comment("kubernetes postrouting rules")))
	k.nat.chain(kubeServices).end(rule{action: "-j " + kubeNodePorts}.
		with(comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain")).
		with("addrtype --dst-type LOCAL"))
	k.nat.chain(kubeNodePorts)
	k.nat.chain(kubeMarkMasq).add(rule{action: "-j MARK --set-xmark 0x4000/0x4000"})
	k.nat.chain(kubePostrouting).add(
		rule{action: "-j RETURN"}.with("mark ! --mark 0x4000/0x4000"),
		rule{action: "-j MARK --set-xmark 0x4000/0x0"},
		rule{action: "-j MASQUERADE --random-fully"}.with(comment("kubernetes service traffic requiring SNAT")))
}

// addService adds the rules of one service.
func (k *cluster) addService(i int) {
	app := oneOf(k.Rand, []string{"api", "auth", "billing", "cache", "cart", "db", "feed", "frontend", "ingest", "mail", "metrics", "queue", "search", "web"})
	port := oneOf(k.Rand, []int{80, 443, 8080, 8443, 9090, 5432, 6379, 1024 + k.IntN(20000)})
	name := fmt.Sprintf("team-%d/%s-%d:%s", k.IntN(100), app, i, oneOf(k.Rand, []string{"http", "https", "grpc", "p0"}))
	svc := k.nat.chain("KUBE-SVC-" + kubeHash(name, "tcp"))

	portal := rule{protocol: "tcp"}.with(comment(name + " cluster IP")).with(tcpTo(port))
	portal.destination = single(k.cluster.addr(i)).String()
	k.nat.chain(kubeServices).add(portal.to("-j " + svc.name))
	portal.source = "! " + podNetwork
	svc.add(portal.to("-j " + kubeMarkMasq))

	externals := 1
	if i%4 == 0 {
		externals = 2
	}
	for range externals {
		outer := rule{protocol: "tcp", destination: single(k.external.addr(k.externals)).String()}.
			with(comment(name + " external IP")).with(tcpTo(port))
		k.externals++
		k.nat.chain(kubeServices).add(outer.to("-j " + svc.name))
		outer.source = "! " + podNetwork
		svc.add(outer.to("-j " + kubeMarkMasq))
	}
	if i%4 == 1 && i/4 < nodePorts {
		node := rule{protocol: "tcp"}.with(comment(name)).with(tcpTo(nodePortFirst + i/4))
		k.nat.chain(kubeNodePorts).add(node.to("-j " + svc.name))
		node.source = "! " + podNetwork
		svc.add(node.to("-j " + kubeMarkMasq))
	}
	targetPort := oneOf(k.Rand, []int{port, 8080, 3000, 9000})
	for e := range 2 {
		pod := k.pods.addr(2*i + e)
		endpoint := fmt.Sprintf("%s:%d", pod, targetPort)
		sep := k.nat.chain("KUBE-SEP-" + kubeHash(name, "tcp", endpoint))
		sep.add(
			rule{source: single(pod).String(), action: "-j " + kubeMarkMasq}.with(comment(name)),
			rule{protocol: "tcp", action: "-j DNAT --to-destination " + endpoint}.with(comment(name)).with("tcp"))
		choice := rule{action: "-j " + sep.name}.with(comment(name))
		if e == 0 {
			choice = choice.with("statistic --mode random --probability 0.50000000000")
		}
		svc.add(choice)
	}
}

// kubeHash returns the part of a chain's name that stands for what the chain is
// about.
func kubeHash(words ...string) string {
	h := sha256.New()
	for _, w := range words {
		h.Write([]byte(w))
	}
	return base32.StdEncoding.EncodeToString(h.Sum(nil))[:16]
}
