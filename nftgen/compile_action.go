package nftgen

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// action adds a statement that does something.
func (c *compiler) action(s Stmt) error {
	switch s := s.(type) {
	case VerdictStmt:
		if c.leavesOut(1) {
			return nil
		}
		c.add(fromLibrary{&expr.Verdict{Kind: verdicts[s.Kind].kind, Chain: s.Chain}})
	case Counter, Limit, ConnLimit, Quota:
		c.add(fromLibrary{stateful(s)})
	case Log:
		c.add(fromLibrary{logExpression(s)})
	case LogGroup:
		c.add(fromLibrary{s.expression()})
	case Reject:
		return c.reject(s)
	case Assign:
		c.assign(s)
	case SetField:
		c.setField(s)
	case Trace:
		c.add(immediate(1, []byte{1}), fromLibrary{&expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: 1}})
	case NAT:
		return c.nat(s)
	case Masquerade:
		return c.masquerade(s)
	case Redirect:
		return c.redirect(s)
	case HasLabel:
		c.add(s.expressions()...)
	case SetLabel:
		c.add(s.expressions()...)
	case Use:
		c.add(s.expression())
	case Notrack:
		c.add(fromLibrary{&expr.Notrack{}})
	case SetMSS:
		c.setMSS(s)
	case action:
		return s.compile(c)
	case Update:
		c.update(s)
	default:
		return fmt.Errorf("encode a statement of type %T: there is no such statement", s)
	}
	return nil
}

// verdicts are the verdicts with their words and their numbers.
var verdicts = map[VerdictKind]struct {
	word string
	kind expr.VerdictKind
}{
	Accept:   {"accept", expr.VerdictAccept},
	Drop:     {"drop", expr.VerdictDrop},
	Return:   {"return", expr.VerdictReturn},
	Continue: {"continue", expr.VerdictContinue},
	Jump:     {"jump", expr.VerdictJump},
	Goto:     {"goto", expr.VerdictGoto},
}

// limitUnits are the units of rates.
var limitUnits = map[time.Duration]struct {
	word string
	unit expr.LimitTime
}{
	time.Second:        {"second", expr.LimitTimeSecond},
	time.Minute:        {"minute", expr.LimitTimeMinute},
	time.Hour:          {"hour", expr.LimitTimeHour},
	24 * time.Hour:     {"day", expr.LimitTimeDay},
	7 * 24 * time.Hour: {"week", expr.LimitTimeWeek},
}

// stateful returns the expression of a statement that elements of sets can
// hold too.
func stateful(s Stmt) expr.Any {
	switch s := s.(type) {
	case Counter:
		return &expr.Counter{Packets: s.Packets, Bytes: s.Bytes}
	case Limit:
		kind := expr.LimitTypePkts
		if s.Bytes {
			kind = expr.LimitTypePktBytes
		}
		return &expr.Limit{Type: kind, Rate: s.Rate, Over: s.Over, Unit: limitUnits[s.Unit].unit, Burst: s.Burst}
	case Quota:
		return &expr.Quota{Bytes: s.Bytes, Over: s.Over}
	case ConnLimit:
		e := &expr.Connlimit{Count: s.Count}
		if s.Over {
			e.Flags = expr.NFT_CONNLIMIT_F_INV
		}
		return e
	}
	return nil
}

// auditLevel makes a record for the audit system of a log message.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, NFT_LOGLEVEL_AUDIT.
const auditLevel = 8

// defaultLevel is the kernel's level of log messages, LOGLEVEL_WARNING.
const defaultLevel = 4

func logExpression(s Log) expr.Any {
	e := &expr.Log{Level: expr.LogLevel(s.Level), Flags: expr.LogFlags(s.Flags)}
	if s.Prefix != "" {
		e.Key |= 1 << unix.NFTA_LOG_PREFIX
		e.Data = []byte(s.Prefix)
	}
	if s.Level != defaultLevel {
		e.Key |= 1 << unix.NFTA_LOG_LEVEL
	}
	if s.Flags != 0 {
		e.Key |= 1 << unix.NFTA_LOG_FLAGS
	}
	return e
}

func (s LogGroup) expression() expr.Any {
	e := &expr.Log{Key: 1 << unix.NFTA_LOG_GROUP, Group: s.Group, QThreshold: s.Threshold}
	if s.Prefix != "" {
		e.Key |= 1 << unix.NFTA_LOG_PREFIX
		e.Data = []byte(s.Prefix)
	}
	if s.Snaps {
		e.Key |= 1 << unix.NFTA_LOG_SNAPLEN
		e.Snaplen = s.SnapLen
	}
	if s.Threshold != 0 {
		e.Key |= 1 << unix.NFTA_LOG_QTHRESHOLD
	}
	return e
}

