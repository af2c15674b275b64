package nftsim

import (
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Attributes that golang.org/x/sys does not name.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h.
const (
	setHandle       = 16
	setExprAttr     = 17
	setExpressions  = 18
	setType         = 19
	setCount        = 20
	descConcat      = 2
	fieldLen        = 1
	elemKeyEnd      = 10
	elemExpressions = 11
	elemIntervalEnd = 1
	elemCatchall    = 2
)

// maxTimeout is the longest timeout in milliseconds that a kernel accepts.
//
// Kernel: net/netfilter/nf_tables_api.c, nf_msecs_to_jiffies64.
const maxTimeout = 1<<63 - 1

// nanoseconds converts a timeout of milliseconds, and stops at the end of the
// clock.
func nanoseconds(ms uint64) int64 {
	if ms > uint64(maxTimeout/time.Millisecond) {
		return maxTimeout
	}
	return int64(ms) * int64(time.Millisecond)
}

func (d *decoder) newSet(family uint8, data []byte) error {
	s := &Set{}
	var table string
	var keyLen, dataLen, dataType uint32
	var timeout uint64
	var desc, expr, exprs []byte
	unknown := decodeNest("set", data,
		need(unix.NFTA_SET_TABLE, decodeString(&table)), need(unix.NFTA_SET_NAME, decodeString(&s.Name)),
		may(unix.NFTA_SET_FLAGS, decodeU32(&s.Flags)), need(unix.NFTA_SET_KEY_LEN, decodeU32(&keyLen)),
		may(unix.NFTA_SET_DATA_TYPE, decodeU32(&dataType)), may(unix.NFTA_SET_DATA_LEN, decodeU32(&dataLen)),
		may(unix.NFTA_SET_DESC, decodeBytes(&desc)), may(unix.NFTA_SET_ID, decodeU32(&s.id)),
		may(unix.NFTA_SET_TIMEOUT, decodeU64(&timeout)),
		may(setExprAttr, decodeBytes(&expr)), may(setExpressions, decodeBytes(&exprs)),
		skip(unix.NFTA_SET_KEY_TYPE), skip(unix.NFTA_SET_POLICY), skip(unix.NFTA_SET_GC_INTERVAL),
		skip(unix.NFTA_SET_USERDATA), skip(unix.NFTA_SET_PAD), skip(setHandle), skip(setType), skip(setCount))
	if unknown != nil && !errors.As(unknown, new(notModelled)) {
		return unknown
	}
	t, err := d.table(family, table)
	if err != nil {
		return err
	}
	if keyLen == 0 || keyLen > maxValue || dataLen > maxValue {
		return fmt.Errorf("set %s has keys of %d and data of %d bytes", s.Name, keyLen, dataLen)
	}
	s.Table, s.KeyLen, s.DataLen, s.Timeout = t, int(keyLen), int(dataLen), nanoseconds(timeout)
	s.Verdicts = s.Flags&setMap != 0 && dataType == unix.NFT_DATA_VERDICT
	if rest := s.Flags &^ setModelled; rest != 0 {
		unknown = errors.Join(unknown, notModelled{fmt.Sprintf("set flag %#x", rest)})
	}
	if err := s.decodeDesc(desc); err != nil {
		if !errors.As(err, new(notModelled)) {
			return err
		}
		unknown = errors.Join(unknown, err)
	}
	if s.Exprs, err = decodeOneOrMore(d.scope(t), expr, exprs); err != nil {
		return err
	}
	if unknown != nil {
		s.Unknown = unknown.Error()
	}
	t.Sets = append(t.Sets, s)
	if t.sets[s.Name] == nil {
		t.sets[s.Name] = s
	}
	if s.id != 0 {
		d.scope(t).ids[s.id] = s
	}
	return nil
}

// decodeOneOrMore decodes what comes as one expression or as a list of them.
func decodeOneOrMore(s *scope, one, list []byte) ([]Instruction, error) {
	if one != nil {
		i, err := decodeExpression(s, one)
		return []Instruction{i}, err
	}
	return decodeExpressions(s, list)
}

// decodeDesc decodes the description of a set: its size and the lengths of the
// fields of a concatenation.
func (s *Set) decodeDesc(data []byte) error {
	if data == nil {
		return nil
	}
	var concat []byte
	err := decodeNest("set description", data, may(unix.NFTA_SET_DESC_SIZE, decodeU32(&s.Size)),
		may(descConcat, decodeBytes(&concat)))
	if err != nil {
		return err
	}
	sum := 0
	err = decodeList("set fields", concat, func(elem []byte) error {
		var n uint32
		if err := decodeNest("set field", elem, need(fieldLen, decodeU32(&n))); err != nil {
			return err
		}
		if n == 0 || n > maxValue {
			return fmt.Errorf("field of %d bytes", n)
		}
		s.FieldLens = append(s.FieldLens, int(n))
		sum += (int(n) + wordSize - 1) / wordSize * wordSize
		return nil
	})
	if err == nil && concat != nil && sum != s.KeyLen {
		return fmt.Errorf("fields of set %s add up to %d bytes, its key has %d", s.Name, sum, s.KeyLen)
	}
	return err
}

// findSet finds a set by name, or by the ID that it has in the batch.
//
// Kernel: net/netfilter/nf_tables_api.c, nft_set_lookup_global.
func (s *scope) findSet(name string, id uint32) (*Set, error) {
	byID := s.ids[id]
	if byID != nil && byID.Name == name {
		return byID, nil
	}
	if set := s.table.sets[name]; set != nil && (set.id == 0 || id == 0) {
		return set, nil
	}
	if byID != nil {
		return byID, nil
	}
	return nil, fmt.Errorf("there is no set %q with ID %d in table %s", name, id, s.table.Name)
}

func (d *decoder) newElements(family uint8, data []byte) error {
	var table, name string
	var id uint32
	var list []byte
	unknown := decodeNest("set elements", data,
		need(unix.NFTA_SET_ELEM_LIST_TABLE, decodeString(&table)), need(unix.NFTA_SET_ELEM_LIST_SET, decodeString(&name)),
		may(unix.NFTA_SET_ELEM_LIST_ELEMENTS, decodeBytes(&list)), may(unix.NFTA_SET_ELEM_LIST_SET_ID, decodeU32(&id)))
	if unknown != nil && !errors.As(unknown, new(notModelled)) {
		return unknown
	}
	t, err := d.table(family, table)
	if err != nil {
		return err
	}
	s, err := d.scope(t).findSet(name, id)
	if err != nil {
		return err
	}
	if unknown != nil {
		s.Unknown = unknown.Error()
	}
	return decodeList("elements", list, func(elem []byte) error {
		err := s.decodeElement(d.scope(t), elem)
		if errors.As(err, new(notModelled)) {
			s.Unknown = err.Error()
			return nil
		}
		return err
	})
}

func (s *Set) decodeElement(sc *scope, data []byte) error {
	e := &Element{}
	var flags uint32
	var timeout, expires uint64
	var expr, exprs, user []byte
	hasTimeout := false
	err := decodeNest("element", data,
		may(unix.NFTA_SET_ELEM_KEY, decodeValue(&e.Key)), may(elemKeyEnd, decodeValue(&e.KeyEnd)),
		may(unix.NFTA_SET_ELEM_DATA, decodeData(&e.Data, &e.Verdict)), may(unix.NFTA_SET_ELEM_FLAGS, decodeU32(&flags)),
		may(unix.NFTA_SET_ELEM_TIMEOUT, func(ad *netlink.AttributeDecoder) error {
			timeout, hasTimeout = ad.Uint64(), true
			return nil
		}),
		may(unix.NFTA_SET_ELEM_EXPIRATION, decodeU64(&expires)), may(unix.NFTA_SET_ELEM_USERDATA, decodeBytes(&user)),
		may(unix.NFTA_SET_ELEM_EXPR, decodeBytes(&expr)), may(elemExpressions, decodeBytes(&exprs)),
		skip(unix.NFTA_SET_ELEM_PAD))
	if err != nil {
		return err
	}
	e.End, e.Comment = flags&elemIntervalEnd != 0, ruleComment(user)
	if rest := flags &^ (elemIntervalEnd | elemCatchall); rest != 0 {
		return notModelled{fmt.Sprintf("element flag %#x", rest)}
	}
	e.Timeout = s.Timeout
	if hasTimeout {
		e.Timeout = nanoseconds(timeout)
	}
	if e.Expires = e.Timeout; expires != 0 {
		e.Expires = nanoseconds(expires)
	}
	if e.Exprs, err = decodeOneOrMore(sc, expr, exprs); err != nil {
		return err
	}
	if e.Exprs == nil {
		e.Exprs = s.Exprs
	}
	if err := s.check(e, flags&elemCatchall != 0); err != nil {
		return err
	}
	s.add(e)
	return nil
}

// check refuses an element that does not fit its set.
func (s *Set) check(e *Element, catchall bool) error {
	switch {
	case catchall != (e.Key == nil):
		return errors.New("element without a key")
	case !catchall && len(e.Key) != s.KeyLen:
		return fmt.Errorf("key of %d bytes in set %s of %d", len(e.Key), s.Name, s.KeyLen)
	case e.KeyEnd != nil && (len(e.KeyEnd) != s.KeyLen || !s.ranges() && s.Flags&setInterval == 0):
		return fmt.Errorf("last key of %d bytes in set %s", len(e.KeyEnd), s.Name)
	case e.KeyEnd != nil && !s.ranges():
		return notModelled{"an interval as one element of a set of one field"}
	case s.Flags&setMap == 0 && (e.Data != nil || e.Verdict != nil):
		return fmt.Errorf("element with data in set %s, which is no map", s.Name)
	case s.Flags&setMap != 0 && !e.End && s.Verdicts != (e.Verdict != nil):
		return fmt.Errorf("element of map %s has no data of its kind", s.Name)
	case s.Flags&setMap != 0 && !e.End && !s.Verdicts && len(e.Data) != s.DataLen:
		return fmt.Errorf("data of %d bytes in map %s of %d", len(e.Data), s.Name, s.DataLen)
	}
	return nil
}
