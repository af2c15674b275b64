package apply

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// A slot is a place in the order of stages. What several tables need at the
// same place is one stage.
type slot int

const (
	prepare   slot = iota // what no packet reaches yet
	activate1             // chains that packets come to first
	activate2
	activate3
	retire1 // old chains that packets come to last
	retire2
	retire3
	policies // of chains that no packet comes to the end of
	discard  // what no packet reaches any more
	rebuild  // what stands in for the time of the switch, under its own name
	back     // from what stands in
	retireStandIns
	discardStandIns
	slots
)

// isLarge says which slots may be committed in parts: no packet reaches
// anything in them.
var isLarge = [slots]bool{prepare: true, discard: true, rebuild: true, discardStandIns: true}

// A builder collects the messages of stages. A unit is a run of messages that
// must be in one transaction.
type builder struct {
	labels []string // of the batch that is planned
	stage  [slots]struct {
		Batch
		units []int // where each begins
	}
	sets uint32 // numbers given out for sets inside of rules
}

func (b *builder) unit(s slot) {
	st := &b.stage[s]
	st.units = append(st.units, len(st.Messages))
}

func (b *builder) add(s slot, m netlink.Message, index int) {
	st := &b.stage[s]
	st.Messages = append(st.Messages, m)
	label := ""
	if index >= 0 && index < len(b.labels) {
		label = b.labels[index]
	}
	st.Labels = append(st.Labels, label)
}

// one adds a message that is a unit of its own.
func (b *builder) one(s slot, m netlink.Message) {
	b.unit(s)
	b.add(s, m, -1)
}

// batches returns the stages, large ones in parts of at most limit bytes, if
// their units allow that.
func (b *builder) batches(limit int) []Batch {
	var all []Batch
	for s := range b.stage {
		st := &b.stage[s]
		if len(st.Messages) == 0 {
			continue
		}
		if limit <= 0 || !isLarge[s] {
			all = append(all, st.Batch)
			continue
		}
		begin, size := 0, batchOverhead
		for u, at := range st.units {
			end := len(st.Messages)
			if u+1 < len(st.units) {
				end = st.units[u+1]
			}
			bytes := 0
			for _, m := range st.Messages[at:end] {
				bytes += unix.NLMSG_HDRLEN + (len(m.Data)+3)&^3
			}
			if size+bytes > limit && at > begin {
				all = append(all, Batch{Messages: st.Messages[begin:at], Labels: st.Labels[begin:at], more: true})
				begin, size = at, batchOverhead
			}
			size += bytes
		}
		all = append(all, Batch{Messages: st.Messages[begin:], Labels: st.Labels[begin:]})
	}
	return all
}

// batchOverhead is room for what begins and ends a batch.
const batchOverhead = 128

// A writer writes what a table is to hold, some of it under other names.
type writer struct {
	*builder
	model *model
	names map[key]string // where they differ
}

// made returns the message that makes something.
func (w *writer) made(i item, ids map[string]uint32) (netlink.Message, bool) {
	m := i.message
	rewrite := i.index < 0
	if rewrite {
		remade := nfnetlink.Replay([]netlink.Message{m})
		if len(remade) == 0 {
			return m, false
		}
		m = remade[0]
	} else if len(w.names) > 0 {
		nfnetlink.References(m, func(r nfnetlink.Ref) {
			if _, ok := w.names[keyOf(r)]; ok {
				rewrite = true
			}
		})
	}
	if !rewrite {
		return m, true
	}
	var number uint32 // that sets must have, and nothing else need
	if kind, _ := nfnetlink.Kind(m); kind == unix.NFT_MSG_NEWSET && ids == nil {
		w.sets++
		number = firstOwnSet + w.sets
	}
	return nfnetlink.Rename(m, func(r nfnetlink.Ref) (string, uint32) {
		k := keyOf(r)
		if name, ok := w.names[k]; ok {
			return name, number
		}
		if i.index >= 0 {
			return r.Name, r.ID
		}
		if n := w.model.within[r.Name]; n != nil && r.Kind == unix.NFT_MSG_NEWSET {
			name := "__set%d"
			if nfnetlink.Number(n.self.attrs(), unix.NFTA_SET_FLAGS)&unix.NFT_SET_MAP != 0 {
				name = "__map%d"
			}
			return name, ids[r.Name]
		}
		return r.Name, number
	}), true
}

// put adds the message that makes something. With own, it is a unit.
func (w *writer) put(s slot, i item, ids map[string]uint32, own bool) {
	m, ok := w.made(i, ids)
	if !ok {
		return
	}
	if own {
		w.unit(s)
	}
	w.add(s, m, i.index)
}

// self adds the chain, set or object itself.
func (w *writer) self(s slot, n *node) { w.put(s, n.self, nil, true) }

