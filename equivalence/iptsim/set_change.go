package iptsim

import (
	"time"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
)

// noteChanges notes which sets the rules of a ruleset change.
func (t *setTests) noteChanges(rs *iptables.Ruleset) {
	t.changed = map[string]map[uint8]bool{}
	for _, table := range rs.Tables {
		for _, c := range table.Chains {
			for _, r := range c.Rules {
				doing, ok := r.Action.Target.(Doing)
				if !ok {
					continue
				}
				for _, e := range doing.Action(iptables.Context{Family: rs.Family, Table: table.Name, Chain: c.Name, Rule: r}).Effects {
					if change, ok := e.(predicate.SetChange); ok {
						if t.changed[change.Name] == nil {
							t.changed[change.Name] = map[uint8]bool{}
						}
						proto, _ := iptables.Context{Rule: r}.ProtocolNumber()
						t.changed[change.Name][proto] = true
					}
				}
			}
		}
	}
}

// changing reports whether what a set holds is a matter of time or of packets.
func (t *setTests) changing(set *ipset.Set) bool {
	if t.changed[set.Name] != nil {
		return true
	}
	timed := false
	if set.Options.HasTimeout {
		set.Elements(func(_ int, e *ipset.Element) bool {
			timed = e.Extra.Timeout != 0
			return !timed
		})
	}
	return timed
}

// exact reports whether elements of a set are looked up by exact values, without
// networks or names.
func exact(set *ipset.Set) bool {
	for _, part := range set.Type.Parts {
		switch part {
		case ipset.IP, ipset.Port, ipset.Mark, ipset.MAC:
		default:
			return false
		}
	}
	return set.Type.Name != "bitmap:ip,mac" && (set.Options.Netmask == 0 || !set.Type.Bitmap)
}

// changingMember is member of a set that changes. Its elements that run out come
// into the state when the machine starts.
func (t *setTests) changingMember(key treeKey, source []bool) predicate.ChangingMember {
	set, proto := key.set, uint8(max(key.proto, 0))
	m := predicate.ChangingMember{Part: string([]byte{proto}), Most: int(set.Options.MaxElem), Count: set.Len()}
	m.Member = t.staticMember(key, source)
	m.Timed = t.tree(key).timed
	if set.Options.Netmask != 0 { // elements are what the mask leaves
		m.Masks = make([]predicate.Bits, len(m.Fields))
		for i, f := range m.Fields {
			m.Masks[i] = predicate.Ones(128)
			if f.ID == predicate.SrcAddr || f.ID == predicate.DstAddr {
				width := 32
				if set.Options.Family == 6 {
					width = 128
				}
				m.Masks[i] = predicate.Ones(width).Xor(predicate.Ones(width - int(set.Options.Netmask)))
			}
		}
	}
	return m
}

// bind puts into a change of a set what it means.
//
// Kernel: net/netfilter/ipset/ip_set_core.c, ip_set_add and ip_set_del;
// ip_set_hash_*.c and ip_set_bitmap_ip.c, the functions *_kadt. An element of
// hash:ip is never the address of zeros; a bitmap takes the addresses of its range.
func (t *setTests) bind(c predicate.SetChange, ctx iptables.Context) predicate.SetChange {
	set := t.sets.Set(c.Name)
	if set == nil {
		c.Unmodelled = "set " + c.Name + ", which no file gives"
		return c
	}
	o := &set.Options
	addresses := set.Type.Name == "bitmap:ip"
	if len(c.Source) < len(set.Type.Parts) || o.Family != 0 && o.Family != uint8(ctx.Family) || addresses && ctx.Family != iptables.IPv4 {
		return c
	}
	if !exact(set) || o.ForceAdd || set.Type.Bitmap && !addresses {
		c.Unmodelled = "changes of set " + c.Name
		return c
	}
	life := time.Duration(o.Timeout) * time.Second
	switch {
	case !o.HasTimeout:
		life = 0
	case c.Timeout != nil:
		life = *c.Timeout
	}
	key, when := treeKey{set: set, proto: -1}, predicate.All{}
	if ported(set) {
		// What a packet of any protocol adds is not modelled.
		proto, told := ctx.ProtocolNumber()
		if headerBytes(proto) == 0 || !told {
			c.Unmodelled = "changes of set " + c.Name + " by packets of any protocol"
			return c
		}
		key.proto, when = int(proto), readable(proto, ctx.Family)
	}
	m := t.changingMember(key, c.Source)
	if set.Type.Name == "hash:ip" {
		mask := predicate.Ones(128)
		if m.Masks != nil {
			mask = m.Masks[0]
		}
		when = append(when, predicate.Not{P: predicate.Masked{Field: m.Fields[0], Mask: mask}})
	}
	if addresses {
		when = append(when, predicate.Between{Field: m.Fields[0], Low: predicate.Number(uint64(o.Low)), High: predicate.Number(uint64(o.High))})
	}
	c.Parts = append(c.Parts, predicate.SetPart{When: when, Member: m, Life: life})
	return c
}

func ported(set *ipset.Set) bool {
	for _, part := range set.Type.Parts {
		if part == ipset.Port {
			return true
		}
	}
	return false
}