func (c *compiler) reject(s Reject) error {
	if s.Any {
		if c.table != Inet {
			return fmt.Errorf("write reject: a table of one family has no answer for any")
		}
		c.add(fromLibrary{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: s.Code}})
		return nil
	}
	if s.Reset {
		if c.l4 == unknown {
			c.protocol(unix.IPPROTO_TCP)
		}
		if c.l4 != unix.IPPROTO_TCP {
			return fmt.Errorf("write reject with tcp reset: the rule is not for tcp alone")
		}
		c.add(fromLibrary{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})
		return nil
	}
	if c.l3 == 0 {
		return fmt.Errorf("write reject: the rule is not for one family alone")
	}
	c.add(fromLibrary{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: s.Code}})
	return nil
}

func (c *compiler) assign(s Assign) {
	t := s.Field.Type
	var exprs []expression
	zero := make(Value, t.Bytes)
	xor := s.Xor
	if xor == nil {
		xor = zero
	}
	switch {
	case s.From != nil:
		exprs = append(exprs, s.From.loadInto(1, s.From.load.length))
		take := s.Take
		if s.Shift != 0 {
			if take != nil && !filled(take, 0xff) {
				exprs = append(exprs, bitwise(1, t.inRegister(take), zero))
			}
			exprs = append(exprs, shift(1, s.Shift))
			take = nil
		}
		if take == nil {
			take = not(zero)
		}
		if !filled(take, 0xff) || !filled(xor, 0) {
			exprs = append(exprs, bitwise(1, t.inRegister(take), t.inRegister(xor)))
		}
	case s.keepsNothing():
		exprs = append(exprs, immediate(1, t.inRegister(xor)))
	default:
		exprs = append(exprs, s.Field.loadInto(1, s.Field.load.length))
		if !filled(s.Keep, 0xff) || !filled(xor, 0) {
			exprs = append(exprs, bitwise(1, t.inRegister(s.Keep), t.inRegister(xor)))
		}
	}
	key := s.Field.load.key
	if s.Field.load.kind == loadMeta {
		exprs = append(exprs, fromLibrary{&expr.Meta{Key: expr.MetaKey(key), SourceRegister: true, Register: 1}})
	} else {
		exprs = append(exprs, fromLibrary{&expr.Ct{Key: expr.CtKey(key), SourceRegister: true, Register: 1}})
	}
	c.add(exprs...)
}

// Where the checksums of an IPv4 header and of a TCP header are.
const (
	ipChecksum  = 10
	tcpChecksum = 16
)

// setField loads what stands beside the field, changes it and writes it back. In
// IPv4, where a checksum follows, these are whole words of 16 bits.
func (c *compiler) setField(s SetField) {
	l := s.Field.load
	mask, value := l.mask, s.Value
	if mask == nil {
		mask = prefixMask(int(l.length), 8*int(l.length))
	} else {
		value, _ = l.placed(s.Value)
	}
	offset := l.offset
	write := &expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBase(l.key)}
	tcp := s.Field.Text == TCPFlags.Text
	if tcp || s.Field.Family() == IP {
		write.CsumType, write.CsumOffset = expr.CsumTypeInet, ipChecksum
		if tcp {
			write.CsumOffset = tcpChecksum
		}
		switch {
		case len(mask)%2 == 0:
		case offset%2 == 1:
			offset, mask, value = offset-1, append(Value{0}, mask...), append(Value{0}, value...)
		default:
			mask, value = append(slices.Clip(mask), 0), append(slices.Clip(value), 0)
		}
	}
	write.Offset, write.Len = offset, uint32(len(mask))
	if filled(mask, 0xff) {
		c.add(immediate(1, value), fromLibrary{write})
		return
	}
	c.add(payload(1, l.key, offset, uint32(len(mask))), bitwise(1, not(mask), value), fromLibrary{write})
}

func (s Assign) keepsNothing() bool { return s.Keep == nil || filled(s.Keep, 0) }

// Flags of NAT.
//
// Kernel: include/uapi/linux/netfilter/nf_nat.h.
const (
	rangeProtoSpecified = 1 << 1
	rangeProtoRandom    = 1 << 2
	rangePersistent     = 1 << 3
	rangeProtoFully     = 1 << 4
)

