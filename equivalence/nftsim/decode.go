package nftsim

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Decode decodes a batch: the messages as they are sent in a transaction to a
// kernel without these tables, with or without the messages that begin and end
// a batch.
//
// What the batch holds beyond the model makes packets undecided. An error means
// that the kernel would refuse the batch, or that a message does something to
// the ruleset that is not modelled (deleting rules, say).
func Decode(batch []netlink.Message) (*Machine, error) {
	d := &decoder{machine: &Machine{}}
	for n, msg := range batch {
		if err := d.message(n, msg); err != nil {
			return nil, fmt.Errorf("message %d of the batch: %w", n, err)
		}
	}
	if d.phase == phaseOpen {
		return nil, errors.New("batch is not ended")
	}
	if err := link(d.machine); err != nil {
		return nil, err
	}
	d.machine.Reset()
	return d.machine, nil
}

type batchPhase uint8

const (
	phaseStart batchPhase = iota
	phaseOpen             // after BATCH_BEGIN
	phaseBare             // messages without BATCH_BEGIN
	phaseEnd
)

// decoder is the state of Decode.
type decoder struct {
	machine *Machine
	phase   batchPhase
	scopes  map[*Table]*scope
	n       int // index of the message
	msg     netlink.Message
}

const (
	genmsgLen = 4 // struct nfgenmsg: family, version, resource
	subsystem = unix.NFNL_SUBSYS_NFTABLES << 8
)

// messages are the decoders by message type. Flow tables change nothing by
// themselves; the expressions that use them are not modelled.
var messages = map[netlink.HeaderType]func(d *decoder, family uint8, data []byte) error{
	subsystem | unix.NFT_MSG_NEWTABLE:     (*decoder).newTable,
	subsystem | unix.NFT_MSG_DELTABLE:     (*decoder).delTable,
	subsystem | unix.NFT_MSG_NEWCHAIN:     (*decoder).newChain,
	subsystem | unix.NFT_MSG_NEWRULE:      (*decoder).newRule,
	subsystem | unix.NFT_MSG_NEWSET:       (*decoder).newSet,
	subsystem | unix.NFT_MSG_NEWSETELEM:   (*decoder).newElements,
	subsystem | unix.NFT_MSG_NEWOBJ:       (*decoder).newObject,
	subsystem | unix.NFT_MSG_NEWFLOWTABLE: (*decoder).unused,
}

func (d *decoder) unused(uint8, []byte) error { return nil }

// message decodes one message.
func (d *decoder) message(n int, msg netlink.Message) error {
	d.n, d.msg = n, msg
	if len(msg.Data) < genmsgLen {
		return fmt.Errorf("message of %d bytes has no header", len(msg.Data))
	}
	family, data := msg.Data[0], msg.Data[genmsgLen:]
	switch {
	case d.phase == phaseEnd:
		return errors.New("message after the end of the batch")
	case msg.Header.Type == unix.NFNL_MSG_BATCH_BEGIN:
		if d.phase != phaseStart {
			return errors.New("batch begins twice")
		}
		d.phase = phaseOpen
		return decodeNest("batch begin", data, skip(1)) // generation ID
	case msg.Header.Type == unix.NFNL_MSG_BATCH_END:
		if d.phase != phaseOpen {
			return errors.New("batch ends without a begin")
		}
		d.phase = phaseEnd
		return nil
	case d.phase == phaseStart:
		d.phase = phaseBare
	}
	decode, ok := messages[msg.Header.Type]
	if !ok {
		return notModelled{fmt.Sprintf("message type %#x", uint16(msg.Header.Type))}
	}
	return decode(d, family, data)
}

// table finds a table of the batch.
func (d *decoder) table(family uint8, name string) (*Table, error) {
	for _, t := range d.machine.Tables {
		if t.Family == family && t.Name == name {
			return t, nil
		}
	}
	return nil, fmt.Errorf("there is no table %s %s", familyNames[family], name)
}

func (d *decoder) scope(t *Table) *scope {
	if d.scopes == nil {
		d.scopes = map[*Table]*scope{}
	}
	if d.scopes[t] == nil {
		d.scopes[t] = &scope{table: t, ids: map[uint32]*Set{}}
	}
	return d.scopes[t]
}

// Table flags that do not concern packets: owned by a process, kept when it
// ends.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_table_flags.
const (
	tableOwner   = 2
	tablePersist = 4
)

