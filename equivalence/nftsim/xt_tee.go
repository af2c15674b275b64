package nftsim

import (
	"errors"
	"fmt"
)

func init() { registerXtTarget("TEE", 1, decodeXtTEE) }

// An xtTEE sends a copy of the packet to a gateway by a device.
//
// Kernel: net/netfilter/xt_TEE.c; include/uapi/linux/netfilter/xt_TEE.h, struct
// xt_tee_tginfo.
type xtTEE struct {
	gateway []byte
	device  string
}

func decodeXtTEE(info []byte) (xtTarget, error) {
	r := xtReader{data: info}
	t := xtTEE{r.bytes(16), r.text(16)}
	r.u64() // the kernel's
	if err := r.end(); err != nil {
		return nil, err
	}
	if t.device == "" {
		return nil, errors.New("a copy by no device")
	}
	return t, nil
}

func (t xtTEE) String() string { return fmt.Sprintf("copy to %x by %q", t.gateway, t.device) }
