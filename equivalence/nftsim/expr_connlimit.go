package nftsim

import (
	"fmt"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/symbolic"
)

func init() { register("connlimit", decodeConnlimit) }

// Connlimit breaks the rule by the number of connections that are alive. It is
// decoded but not run: packets carry what tracking says of them, not the table
// of all connections.
//
// Kernel: net/netfilter/nft_connlimit.c.
type Connlimit struct {
	Count uint32
	Over  bool
}

// Attributes of connlimit, which golang.org/x/sys does not name.
const (
	connlimitCount = 1
	connlimitFlags = 2
)

func decodeConnlimit(_ *scope, data []byte) (Instruction, error) {
	i := &Connlimit{}
	var flags uint32
	err := decodeNest("connlimit", data, need(connlimitCount, decodeU32(&i.Count)),
		may(connlimitFlags, decodeU32(&flags)))
	if err == nil && flags > 1 {
		err = fmt.Errorf("flags %#x", flags)
	}
	i.Over = flags == unix.NFT_LIMIT_F_INV
	return i, err
}

func (i *Connlimit) String() string {
	flags := 0
	if i.Over {
		flags = 1
	}
	return fmt.Sprintf("[ connlimit count %d flags %d ]", i.Count, flags)
}

func (*Connlimit) tracks(int) bool { return true }

func (*Connlimit) exec(x *execution) result {
	return x.unknown("the number of connections is not modelled")
}

func (*Connlimit) asks(*compiler) bool { return true }

func (i *Connlimit) symbolic(x *symbolicRun) {
	over, ok := x.ask(i, symbolic.Instance{Kind: "connlimit", Parameters: fmt.Sprintf("more than %d", i.Count), Width: 1})
	if ok {
		x.require(x.unless(!i.Over, over[0]))
	}
}
