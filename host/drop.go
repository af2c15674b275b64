package host

import (
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/xtables"
	"nftmigrate/snapshot"
)

// A Dropper is a table that can drop packets, wherever the packets it drops are
// accepted elsewhere: a packet has to pass all of them.
type Dropper struct {
	// Part is the table, as a part of a snapshot.
	Part string
	// Owner is who writes it, nil when that is not known.
	Owner *Owner
	// Policies are the base chains that drop what no rule decides, Rules how many
	// rules drop or reject; of legacy tables Rules counts all rules.
	Policies []string
	Rules    int
}

// String is what can be said in half a sentence.
func (d Dropper) String() string {
	text := d.Part
	if d.Owner != nil {
		text += " (" + d.Owner.Name + ")"
	}
	for _, p := range d.Policies {
		text += ", policy of " + p
	}
	if d.Rules > 0 {
		text += fmt.Sprintf(", %d rules", d.Rules)
	}
	return text
}

// Droppers is the one view of everything that can drop a packet, in both planes and in
// all tables.
func Droppers(s *snapshot.Snapshot) []Dropper {
	var list []Dropper
	for _, t := range s.Legacy {
		if t.Idle() {
			continue
		}
		d := Dropper{Part: snapshot.LegacyName(t.Family(), t.Name())}
		for _, p := range t.Policies() {
			if p.Policy == xtables.Drop {
				d.Policies = append(d.Policies, p.Chain)
			}
		}
		d.Rules, _ = t.Size()
		list = append(list, d)
	}
	for _, t := range (&nfnetlink.Dump{Messages: s.Ruleset}).Tables() {
		d := Dropper{Part: snapshot.TableName(t), Owner: OwnerOfTable(t.Name)}
		for _, m := range s.Ruleset {
			if nfnetlink.TableOf(m) != t {
				continue
			}
			attrs := nfnetlink.Attributes(m)
			switch kind, _ := nfnetlink.Kind(m); {
			case kind == unix.NFT_MSG_NEWCHAIN && nfnetlink.Find(attrs, unix.NFTA_CHAIN_POLICY) != nil && nfnetlink.Number(attrs, unix.NFTA_CHAIN_POLICY) == dropped:
				d.Policies = append(d.Policies, nfnetlink.FindString(attrs, unix.NFTA_CHAIN_NAME))
			case kind == unix.NFT_MSG_NEWRULE && drops(attrs), kind == unix.NFT_MSG_NEWSETELEM && mapsToDrop(m):
				d.Rules++
			}
		}
		if len(d.Policies) > 0 || d.Rules > 0 {
			list = append(list, d)
		}
	}
	return list
}

// dropped is NF_DROP.
const dropped = 0

// drops reports whether a rule drops or rejects by itself: by an immediate verdict, by
// reject, or by a target of xtables.
func drops(rule []nfnetlink.Attr) bool {
	return slices.ContainsFunc(nfnetlink.Nested(nfnetlink.Find(rule, unix.NFTA_RULE_EXPRESSIONS)), func(e nfnetlink.Attr) bool {
		expression := nfnetlink.Nested(e.Data)
		data := nfnetlink.Nested(nfnetlink.Find(expression, unix.NFTA_EXPR_DATA))
		switch nfnetlink.FindString(expression, unix.NFTA_EXPR_NAME) {
		case "reject":
			return true
		case "target":
			return slices.Contains([]string{"DROP", "REJECT"}, nfnetlink.FindString(data, unix.NFTA_TARGET_NAME))
		case "immediate":
			return verdictDrops(nfnetlink.Find(data, unix.NFTA_IMMEDIATE_DATA))
		}
		return false
	})
}

func verdictDrops(data []byte) bool {
	verdict := nfnetlink.Nested(nfnetlink.Find(nfnetlink.Nested(data), unix.NFTA_DATA_VERDICT))
	return nfnetlink.Find(verdict, unix.NFTA_VERDICT_CODE) != nil && nfnetlink.Number(verdict, unix.NFTA_VERDICT_CODE) == dropped
}

// mapsToDrop reports whether an element of a message leads to drop.
func mapsToDrop(m netlink.Message) bool {
	for _, e := range nfnetlink.Nested(nfnetlink.Find(nfnetlink.Attributes(m), unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
		if verdictDrops(nfnetlink.Find(nfnetlink.Nested(e.Data), unix.NFTA_SET_ELEM_DATA)) {
			return true
		}
	}
	return false
}
