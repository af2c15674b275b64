package nftsim

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func init() { register("counter", decodeCounter) }

// Counter counts packets. Counters are not compared, so running it does
// nothing; the numbers are those that the counter starts with.
//
// Kernel: net/netfilter/nft_counter.c.
type Counter struct{ Packets, Bytes uint64 }

func decodeCounter(_ *scope, data []byte) (Instruction, error) {
	i := &Counter{}
	return i, decodeNest("counter", data, may(unix.NFTA_COUNTER_PACKETS, decodeU64(&i.Packets)),
		may(unix.NFTA_COUNTER_BYTES, decodeU64(&i.Bytes)), skip(unix.NFTA_COUNTER_PAD))
}

func (i *Counter) String() string {
	return fmt.Sprintf("[ counter pkts %d bytes %d ]", i.Packets, i.Bytes)
}

func (*Counter) exec(*execution) result { return proceed }

func (*Counter) symbolic(*symbolicRun) {}
