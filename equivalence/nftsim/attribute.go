package nftsim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// notModelled is the error of a decoder that met something it does not know.
// It makes what is decoded undecided; every other error is a malformed batch.
type notModelled struct{ what string }

func (e notModelled) Error() string { return e.what + " is not modelled" }

// An attribute is one row of the table by which a nest is decoded.
type attribute struct {
	number   uint16
	required bool
	decode   func(*netlink.AttributeDecoder) error
}

// need is an attribute without which the kernel refuses the message.
func need(number uint16, decode func(*netlink.AttributeDecoder) error) attribute {
	return attribute{number, true, decode}
}

// may is an attribute that can be absent.
func may(number uint16, decode func(*netlink.AttributeDecoder) error) attribute {
	return attribute{number, false, decode}
}

// skip is an attribute that is known to have no influence on packets.
func skip(number uint16) attribute {
	return attribute{number, false, func(*netlink.AttributeDecoder) error { return nil }}
}

// decodeNest decodes the attributes in data by a table. An attribute that is
// not in the table gives a notModelled error, after all others were decoded.
func decodeNest(what string, data []byte, table ...attribute) error {
	ad, err := newDecoder(data)
	if err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	var unknown error
	var seen uint64
	for ad.Next() {
		row := -1
		for i := range table {
			if table[i].number == ad.Type() {
				row = i
			}
		}
		if row < 0 {
			unknown = errors.Join(unknown, notModelled{fmt.Sprintf("attribute %d of %s", ad.Type(), what)})
			continue
		}
		seen |= 1 << row
		if err := table[row].decode(ad); err != nil {
			if !errors.As(err, new(notModelled)) {
				return fmt.Errorf("decode %s, attribute %d: %w", what, ad.Type(), err)
			}
			unknown = errors.Join(unknown, err)
		}
	}
	if err := ad.Err(); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	for i := range table {
		if table[i].required && seen&(1<<i) == 0 {
			return fmt.Errorf("decode %s: attribute %d is missing", what, table[i].number)
		}
	}
	return unknown
}

func newDecoder(data []byte) (*netlink.AttributeDecoder, error) {
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return nil, err
	}
	ad.ByteOrder = binary.BigEndian
	return ad, nil
}

func decodeU8(to *uint8) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error { *to = ad.Uint8(); return nil }
}

func decodeU16(to *uint16) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error { *to = ad.Uint16(); return nil }
}

func decodeU32(to *uint32) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error { *to = ad.Uint32(); return nil }
}

func decodeS32(to *int32) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error { *to = int32(ad.Uint32()); return nil }
}

func decodeU64(to *uint64) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error { *to = ad.Uint64(); return nil }
}

// decodeString reads a string, whether or not it ends in a NUL byte.
func decodeString(to *string) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error {
		s, _, _ := strings.Cut(string(ad.Bytes()), "\x00")
		*to = s
		return nil
	}
}

func decodeBytes(to *[]byte) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error { *to = ad.Bytes(); return nil }
}

// decodeRegister reads a register number.
//
// Kernel: net/netfilter/nf_tables_api.c, nft_parse_register: the numbers 1 to
// 4 are the old 16-byte registers, 8 to 23 their quarters.
func decodeRegister(to *Register) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error {
		switch n := ad.Uint32(); {
		case n <= unix.NFT_REG_4:
			*to = Register(n * 4)
		case n >= unix.NFT_REG32_00 && n <= unix.NFT_REG32_15:
			*to = Register(n - unix.NFT_REG32_00 + 4)
		default:
			return fmt.Errorf("register %d does not exist", n)
		}
		return nil
	}
}

// decodeValue reads a data nest that holds a constant.
func decodeValue(to *[]byte) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error {
		var value []byte
		err := decodeNest("data", ad.Bytes(), need(unix.NFTA_DATA_VALUE, decodeBytes(&value)))
		if err != nil {
			return err
		}
		if len(value) == 0 || len(value) > maxValue {
			return fmt.Errorf("constant of %d bytes", len(value))
		}
		*to = value
		return nil
	}
}

// decodeData reads a data nest that holds a constant or a verdict; exactly one
// of the two is set.
func decodeData(value *[]byte, verdict **Verdict) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error {
		var v Verdict
		var raw, nest []byte
		err := decodeNest("data", ad.Bytes(),
			may(unix.NFTA_DATA_VALUE, decodeBytes(&raw)), may(unix.NFTA_DATA_VERDICT, decodeBytes(&nest)))
		if err != nil {
			return err
		}
		switch {
		case (raw == nil) == (nest == nil):
			return errors.New("data is neither a constant nor a verdict")
		case raw != nil:
			if len(raw) == 0 || len(raw) > maxValue {
				return fmt.Errorf("constant of %d bytes", len(raw))
			}
			*value = raw
			return nil
		}
		err = decodeNest("verdict", nest, need(unix.NFTA_VERDICT_CODE, decodeS32((*int32)(&v.Code))),
			may(unix.NFTA_VERDICT_CHAIN, decodeString(&v.Chain)))
		if err != nil {
			return err
		}
		jumps := v.Code == VerdictJump || v.Code == VerdictGoto
		if jumps && v.Chain == "" {
			return errors.New("verdict without the chain to go to")
		}
		if _, ok := verdictNames[v.Code]; !ok {
			return notModelled{fmt.Sprintf("verdict %d", v.Code)}
		}
		*verdict = &v
		return nil
	}
}

// maxValue is the length of the longest constant: the key of a concatenation
// of all registers.
//
// Kernel: include/net/netfilter/nf_tables.h, NFT_DATA_VALUE_MAXLEN.
const maxValue = 64
