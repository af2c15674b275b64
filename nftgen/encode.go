package nftgen

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/diag"
)

// A Batch is a ruleset as netlink messages: BATCH_BEGIN, what replaces our
// table, BATCH_END. The messages are not numbered.
type Batch struct {
	Messages []netlink.Message
	// Origins has the source rule of each message, and no place for messages
	// that have none.
	Origins []diag.Range
}

// Encode returns the batch that replaces the ruleset's table as a whole: the
// table is made if it is not there, deleted with all it holds and made anew, in
// one transaction. Tables of others are not touched. An error names what the
// language of nft 1.0.6 cannot express.
func Encode(rs *Ruleset) (*Batch, error) {
	tables, err := checkTables(rs)
	if err != nil {
		return nil, fmt.Errorf("encode the ruleset: %w", err)
	}
	e := &encoder{ids: make(map[*Set]uint32), batch: new(Batch)}
	e.edge(unix.NFNL_MSG_BATCH_BEGIN)
	for _, t := range tables {
		if err := e.wholeTable(t); err != nil {
			return nil, err
		}
	}
	e.edge(unix.NFNL_MSG_BATCH_END)
	return e.batch, nil
}

func (e *encoder) wholeTable(t *Table) error {
	e.table = t
	e.message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, e.tableAttributes())
	e.message(unix.NFT_MSG_DELTABLE, 0, e.tableName())
	e.message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, e.tableAttributes())
	for _, c := range t.Chains {
		e.chain(c)
	}
	for _, o := range t.Objects {
		e.object(o)
	}
	for _, s := range t.Sets {
		e.ids[s] = e.nextSet()
		set := s.lookupSet(e.ids[s])
		e.set(&set)
	}
	for _, c := range t.Chains {
		for i, r := range c.Rules {
			if err := e.rule(c, r); err != nil {
				return fmt.Errorf("encode rule %d of chain %s: %w", i+1, c.Name, err)
			}
		}
	}
	return nil
}

type encoder struct {
	table  *Table
	ids    map[*Set]uint32
	sets   uint32
	batch  *Batch
	origin diag.Range
}

func (e *encoder) nextSet() uint32 {
	e.sets++
	return e.sets
}

func (e *encoder) append(m netlink.Message) {
	e.batch.Messages = append(e.batch.Messages, m)
	e.batch.Origins = append(e.batch.Origins, e.origin)
}

// edge appends the message that begins or ends a batch.
//
// Kernel: net/netfilter/nfnetlink.c, nfnetlink_rcv_skb_batch.
func (e *encoder) edge(kind uint16) {
	e.append(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES},
	})
}

func (e *encoder) message(kind uint16, flags netlink.HeaderFlags, a attributes) {
	data := make([]byte, 0, 4+len(a))
	data = append(data, byte(e.table.Family), unix.NFNETLINK_V0, 0, 0)
	e.append(netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind),
			Flags: netlink.Request | flags,
		},
		Data: append(data, a...),
	})
}

func (e *encoder) tableName() attributes {
	var a attributes
	a.text(unix.NFTA_TABLE_NAME, e.table.Name)
	return a
}

func (e *encoder) tableAttributes() attributes {
	a := e.tableName()
	a.u32(unix.NFTA_TABLE_FLAGS, 0)
	return a
}

func (e *encoder) chain(c *Chain) {
	var a attributes
	a.text(unix.NFTA_CHAIN_TABLE, e.table.Name)
	a.text(unix.NFTA_CHAIN_NAME, c.Name)
	if b := c.Base; b != nil {
		var hook attributes
		hook.u32(unix.NFTA_HOOK_HOOKNUM, uint32(b.Hook))
		hook.u32(unix.NFTA_HOOK_PRIORITY, uint32(b.Priority))
		a.nested(unix.NFTA_CHAIN_HOOK, hook)
		policy := uint32(1) // NF_ACCEPT
		if b.Drop {
			policy = 0 // NF_DROP
		}
		a.u32(unix.NFTA_CHAIN_POLICY, policy)
		a.text(unix.NFTA_CHAIN_TYPE, b.Type)
	}
	e.origin = c.Origin
	e.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, a)
	e.origin = diag.Range{}
}

func (e *encoder) set(s *lookupSet) {
	if s.anonymous {
		s.name = s.anonymousName()
	}
	list := s.list()
	count := s.count(list)
	if s.anonymous {
		count += s.bulk.Len()
	}
	e.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, s.add(e.table.Name, count))
	if s.bulk != nil {
		s.bulk.encode(s, e.table.Name, func(a attributes) { e.message(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, a) })
	}
	for _, a := range s.addElements(e.table.Name, list) {
		e.message(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, a)
	}
}

func (e *encoder) rule(c *Chain, r *Rule) error {
	compiled := newCompiler(e.table.Family)
	compiled.ids, compiled.nextSet = e.ids, e.nextSet
	if _, err := r.compile(compiled, nil); err != nil {
		return err
	}
	e.origin = r.Origin
	defer func() { e.origin = diag.Range{} }()
	for i := range compiled.sets {
		e.set(&compiled.sets[i])
	}
	list := make(attributes, 0, 512)
	for _, x := range compiled.expressions() {
		data, err := x.marshal(e.table.Family)
		if err != nil {
			return err
		}
		list.nested(unix.NFTA_LIST_ELEM, data)
	}
	if err := checkAttribute("a rule", len(list)); err != nil {
		return err
	}
	var a attributes
	a.text(unix.NFTA_RULE_TABLE, e.table.Name)
	a.text(unix.NFTA_RULE_CHAIN, c.Name)
	a.nested(unix.NFTA_RULE_EXPRESSIONS, list)
	if compat := r.compat(); compat != nil {
		a.nested(unix.NFTA_RULE_COMPAT, compat)
	}
	if r.Comment != "" {
		userdata := append([]byte{ruleComment, byte(len(r.Comment) + 1)}, r.Comment...)
		a.bytes(unix.NFTA_RULE_USERDATA, append(userdata, 0)...)
	}
	e.message(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, a)
	return nil
}