func (d *decoder) newTable(family uint8, data []byte) error {
	var name string
	var flags uint32
	err := decodeNest("table", data, need(unix.NFTA_TABLE_NAME, decodeString(&name)),
		may(unix.NFTA_TABLE_FLAGS, decodeU32(&flags)),
		skip(unix.NFTA_TABLE_USE), skip(4), skip(5), skip(6), skip(7)) // handle, padding, user data, owner
	if err != nil && !errors.As(err, new(notModelled)) {
		return err
	}
	if _, ok := familyNames[family]; !ok {
		return notModelled{fmt.Sprintf("table family %d", family)}
	}
	t, _ := d.table(family, name)
	if t == nil {
		t = &Table{Family: family, Name: name, chains: map[string]*Chain{}, sets: map[string]*Set{}}
		d.machine.Tables = append(d.machine.Tables, t)
	}
	t.Dormant = flags&unix.NFT_TABLE_F_DORMANT != 0
	if rest := flags &^ (unix.NFT_TABLE_F_DORMANT | tableOwner | tablePersist); rest != 0 {
		err = errors.Join(err, notModelled{fmt.Sprintf("table flag %#x", rest)})
	}
	if err != nil {
		t.Unknown = fmt.Sprintf("table %s: %v", name, err)
	}
	return nil
}

// delTable forgets a table. Deleting one that the batch did not make is
// nothing to this machine: it starts from an empty kernel.
func (d *decoder) delTable(family uint8, data []byte) error {
	var name string
	err := decodeNest("table", data, need(unix.NFTA_TABLE_NAME, decodeString(&name)))
	if err != nil {
		return err
	}
	kept := d.machine.Tables[:0]
	for _, t := range d.machine.Tables {
		if t.Family != family || t.Name != name {
			kept = append(kept, t)
		}
	}
	d.machine.Tables = kept
	return nil
}

func (d *decoder) newChain(family uint8, data []byte) error {
	var table, name, kind string
	var policy, flags uint32
	var hook []byte
	policy = uint32(VerdictAccept)
	unknown := decodeNest("chain", data,
		need(unix.NFTA_CHAIN_TABLE, decodeString(&table)), need(unix.NFTA_CHAIN_NAME, decodeString(&name)),
		may(unix.NFTA_CHAIN_HOOK, decodeBytes(&hook)), may(unix.NFTA_CHAIN_POLICY, decodeU32(&policy)),
		may(unix.NFTA_CHAIN_TYPE, decodeString(&kind)), may(10, decodeU32(&flags)),
		skip(unix.NFTA_CHAIN_HANDLE), skip(unix.NFTA_CHAIN_USE), skip(unix.NFTA_CHAIN_COUNTERS),
		skip(unix.NFTA_CHAIN_PAD), skip(11), skip(12)) // ID, user data
	if unknown != nil && !errors.As(unknown, new(notModelled)) {
		return unknown
	}
	t, err := d.table(family, table)
	if err != nil {
		return err
	}
	c := t.chains[name]
	if c == nil {
		c = &Chain{Table: t, Name: name}
		t.Chains = append(t.Chains, c)
		t.chains[name] = c
	}
	if hook != nil {
		if c.Base, err = decodeHook(hook, kind, c.Base); err != nil && !errors.As(err, new(notModelled)) {
			return err
		}
		unknown = errors.Join(unknown, err)
	}
	if c.Base != nil {
		if policy > uint32(VerdictAccept) {
			return fmt.Errorf("policy %d of chain %s", policy, name)
		}
		c.Base.Drop = policy == uint32(VerdictDrop)
	}
	if rest := flags &^ 1; rest != 0 { // NFT_CHAIN_BASE
		unknown = errors.Join(unknown, notModelled{fmt.Sprintf("chain flag %#x", rest)})
	}
	if unknown != nil {
		c.Unknown = fmt.Sprintf("chain %s: %v", name, unknown)
	}
	return nil
}

// decodeHook decodes where a base chain hangs.
func decodeHook(data []byte, kind string, old *Base) (*Base, error) {
	b := &Base{Type: kind}
	if b.Type == "" {
		b.Type = "filter"
	}
	unknown := decodeNest("hook", data, need(unix.NFTA_HOOK_HOOKNUM, decodeU32(&b.Hook)),
		may(unix.NFTA_HOOK_PRIORITY, decodeS32(&b.Priority)), skip(unix.NFTA_HOOK_DEV), skip(4)) // devices
	if unknown != nil && !errors.As(unknown, new(notModelled)) {
		return nil, unknown
	}
	if _, ok := stageKinds[b.Type]; !ok {
		unknown = errors.Join(unknown, notModelled{fmt.Sprintf("chain type %q", b.Type)})
	}
	if old != nil && (old.Type != b.Type || old.Hook != b.Hook || old.Priority != b.Priority) {
		return nil, errors.New("base chain is moved to another hook")
	}
	return b, unknown
}

