package nftsim

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// An objectKey names an object: those of unlike types can have one name.
type objectKey struct {
	kind uint32 // NFT_OBJECT_*
	name string
}

// Types of objects.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, NFT_OBJECT_*.
const (
	objectCounter = 1
	objectHelper  = 3
	objectSecmark = 8
)

// objects are the decoders of what objects hold, by type. Those of other types
// change nothing by themselves; what uses them is not modelled.
var objects = map[uint32]func(data []byte) (any, error){
	objectHelper:  decodeHelperObject,
	objectSecmark: decodeSecmarkObject,
}

// newObject decodes an object of a table.
func (d *decoder) newObject(family uint8, data []byte) error {
	var table string
	var key objectKey
	var held []byte
	unknown := decodeNest("object", data, may(unix.NFTA_OBJ_TABLE, decodeString(&table)), may(unix.NFTA_OBJ_NAME, decodeString(&key.name)),
		may(unix.NFTA_OBJ_TYPE, decodeU32(&key.kind)), may(unix.NFTA_OBJ_DATA, decodeBytes(&held)),
		skip(unix.NFTA_OBJ_USE), skip(6), skip(7), skip(8)) // handle, padding, user data
	decode := objects[key.kind]
	if unknown != nil || decode == nil {
		return nil // so that what uses it is not modelled
	}
	t, err := d.table(family, table)
	if err != nil {
		return err
	}
	object, err := decode(held)
	if errors.As(err, new(notModelled)) {
		return nil
	}
	if t.objects == nil {
		t.objects = map[objectKey]any{}
	}
	t.objects[key] = object
	return err
}

// helperObject is a helper of connection tracking, of a transport protocol and a
// family of packets (NFPROTO_*).
//
// Kernel: net/netfilter/nft_ct.c, nft_ct_helper_obj_init.
type helperObject struct {
	name     string
	protocol uint8
	family   uint16
}

func decodeHelperObject(data []byte) (any, error) {
	const name, family, protocol = 1, 2, 3 // NFTA_CT_HELPER_*
	h := helperObject{}
	var bytes []byte
	err := decodeNest("helper", data, need(name, decodeString(&h.name)), may(family, decodeBytes(&bytes)), need(protocol, decodeU8(&h.protocol)))
	switch {
	case err != nil:
		return nil, err
	case len(bytes) != 2:
		return nil, notModelled{"a helper of the family of its table"}
	}
	h.family = binary.BigEndian.Uint16(bytes)
	return h, nil
}

// of reports whether the helper is for packets of an IP version.
func (h helperObject) of(version int) bool {
	return h.family == familyInet || h.family == uint16(protocolFamilies[version])
}

// secmarkObject is a security context.
//
// Kernel: net/netfilter/nft_meta.c, nft_secmark_obj_init.
type secmarkObject struct{ context string }

func decodeSecmarkObject(data []byte) (any, error) {
	const context = 1 // NFTA_SECMARK_CTX
	o := secmarkObject{}
	err := decodeNest("secmark", data, need(context, decodeString(&o.context)))
	return o, err
}
