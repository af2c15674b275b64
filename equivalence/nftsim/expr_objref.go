package nftsim

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func init() { register("objref", decodeObjref) }

// Objref uses a named object: a counter, which does nothing to a packet. A helper
// is [CtHelper], a security context [Secmark]; the other kinds are not modelled.
//
// Kernel: net/netfilter/nft_objref.c.
type Objref struct {
	Type uint32 // NFT_OBJECT_*
	Name string
}

func decodeObjref(s *scope, data []byte) (Instruction, error) {
	i := &Objref{}
	err := decodeNest("objref", data, may(unix.NFTA_OBJREF_IMM_TYPE, decodeU32(&i.Type)),
		may(unix.NFTA_OBJREF_IMM_NAME, decodeString(&i.Name)))
	if err == nil {
		switch o := s.table.objects[objectKey{i.Type, i.Name}].(type) {
		case helperObject:
			return &CtHelper{i.Name, o}, nil
		case secmarkObject:
			return &Secmark{i.Name, o}, nil
		}
	}
	if err == nil && i.Type != objectCounter {
		err = notModelled{fmt.Sprintf("object %q of type %d", i.Name, i.Type)}
	}
	return i, err
}

func (i *Objref) String() string { return fmt.Sprintf("[ objref type %d name %s ]", i.Type, i.Name) }

func (*Objref) exec(*execution) result { return proceed }

func (*Objref) symbolic(*symbolicRun) {}