// inside adds rules or elements. Rules are appended to their chain.
func (w *writer) inside(s slot, n *node) {
	for _, i := range n.inside {
		if n.key.kind != unix.NFT_MSG_NEWCHAIN {
			w.put(s, i, nil, true)
			continue
		}
		w.unit(s)
		ids := map[string]uint32(nil)
		for _, set := range w.model.anonymous(i) {
			if set.self.index < 0 {
				w.sets++
				if ids == nil {
					ids = map[string]uint32{}
				}
				ids[set.key.name] = firstOwnSet + w.sets
			}
			w.put(s, set.self, ids, false)
			for _, e := range set.inside {
				w.put(s, e, ids, false)
			}
		}
		i.message.Header.Flags = netlink.Request | netlink.Create | netlink.Append
		i.message = atEnd(i.message)
		w.put(s, i, ids, false)
	}
}

// atEnd takes from the message of a rule the place in its chain; the order of
// the messages is the order of the rules.
func atEnd(m netlink.Message) netlink.Message {
	attrs := nfnetlink.Attributes(m)
	if nfnetlink.Find(attrs, unix.NFTA_RULE_POSITION) == nil && nfnetlink.Find(attrs, unix.NFTA_RULE_HANDLE) == nil {
		return m
	}
	data := append(make([]byte, 0, len(m.Data)), m.Data[:4]...)
	for _, a := range attrs {
		if a.Type != unix.NFTA_RULE_POSITION && a.Type != unix.NFTA_RULE_HANDLE {
			data = nfnetlink.AppendAttr(data, a.Type, a.Data)
		}
	}
	m.Data = data
	return m
}

// firstOwnSet keeps clear of the numbers of the batch that is planned.
const firstOwnSet = 1 << 24

// Mark is the comment of the rules that are there for the time of a switch.
const Mark = "nftmigrate: switching"

// markData is Mark as nft stores comments.
//
// Library: libnftnl, udata.h, NFTNL_UDATA_RULE_COMMENT.
var markData = append([]byte{0, byte(len(Mark) + 1)}, Mark+"\x00"...)

// verdictRule is a rule that does nothing but to give a verdict, with a place
// to jump to when it has one.
func verdictRule(t nfnetlink.Table, chain string, code int32, to string, flags netlink.HeaderFlags) netlink.Message {
	verdict := nfnetlink.AppendUint32(nil, unix.NFTA_VERDICT_CODE, uint32(code))
	if to != "" {
		verdict = nfnetlink.AppendString(verdict, unix.NFTA_VERDICT_CHAIN, to)
	}
	data := nfnetlink.AppendAttr(nil, unix.NFTA_DATA_VERDICT|netlink.Nested, verdict)
	immediate := nfnetlink.AppendUint32(nil, unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT)
	immediate = nfnetlink.AppendAttr(immediate, unix.NFTA_IMMEDIATE_DATA|netlink.Nested, data)
	expression := nfnetlink.AppendString(nil, unix.NFTA_EXPR_NAME, "immediate")
	expression = nfnetlink.AppendAttr(expression, unix.NFTA_EXPR_DATA|netlink.Nested, immediate)
	attrs := nfnetlink.AppendString(nil, unix.NFTA_RULE_TABLE, t.Name)
	attrs = nfnetlink.AppendString(attrs, unix.NFTA_RULE_CHAIN, chain)
	attrs = nfnetlink.AppendAttr(attrs, unix.NFTA_RULE_EXPRESSIONS|netlink.Nested, nfnetlink.AppendAttr(nil, 1|netlink.Nested, expression))
	attrs = nfnetlink.AppendAttr(attrs, unix.NFTA_RULE_USERDATA, markData)
	return nfnetlink.Message(unix.NFT_MSG_NEWRULE, netlink.Create|flags, t.Family, attrs)
}

const (
	verdictDrop   = 0  // NF_DROP
	verdictAccept = 1  // NF_ACCEPT
	verdictJump   = -3 // NFT_JUMP
)

// chainMessage is a message about a chain that says no more than its name.
func chainMessage(kind int, t nfnetlink.Table, name string) netlink.Message {
	attrs := nfnetlink.AppendString(nil, unix.NFTA_CHAIN_TABLE, t.Name)
	attrs = nfnetlink.AppendString(attrs, unix.NFTA_CHAIN_NAME, name)
	var flags netlink.HeaderFlags
	if kind == unix.NFT_MSG_NEWCHAIN {
		flags = netlink.Create
	}
	return nfnetlink.Message(kind, flags, t.Family, attrs)
}

// policyMessage changes the policy of a base chain.
func policyMessage(t nfnetlink.Table, chain string, drops bool) netlink.Message {
	m := chainMessage(unix.NFT_MSG_NEWCHAIN, t, chain)
	m.Data = nfnetlink.AppendUint32(m.Data, unix.NFTA_CHAIN_POLICY, uint32(policyVerdict(drops)))
	return m
}

func policyVerdict(drops bool) int32 {
	if drops {
		return verdictDrop
	}
	return verdictAccept
}

