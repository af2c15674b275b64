package nftgen

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ResetOption is "reset tcp option N": the first TCP option of a kind is overwritten
// with no-operation options.
type ResetOption struct{ Kind uint8 }

var _ action = ResetOption{}

func (ResetOption) stmt()          {}
func (ResetOption) terminal() bool { return false }

func (s ResetOption) text(Family) string { return fmt.Sprintf("reset tcp option %d", s.Kind) }

func (s ResetOption) check() error {
	if s.Kind < 2 {
		return fmt.Errorf("write reset tcp option: %d is no option that can be overwritten", s.Kind)
	}
	return nil
}

// tcpOptions is NFT_EXTHDR_OP_TCPOPT.
const tcpOptions = 1

func (s ResetOption) compile(c *compiler) error {
	var a attributes
	a.bytes(unix.NFTA_EXTHDR_TYPE, s.Kind)
	a.u32(exthdrOp, tcpOptions)
	c.add(ownExpression{"exthdr", a})
	return nil
}

// exthdrOp is NFTA_EXTHDR_OP.
const exthdrOp = 6
