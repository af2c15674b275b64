package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"nftmigrate/equivalence"
	"nftmigrate/host"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/packet"
	"nftmigrate/plan"
	"nftmigrate/snapshot"
	"nftmigrate/transaction"
)

// checklist is what to look at before and after the change, filled with facts.
func (d *draft) checklist(p *plan.Plan) ([]byte, error) {
	var b bytes.Buffer
	m := p.Manifest
	where := "the host " + m.Host
	if m.Netns != "" {
		where = "the network namespace " + m.Netns + " of " + where
	}
	fmt.Fprintf(&b, "# Migration of %s, planned %s\n\n## Before\n\n", where, m.Created.Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&b, "- [ ] The comparison says: %s (%s).\n", m.Result, plan.Report)
	for _, code := range m.Deviations {
		fmt.Fprintf(&b, "- [ ] The declared difference %s is accepted (docs/deviations.md says what it is).\n", code)
	}
	from, open, err := session(d.ns)
	if err != nil {
		return nil, missing(err)
	}
	if from != nil {
		fmt.Fprintf(&b, "- [ ] You are connected from %s, and can log in a second time to confirm.\n", from)
	} else {
		b.WriteString("- [ ] You are on a console, or can come back to it.\n")
	}
	fmt.Fprintf(&b, "- [ ] %d connections are open; they live on.\n", len(open))
	listening, err := transaction.Listening(d.ns)
	if err != nil {
		return nil, missing(err)
	}
	d.ports(&b, listening)
	for _, c := range d.owned {
		fmt.Fprintf(&b, "- [ ] %s: %s\n", c.Name, c.How)
	}
	b.WriteString("\n## Everything that can drop a packet now\n\nA packet has to pass all of it.\n\n")
	for _, x := range host.Droppers(d.before) {
		after := "stays"
		if slices.Contains(m.Empties, x.Part) {
			after = "is emptied"
		}
		fmt.Fprintf(&b, "- %s: %s\n", x, after)
	}
	b.WriteString("\n## What changes\n\n")
	fmt.Fprintf(&b, "- The table `%s` is put in effect (%s).\n", m.Table, plan.Ruleset)
	for _, part := range m.Empties {
		fmt.Fprintf(&b, "- %s is emptied once the new rules are in effect; its policies accept first.\n", part)
	}
	for _, part := range d.staying(m) {
		fmt.Fprintf(&b, "- %s stays as it is.\n", part)
	}
	b.WriteString("- Until you confirm, nothing is changed on disk: a restart brings back what was there.\n\n## What the confirmation changes on disk\n\n```\n")
	b.Write(p.Files[plan.Disk])
	b.WriteString("```\n")
	b.WriteString("\n## After\n\n- [ ] Log in again, with a new connection, and confirm from there.\n- [ ] `migrate status` says confirmed.\n")
	fmt.Fprintf(&b, "- [ ] `nft list table %s` shows the new rules, and its counters, where there are some, move.\n", familyAndTable(d))
	return b.Bytes(), nil
}

func familyAndTable(d *draft) string {
	for _, msg := range d.pair.batch {
		if _, ours := nfnetlink.Kind(msg); ours {
			return strings.TrimPrefix(snapshot.TableName(nfnetlink.TableOf(msg)), "nf_tables table ")
		}
	}
	return ""
}

// ports says of each port on which somebody listens whether a new connection from
// elsewhere gets there by the new rules.
func (d *draft) ports(b *bytes.Buffer, listening []netip.AddrPort) {
	clients := map[bool]netip.Addr{true: netip.MustParseAddr("198.51.100.1"), false: netip.MustParseAddr("2001:db8:ffff::1")}
	own, err := ownAddresses(d.ns)
	if err != nil {
		fmt.Fprintf(b, "- [ ] The addresses of the devices could not be read, so look yourself which ports are reached: %v\n", err)
		return
	}
	for _, at := range listening {
		four := at.Addr().Is4()
		for _, o := range own {
			reached := o.address == at.Addr() || at.Addr().IsUnspecified() && (four == o.address.Is4() || !four)
			if o.loopback || !reached || !slices.Contains(d.in.versions(), map[bool]int{true: 4, false: 6}[o.address.Is4()]) {
				continue
			}
			w := wayIn{client: netip.AddrPortFrom(clients[o.address.Is4()], 50000), server: netip.AddrPortFrom(o.address, at.Port())}
			one, err := packet.ParseWords(w.steps(o.device)[0].word)
			if err != nil {
				continue
			}
			_, fate := equivalence.Trace(d.pair.source, d.pair.target, one, "")
			fmt.Fprintf(b, "- [ ] TCP port %d: a new connection from %s to %s by %s is %s.\n", at.Port(), w.client.Addr(), o.address, o.device, equivalence.Describe(fate))
		}
	}
}

// staying are the parts that the migration leaves alone.
func (d *draft) staying(m plan.Manifest) (names []string) {
	ours := "nf_tables table " + familyAndTable(d)
	for _, name := range d.before.Parts() {
		if name != ours && !slices.Contains(m.Empties, name) {
			names = append(names, name)
		}
	}
	return names
}
