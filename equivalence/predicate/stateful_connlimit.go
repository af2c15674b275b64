package predicate

import (
	"fmt"
	"strings"
)

// Connlimit is "-m connlimit": it holds when more than Most connections of the
// packet's key are alive, its own included. Each rule counts those that it has
// seen.
//
// The table of all connections is not modelled: of several connections of a key,
// any but the packet's own may be gone. Kernels differ in what they make of a
// connection that was confirmed before the rule saw it.
//
// Kernel: net/netfilter/xt_connlimit.c, nf_conncount.c.
type Connlimit struct {
	Most uint32
	Key  []KeyPart
	IPv6 bool // the family of the rule
}

var _ Instance = Connlimit{}

// Identity is "": each rule counts by itself.
func (Connlimit) Identity() string { return "" }

// Describe says the number and the key.
func (c Connlimit) Describe() string {
	var keys []string
	for _, k := range c.Key {
		keys = append(keys, k.Field.String())
	}
	return fmt.Sprintf("more than %d connections by %s", c.Most, strings.Join(keys, ","))
}

// Keys are the fields of the key.
func (c Connlimit) Keys() []Field {
	var list []Field
	for _, k := range c.Key {
		list = append(list, k.Field)
	}
	return list
}

// connectionTuple and packetTuple are what tell connections apart, of a packet
// with an entry and of one without.
var (
	connectionTuple = []FieldID{CTProtocol, CTOrigSrc, CTOrigDst, CTOrigSrcPort, CTOrigDstPort}
	packetTuple     = []FieldID{Protocol, SrcAddr, DstAddr, SrcPort, DstPort}
)

// Ask counts the packet's connection.
func (c Connlimit) Ask(r Reader, scope string) Truth {
	words := func(list []FieldID) string {
		var b strings.Builder
		for _, id := range list {
			v, present := r.Field(Field{ID: id})
			fmt.Fprintf(&b, "%v %v ", v, present)
		}
		return b.String()
	}
	tuple := words(packetTuple)
	if _, tracked := r.Field(Field{ID: CTProtocol}); tracked == Yes {
		tuple = "connection " + words(connectionTuple)
	}
	key := ""
	for _, k := range c.Key {
		v, present := r.Field(k.Field)
		if present != Yes {
			return Unknown
		}
		key += v.And(k.Mask).String() + " "
	}
	table := Get(r.States(), scope, func() map[string]map[string]bool { return map[string]map[string]bool{} })
	if table[key] == nil {
		table[key] = map[string]bool{}
	}
	const confirmed = 1 << 3 // IPS_CONFIRMED
	status, tracked := r.Field(Field{ID: CTStatus})
	table[key][tuple] = true
	state, _ := r.Field(Field{ID: CTState})
	// A packet that is not tracked may belong to a connection all the same.
	if tracked != Yes || status.Lo&confirmed != 0 || state.Lo != StateNew {
		declare(r, "connlimit-established")
		doubt(r)
	}
	switch most := uint64(c.Most); {
	case most < 1:
		return Yes
	case uint64(len(table[key])) <= most:
		return No
	}
	return Unknown
}
