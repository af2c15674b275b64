package nftsim

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func init() { register("objref", decodeObjref) }

// Objref uses a named object: a counter, a quota, a helper. A counter does
// nothing to a packet; the other kinds are not modelled.
//
// Kernel: net/netfilter/nft_objref.c.
type Objref struct {
	Type uint32 // NFT_OBJECT_*
	Name string
}

// objectCounter is the type of a named counter.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, NFT_OBJECT_COUNTER.
const objectCounter = 1

func decodeObjref(_ *scope, data []byte) (Instruction, error) {
	i := &Objref{}
	err := decodeNest("objref", data, may(unix.NFTA_OBJREF_IMM_TYPE, decodeU32(&i.Type)),
		may(unix.NFTA_OBJREF_IMM_NAME, decodeString(&i.Name)))
	if err == nil && i.Type != objectCounter {
		err = notModelled{fmt.Sprintf("object %q of type %d", i.Name, i.Type)}
	}
	return i, err
}

func (i *Objref) String() string { return fmt.Sprintf("[ objref type %d name %s ]", i.Type, i.Name) }

func (*Objref) exec(*execution) result { return proceed }

func (*Objref) symbolic(*symbolicRun) {}