// deletion deletes a chain, a set or an object by its name.
func deletion(t nfnetlink.Table, k key) netlink.Message {
	if k.kind == unix.NFT_MSG_NEWCHAIN {
		return chainMessage(unix.NFT_MSG_DELCHAIN, t, k.name)
	}
	attrs := nfnetlink.AppendString(nil, 1, t.Name)
	return nfnetlink.Message(k.kind+2, 0, t.Family, nfnetlink.AppendString(attrs, 2, k.name))
}

// deleteObject deletes an object, which the kernel finds by name and type.
func deleteObject(t nfnetlink.Table, name string, self item) netlink.Message {
	m := deletion(t, key{unix.NFT_MSG_NEWOBJ, name})
	m.Data = nfnetlink.AppendUint32(m.Data, unix.NFTA_OBJ_TYPE, nfnetlink.Number(self.attrs(), unix.NFTA_OBJ_TYPE))
	return m
}

// flushChain deletes all rules of a chain.
func flushChain(t nfnetlink.Table, chain string) netlink.Message {
	attrs := nfnetlink.AppendString(nil, unix.NFTA_RULE_TABLE, t.Name)
	return nfnetlink.Message(unix.NFT_MSG_DELRULE, 0, t.Family, nfnetlink.AppendString(attrs, unix.NFTA_RULE_CHAIN, chain))
}

// deleteMarked deletes the rules of a chain that have our mark. Their handles
// are found when the stage is sent; see [unmark].
func deleteMarked(t nfnetlink.Table, chain string) netlink.Message {
	m := flushChain(t, chain)
	m.Data = nfnetlink.AppendAttr(m.Data, unix.NFTA_RULE_USERDATA, markData)
	return m
}

// unmark puts the handles of rules in the place of deletions of marked rules.
// The kernel would read such a deletion as one of all rules, so it is never
// sent.
func unmark(stage Batch, now []netlink.Message) (Batch, error) {
	marked := false
	for _, m := range stage.Messages {
		marked = marked || isUnmarking(m)
	}
	if !marked {
		return stage, nil
	}
	handles := map[string][][]byte{} // by table and chain
	place := func(m netlink.Message) string {
		return fmt.Sprint(nfnetlink.TableOf(m), nfnetlink.FindString(nfnetlink.Attributes(m), unix.NFTA_RULE_CHAIN))
	}
	for _, m := range now {
		if kind, _ := nfnetlink.Kind(m); kind != unix.NFT_MSG_NEWRULE {
			continue
		}
		attrs := nfnetlink.Attributes(m)
		if string(nfnetlink.Find(attrs, unix.NFTA_RULE_USERDATA)) == string(markData) {
			handles[place(m)] = append(handles[place(m)], nfnetlink.Find(attrs, unix.NFTA_RULE_HANDLE))
		}
	}
	var out Batch
	for i, m := range stage.Messages {
		if !isUnmarking(m) {
			out.Messages, out.Labels = append(out.Messages, m), append(out.Labels, stage.label(i))
			continue
		}
		found := handles[place(m)]
		if len(found) == 0 {
			return out, fmt.Errorf("chain %q has no rule with the comment %q", nfnetlink.FindString(nfnetlink.Attributes(m), unix.NFTA_RULE_CHAIN), Mark)
		}
		for _, handle := range found {
			chain := nfnetlink.FindString(nfnetlink.Attributes(m), unix.NFTA_RULE_CHAIN)
			d := flushChain(nfnetlink.TableOf(m), chain)
			d.Data = nfnetlink.AppendAttr(d.Data, unix.NFTA_RULE_HANDLE, handle)
			out.Messages, out.Labels = append(out.Messages, d), append(out.Labels, "")
		}
	}
	return out, nil
}

func isUnmarking(m netlink.Message) bool {
	kind, ours := nfnetlink.Kind(m)
	return ours && kind == unix.NFT_MSG_DELRULE && nfnetlink.Find(nfnetlink.Attributes(m), unix.NFTA_RULE_USERDATA) != nil
}

// rank is the place of a base chain's hook on the way of a packet.
func rank(n *node) slot {
	hook := nfnetlink.Nested(nfnetlink.Find(n.self.attrs(), unix.NFTA_CHAIN_HOOK))
	number := nfnetlink.Number(hook, unix.NFTA_HOOK_HOOKNUM)
	const inetIngress = 5 // NF_INET_INGRESS
	switch {
	case number == unix.NF_INET_PRE_ROUTING || number == inetIngress:
		return 0
	case number == unix.NF_INET_POST_ROUTING:
		return 2
	}
	return 1
}

// fresh returns a name that is not taken, for something that stands in.
func fresh(name string, taken func(string) bool) string {
	const most = 200 // of 255 bytes
	name = name[:min(len(name), most)] + ".new"
	for i, candidate := 2, name; ; i++ {
		if !taken(candidate) {
			return candidate
		}
		candidate = fmt.Sprintf("%s%d", name, i)
	}
}
