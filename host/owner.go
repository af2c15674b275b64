package host

import (
	"slices"
	"strings"

	"nftmigrate/iptables"
)

// An Action is what a migration does with the rules of an owner.
type Action string

// The actions.
const (
	// Leave: the owner writes its rules again whatever becomes of them, so they stay.
	Leave Action = "leave"
	// Switch: the owner can write rules for nftables itself, and is told to.
	Switch Action = "switch"
	// Convert: the rules are the operator's, made by a tool that is not needed any
	// more.
	Convert Action = "convert"
)

// An Owner is a program that writes rules.
type Owner struct {
	Name   string
	Action Action
	// How is what to do, in whole sentences.
	How string
	// chains and comments are how the names of its chains, and the comments of its
	// rules in chains of others, begin; sets are those of its sets; tables are the
	// names of its tables in nf_tables, or how they begin when they end with a star.
	chains, comments, sets, tables []string
}

// owners are those that are known.
//
// Sources: the documentation and the sources of each program.
var owners = []Owner{
	{Name: "Docker", Action: Leave, chains: []string{"DOCKER"}, tables: []string{"docker-bridges"},
		How: `Docker writes its rules at each start. Docker 29 and later can write them for nftables: "firewall-backend": "nftables" in /etc/docker/daemon.json, not with Swarm.`},
	{Name: "kube-proxy", Action: Leave, chains: []string{"KUBE-"}, tables: []string{"kube-proxy"},
		How: "kube-proxy and kubelet write their rules all the time. The administrator of the cluster can switch kube-proxy to mode: nftables, on all nodes."},
	{Name: "Calico", Action: Leave, chains: []string{"cali-"}, comments: []string{"cali:"}, sets: []string{"cali"}, tables: []string{"calico"},
		How: "Calico writes its rules all the time. It can do so for nftables where kube-proxy does."},
	{Name: "Cilium", Action: Leave, chains: []string{"CILIUM_", "OLD_CILIUM_"}, comments: []string{"cilium"}, How: "Cilium writes its rules all the time."},
	{Name: "flannel", Action: Leave, chains: []string{"FLANNEL-"}, comments: []string{"flanneld"}, tables: []string{"flannel-ipv4", "flannel-ipv6"},
		How: "flannel writes its rules all the time. With EnableNFTables it writes them for nftables."},
	{Name: "kube-router", Action: Leave, chains: []string{"KUBE-ROUTER-"}, How: "kube-router writes its rules all the time."},
	{Name: "Antrea", Action: Leave, chains: []string{"ANTREA-"}, sets: []string{"ANTREA-"}, How: "Antrea writes its rules all the time."},
	{Name: "a CNI plugin", Action: Leave, chains: []string{"CNI-", "AWS-SNAT-CHAIN-", "AWS-CONNMARK-CHAIN-", "WEAVE"}, sets: []string{"weave-"}, How: "Plugins of the container network write rules whenever a container starts."},
	{Name: "libvirt", Action: Leave, chains: []string{"LIBVIRT_"}, tables: []string{"libvirt_network"},
		How: `libvirt writes its rules when a network starts. From 10.4 it can write them for nftables: firewall_backend = "nftables" in /etc/libvirt/network.conf, then restart its networks.`},
	{Name: "Podman", Action: Leave, chains: []string{"NETAVARK_", "NETAVARK-"}, tables: []string{"netavark"},
		How: `Podman (netavark) writes rules when a container starts. From netavark 1.10 on it can write them for nftables: firewall_driver = "nftables" in containers.conf.`},
	{Name: "fail2ban", Action: Switch, chains: []string{"f2b-", "fail2ban-"}, sets: []string{"f2b-"}, tables: []string{"f2b-table"},
		How: "fail2ban can write its bans for nftables: banaction = nftables and banaction_allports = nftables[type=allports] in jail.local, then restart it. It bans again what it had banned."},
	{Name: "CrowdSec", Action: Switch, chains: []string{"CROWDSEC_CHAIN"}, sets: []string{"crowdsec-"}, tables: []string{"crowdsec", "crowdsec6"},
		How: "The firewall bouncer of CrowdSec can write for nftables: mode: nftables in its configuration, then restart it."},
	{Name: "Tailscale", Action: Leave, chains: []string{"ts-input", "ts-forward", "ts-postrouting"},
		How: "Tailscale writes its rules at each start. With TS_DEBUG_FIREWALL_MODE=nftables in its environment it writes them for nftables."},
	{Name: "LXD or Incus", Action: Leave, comments: []string{"generated for LXD network", "generated for Incus network"}, tables: []string{"lxd", "incus"},
		How: "LXD and Incus write rules when a network starts, for nftables when they find no rules of iptables at their start."},
	{Name: "Istio", Action: Leave, chains: []string{"ISTIO_"}, How: "Istio writes its rules when a pod starts."},
	{Name: "firewalld", Action: Leave, chains: []string{"INPUT_ZONES", "INPUT_direct", "FORWARD_IN_ZONES", "FORWARD_OUT_ZONES", "FORWARD_direct", "OUTPUT_direct", "IN_", "FWDI_", "FWDO_", "PRE_", "POST_"}, tables: []string{"firewalld"},
		How: "firewalld writes its rules at each start. FirewallBackend=nftables in /etc/firewalld/firewalld.conf has it write them for nftables; then restart it."},
	{Name: "wg-quick", Action: Leave, comments: []string{"wg-quick(8) rule"}, tables: []string{"wg-quick-*"}, How: "wg-quick writes its rules when the tunnel comes up, for nftables where nft is installed."},
	{Name: "NetworkManager", Action: Leave, chains: []string{"nm-sh-"}, tables: []string{"nm-shared-*"}, How: "NetworkManager writes rules of shared connections; firewall-backend=nftables in its configuration has it write them for nftables."},
	{Name: "systemd-networkd", Action: Leave, tables: []string{"io.systemd.nat"}, How: "systemd-networkd writes its rules when a link comes up."},
	{Name: "miniupnpd", Action: Leave, chains: []string{"MINIUPNPD"}, tables: []string{"miniupnpd"}, How: "miniupnpd writes rules on request of other hosts; it can be built for nftables."},
	{Name: "sshguard", Action: Switch, chains: []string{"sshguard"}, sets: []string{"sshguard"}, tables: []string{"sshguard"}, How: `sshguard can write for nftables: BACKEND="/usr/libexec/sshguard/sshg-fw-nft-sets" in sshguard.conf (the path differs among distributions), then restart it.`},
	{Name: "psad", Action: Leave, chains: []string{"PSAD_BLOCK_"}, How: "psad writes rules when it blocks an address, and knows iptables alone."},
	{Name: "ufw", Action: Convert, chains: []string{"ufw-", "ufw6-"}, How: "The rules of ufw are converted. ufw knows iptables alone, and would load its own again at the next start: ufw disable, once the migration is confirmed."},
	{Name: "CSF", Action: Convert, chains: []string{"LOCALINPUT", "LOCALOUTPUT", "DENYIN", "DENYOUT", "ALLOWIN", "ALLOWOUT", "LOGDROPIN", "LOGDROPOUT"}, How: "The rules of CSF are converted. Take it out of service, once the migration is confirmed: csf -x."},
}