func (d *decoder) newRule(family uint8, data []byte) error {
	var table, chain string
	var list, user []byte
	var handle, position uint64
	r := &Rule{Message: d.n}
	unknown := decodeNest("rule", data,
		need(unix.NFTA_RULE_TABLE, decodeString(&table)), need(unix.NFTA_RULE_CHAIN, decodeString(&chain)),
		may(unix.NFTA_RULE_EXPRESSIONS, decodeBytes(&list)), may(unix.NFTA_RULE_USERDATA, decodeBytes(&user)),
		may(unix.NFTA_RULE_HANDLE, decodeU64(&handle)), may(unix.NFTA_RULE_POSITION, decodeU64(&position)),
		skip(unix.NFTA_RULE_COMPAT), skip(unix.NFTA_RULE_PAD), skip(unix.NFTA_RULE_ID))
	if unknown != nil && !errors.As(unknown, new(notModelled)) {
		return unknown
	}
	t, err := d.table(family, table)
	if err != nil {
		return err
	}
	if r.Chain = t.chains[chain]; r.Chain == nil {
		return fmt.Errorf("there is no chain %s in table %s", chain, table)
	}
	if unknown != nil {
		r.Instructions = append(r.Instructions, &Unknown{Expression: "rule", Why: unknown.Error()})
	}
	r.Comment, r.handle = ruleComment(user), handle
	rest, err := decodeExpressions(d.scope(t), list)
	if err != nil {
		return err
	}
	r.Instructions = append(r.Instructions, rest...)
	return d.place(r, position)
}

// place puts a rule into its chain. A position is understood only as a dump
// writes it: the handle of the rule before.
//
// Kernel: net/netfilter/nf_tables_api.c, nf_tables_newrule: without NLM_F_APPEND
// a rule goes to the front.
func (d *decoder) place(r *Rule, position uint64) error {
	c := r.Chain
	if d.msg.Header.Flags&netlink.Replace != 0 {
		return notModelled{"replacing a rule"}
	}
	if position != 0 && (len(c.Rules) == 0 || c.Rules[len(c.Rules)-1].handle != position) {
		return notModelled{fmt.Sprintf("rule position %d", position)}
	}
	if d.msg.Header.Flags&netlink.Append != 0 || position != 0 {
		c.Rules = append(c.Rules, r)
	} else {
		c.Rules = append([]*Rule{r}, c.Rules...)
	}
	return nil
}

// decodeExpressions decodes a list of expressions.
func decodeExpressions(s *scope, list []byte) ([]Instruction, error) {
	var all []Instruction
	err := decodeList("expressions", list, func(elem []byte) error {
		i, err := decodeExpression(s, elem)
		all = append(all, i)
		return err
	})
	return all, err
}

// decodeExpression decodes the nest of one expression.
func decodeExpression(s *scope, elem []byte) (Instruction, error) {
	var name string
	var data []byte
	err := decodeNest("expression", elem, need(unix.NFTA_EXPR_NAME, decodeString(&name)),
		may(unix.NFTA_EXPR_DATA, decodeBytes(&data)))
	if errors.As(err, new(notModelled)) {
		return &Unknown{Expression: name, Why: err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	i, err := decodeInstruction(s, name, data)
	if err != nil {
		return nil, fmt.Errorf("expression %s: %w", name, err)
	}
	return i, nil
}

// decodeList decodes a nest of elements of one kind.
func decodeList(what string, data []byte, each func(elem []byte) error) error {
	if data == nil {
		return nil
	}
	return decodeNest(what, data, may(unix.NFTA_LIST_ELEM, func(ad *netlink.AttributeDecoder) error {
		return each(ad.Bytes())
	}))
}

// ruleComment finds the comment in the user data of a rule: a list of type,
// length, value with one byte each for type and length. Type 0 is the comment,
// a string that ends in a NUL byte. The kernel does not look at it.
func ruleComment(user []byte) string {
	for len(user) >= 2 && len(user) >= 2+int(user[1]) {
		kind, value := user[0], user[2:2+int(user[1])]
		user = user[2+len(value):]
		if kind == 0 {
			if n := len(value); n > 0 && value[n-1] == 0 {
				value = value[:n-1]
			}
			return string(value)
		}
	}
	return ""
}