func (f NATFlags) bits(ports bool) uint32 {
	var bits uint32
	for _, b := range []struct {
		on  bool
		bit uint32
	}{{ports, rangeProtoSpecified}, {f.Random, rangeProtoRandom}, {f.Persistent, rangePersistent}, {f.FullyRandom, rangeProtoFully}} {
		if b.on {
			bits |= b.bit
		}
	}
	return bits
}

// constants puts values into registers from the first on and returns their
// numbers; nil values have none.
func constants(values ...[]byte) (exprs []expression, registers []uint32) {
	word := 0
	for _, v := range values {
		if v == nil {
			registers = append(registers, 0)
			continue
		}
		r := register(word)
		exprs = append(exprs, immediate(r, v))
		registers = append(registers, r)
		word += 4
	}
	return exprs, registers
}

// needPorts refuses ports where the rule does not say of which protocol.
func (c *compiler) needPorts(what string, p portSpan) error {
	if p.given() && !c.ports {
		return fmt.Errorf("write %s with ports: nft takes it only behind a test of the protocol", what)
	}
	return nil
}

func (c *compiler) nat(s NAT) error {
	what := "snat"
	e := &expr.NAT{
		Type: expr.NATTypeSourceNAT, Random: s.Flags.Random, FullyRandom: s.Flags.FullyRandom, Persistent: s.Flags.Persistent,
		Prefix: s.Prefix != 0, Specified: s.ports().given() || s.Map != nil,
	}
	if s.Destination {
		what, e.Type = "dnat", expr.NATTypeDestNAT
	}
	if err := c.needPorts(what, s.ports()); err != nil {
		return err
	}
	family := s.family()
	if family == 0 {
		family = c.table
	} else if c.l3 != 0 && c.l3 != family {
		return fmt.Errorf("write %s: the rule is for family %s", what, c.l3)
	}
	e.Family = uint32(family)
	low, high := s.Low, s.High
	switch {
	case s.Prefix != 0:
		mask := prefixMask(len(low), s.Prefix)
		low, high = and(low, mask), or(low, not(mask))
	case high != nil && equal(low, high):
		high = nil
	}
	lowPort, highPort := s.ports().data()
	exprs, r := constants(low, high, lowPort, highPort)
	e.RegAddrMin, e.RegAddrMax, e.RegProtoMin, e.RegProtoMax = r[0], r[1], r[2], r[3]
	if s.Map != nil {
		e.RegProtoMin = register(4 * len(exprs))
		exprs = append(exprs, c.pairMap(s.Map, inetService, e.RegProtoMin)...)
	}
	c.add(append(exprs, fromLibrary{e})...)
	return nil
}

// family returns the family of the addresses, or 0 without any.
func (s NAT) family() Family {
	switch len(s.Low) {
	case 4:
		return IP
	case 16:
		return IP6
	}
	return 0
}

func (c *compiler) masquerade(s Masquerade) error {
	if err := c.needPorts("masquerade", s.ports()); err != nil {
		return err
	}
	low, high := s.ports().data()
	exprs, r := constants(low, high)
	c.add(append(exprs, masquerade(s.Flags.bits(low != nil), r[0], r[1]))...)
	return nil
}

func (c *compiler) redirect(s Redirect) error {
	if err := c.needPorts("redirect", s.ports()); err != nil {
		return err
	}
	low, high := s.ports().data()
	exprs, r := constants(low, high)
	c.add(append(exprs, fromLibrary{&expr.Redir{RegisterProtoMin: r[0], RegisterProtoMax: r[1], Flags: s.Flags.bits(low != nil)}})...)
	return nil
}

// The option that carries the maximum segment size.
const (
	optionMSS       = 2
	optionMSSOffset = 2
)

func (c *compiler) setMSS(s SetMSS) {
	exprs := []expression{immediate(1, binary.BigEndian.AppendUint16(nil, s.MSS))}
	if s.MSS == 0 && !s.Zero {
		exprs = []expression{fromLibrary{&expr.Rt{Register: 1, Key: expr.RtTCPMSS}}, toNetworkOrder(1, 2)}
	}
	c.add(append(exprs, fromLibrary{&expr.Exthdr{
		SourceRegister: 1, Type: optionMSS, Offset: optionMSSOffset, Len: 2, Op: expr.ExthdrOpTcpopt,
	}})...)
}

func (c *compiler) update(s Update) {
	e := &expr.Dynset{SrcRegKey: 1, SetName: s.Set.Name, SetID: c.ids[s.Set], Operation: uint32(s.Op), Timeout: s.Timeout}
	for _, inner := range s.Stmts {
		e.Exprs = append(e.Exprs, stateful(inner))
	}
	c.add(append(loadAll(s.Fields, s.Masks, s.Set.Interval), fromLibrary{e})...)
}