// exceptions are chains whose names are like those of an owner and that are the
// operator's all the same.
var exceptions = map[string]bool{"DOCKER-USER": true}

// A Claim is the rules of an owner in one ruleset.
type Claim struct {
	*Owner
	// Chains are its chains, as "filter DOCKER"; Rules is how many rules of chains
	// of others lead there, or are its own.
	Chains []string
	Rules  int
}

// Owners says which rules belong to programs that write them, in the order in which
// they are met. A chain that only chains of one owner lead to is that owner's.
func Owners(rs *iptables.Ruleset) []Claim {
	var claims []Claim
	claim := func(o *Owner) *Claim {
		for i := range claims {
			if claims[i].Owner == o {
				return &claims[i]
			}
		}
		claims = append(claims, Claim{Owner: o})
		return &claims[len(claims)-1]
	}
	for _, t := range rs.Tables {
		of := ownedChains(t)
		for _, c := range t.Chains {
			if o := of[c]; o != nil {
				x := claim(o)
				x.Chains = append(x.Chains, t.Name+" "+c.Name)
				continue
			}
			for _, r := range c.Rules {
				if o := ownerOf(r, t, of); o != nil {
					claim(o).Rules++
				}
			}
		}
	}
	return claims
}

// ownedChains finds the owners of chains by their names, and by who leads to them.
func ownedChains(t *iptables.Table) map[*iptables.Chain]*Owner {
	of := map[*iptables.Chain]*Owner{}
	for _, c := range t.Chains {
		if !c.Builtin && !exceptions[c.Name] {
			of[c] = named(c.Name)
		}
	}
	for again := true; again; {
		again = false
		for _, c := range t.Chains {
			if c.Builtin || of[c] != nil || exceptions[c.Name] {
				continue
			}
			var only *Owner
			led, others := false, false
			for _, from := range t.Chains {
				for _, r := range from.Rules {
					if leadsTo(r, c.Name) {
						others = others || of[from] == nil || led && of[from] != only
						only, led = of[from], true
					}
				}
			}
			if led && !others {
				of[c], again = only, true
			}
		}
	}
	return of
}

func leadsTo(r *iptables.Rule, chain string) bool {
	return (r.Action.Kind == iptables.Jump || r.Action.Kind == iptables.Goto) && r.Action.Name == chain
}

// ownerOf is the owner of a rule in a chain of somebody else: whose chain it leads to,
// or whose comment it has.
func ownerOf(r *iptables.Rule, t *iptables.Table, of map[*iptables.Chain]*Owner) *Owner {
	if r.Action.Kind == iptables.Jump || r.Action.Kind == iptables.Goto {
		if c := t.Chain(r.Action.Name); c != nil && of[c] != nil {
			return of[c]
		}
	}
	for i := range owners {
		o := &owners[i]
		if worded(r, " --comment ", o.comments) || worded(r, " --match-set ", o.sets) {
			return o
		}
	}
	return nil
}

// worded reports whether the line of a rule has an option whose value begins in one of
// some ways.
func worded(r *iptables.Rule, option string, ways []string) bool {
	_, value, found := strings.Cut(r.Range.Text(), option)
	value = strings.TrimPrefix(value, `"`)
	return found && slices.ContainsFunc(ways, func(w string) bool { return strings.HasPrefix(value, w) })
}

// named finds the owner of a chain; the longest name that fits decides.
func named(chain string) *Owner {
	var best *Owner
	longest := 0
	for i := range owners {
		for _, p := range owners[i].chains {
			if len(p) > longest && strings.HasPrefix(chain, p) {
				best, longest = &owners[i], len(p)
			}
		}
	}
	return best
}

// OwnerOfTable is the owner of a table of nf_tables, nil when it is not known.
func OwnerOfTable(name string) *Owner {
	for i := range owners {
		for _, p := range owners[i].tables {
			if start, many := strings.CutSuffix(p, "*"); p == name || many && strings.HasPrefix(name, start) {
				return &owners[i]
			}
		}
	}
	return nil
}
