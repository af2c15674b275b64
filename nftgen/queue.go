package nftgen

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// Queue is "queue [flags bypass,fanout] to N[-M]": the packet goes to a program
// that listens to one of the queues. With Bypass it goes on where nobody does.
// Fanout chooses the queue by the processor; it takes several.
type Queue struct {
	First, Last    uint16
	Bypass, Fanout bool
}

var _ action = Queue{}

func (Queue) stmt()          {}
func (Queue) terminal() bool { return true }

func (s Queue) text(Family) string {
	flags, to := "", fmt.Sprint(s.First)
	switch {
	case s.Bypass && s.Fanout:
		flags = " flags bypass,fanout"
	case s.Bypass:
		flags = " flags bypass"
	case s.Fanout:
		flags = " flags fanout"
	}
	if s.Last != s.First {
		to += fmt.Sprintf("-%d", s.Last)
	}
	return "queue" + flags + " to " + to
}

func (s Queue) check() error {
	switch {
	case s.Last < s.First:
		return fmt.Errorf("write queue: %d-%d is no span", s.First, s.Last)
	case s.First == 0 && s.Last == math.MaxUint16:
		return fmt.Errorf("write queue: the kernel takes no more than %d queues", math.MaxUint16)
	case s.Fanout && s.First == s.Last:
		return fmt.Errorf("write queue: nft takes the flag fanout with several queues only")
	}
	return nil
}

// compile adds the attributes of nft 1.0.6, which leaves out flags that are not set.
func (s Queue) compile(c *compiler) error {
	var a attributes
	a.u16(unix.NFTA_QUEUE_NUM, s.First)
	a.u16(unix.NFTA_QUEUE_TOTAL, s.Last-s.First+1)
	var flags uint16
	if s.Bypass {
		flags |= unix.NFT_QUEUE_FLAG_BYPASS
	}
	if s.Fanout {
		flags |= unix.NFT_QUEUE_FLAG_CPU_FANOUT
	}
	if flags != 0 {
		a.u16(unix.NFTA_QUEUE_FLAGS, flags)
	}
	c.add(ownExpression{"queue", a})
	return nil
}
