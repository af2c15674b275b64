package nftsim

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

func init() { register("limit", decodeLimit) }

// Limit breaks the rule when a token bucket is empty, or with Over when it is
// not. A bucket holds nanoseconds: it fills by itself with time, and a packet
// takes what the rate allots to it.
//
// Kernel: net/netfilter/nft_limit.c.
type Limit struct {
	Rate  uint64
	Unit  uint64 // seconds
	Burst uint32
	Bytes bool // the rate is in bytes, else in packets
	Over  bool
	max   uint64 // size of the bucket, nanoseconds
}

// bucket is the state of a Limit.
type bucket struct {
	tokens uint64
	last   int64 // when tokens was right
	// unsure says that a kernel may have decided otherwise since the bucket was
	// full.
	unsure bool
}

// defaultBurst is the burst of a packet rate that gives none.
const defaultBurst = 5

func decodeLimit(_ *scope, data []byte) (Instruction, error) {
	i := &Limit{}
	var kind, flags uint32
	err := decodeNest("limit", data, need(unix.NFTA_LIMIT_RATE, decodeU64(&i.Rate)),
		need(unix.NFTA_LIMIT_UNIT, decodeU64(&i.Unit)), may(unix.NFTA_LIMIT_BURST, decodeU32(&i.Burst)),
		may(unix.NFTA_LIMIT_TYPE, decodeU32(&kind)), may(unix.NFTA_LIMIT_FLAGS, decodeU32(&flags)),
		skip(unix.NFTA_LIMIT_PAD))
	if err != nil {
		return nil, err
	}
	if kind > unix.NFT_LIMIT_PKT_BYTES || flags&^unix.NFT_LIMIT_F_INV != 0 {
		return nil, notModelled{fmt.Sprintf("limit of type %d with flags %#x", kind, flags)}
	}
	i.Bytes, i.Over = kind == unix.NFT_LIMIT_PKT_BYTES, flags != 0
	return i, i.size()
}

// size computes the size of the bucket; numbers that overflow are refused as
// the kernel does.
func (i *Limit) size() error {
	const second = uint64(time.Second)
	high, nanoseconds := bits.Mul64(i.Unit, second)
	if i.Rate == 0 || i.Unit == 0 || high != 0 {
		return fmt.Errorf("rate of %d in %d seconds", i.Rate, i.Unit)
	}
	tooLarge := errors.New("bucket is too large")
	if !i.Bytes {
		if i.Burst == 0 {
			i.Burst = defaultBurst
		}
		high, i.max = bits.Mul64(nanoseconds/i.Rate, uint64(i.Burst))
		if high != 0 {
			return tooLarge
		}
		return nil
	}
	withBurst, carry := bits.Add64(i.Rate, uint64(i.Burst), 0)
	high, product := bits.Mul64(nanoseconds, withBurst)
	if carry != 0 || high != 0 {
		return tooLarge
	}
	i.max = product / i.Rate
	return nil
}

var unitNames = map[uint64]string{1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week"}

func (i *Limit) String() string {
	kind, flags := "packets", 0
	if i.Bytes {
		kind = "bytes"
	}
	if i.Over {
		flags = 1
	}
	unit := unitNames[i.Unit]
	if unit == "" {
		unit = fmt.Sprintf("%d seconds", i.Unit)
	}
	return fmt.Sprintf("[ limit rate %d/%s burst %d type %s flags 0x%x ]", i.Rate, unit, i.Burst, kind, flags)
}

func (i *Limit) exec(x *execution) result {
	b := state(x, i, func() *bucket { return &bucket{tokens: i.max, last: x.now()} })
	cost := i.Unit * uint64(time.Second)
	if i.Bytes {
		cost *= uint64(len(x.flight.Data))
	}
	cost /= i.Rate
	tokens := b.tokens + uint64(x.now()-b.last)
	switch {
	case b.tokens == i.max, tokens >= i.max+uint64(slack):
		b.unsure = false
	case max(tokens, cost)-min(tokens, cost) <= uint64(slack):
		b.unsure = true
	}
	if b.unsure {
		x.flight.Unsure = true
	}
	tokens = min(tokens, i.max)
	b.last = x.now()
	enough := tokens >= cost
	if enough {
		tokens -= cost
	}
	b.tokens = tokens
	if enough != i.Over {
		return proceed
	}
	return breaks
}

// endless reports whether the bucket gives to every packet, because what it
// takes is less than a nanosecond.
func (i *Limit) endless() bool { return !i.Bytes && i.Unit*uint64(time.Second) < i.Rate }

func (i *Limit) asks(*compiler) bool { return !i.endless() }

func (i *Limit) symbolic(x *symbolicRun) {
	if i.endless() {
		x.require(x.unless(i.Over, bdd.True))
		return
	}
	// A bucket for each key may be another one the next time.
	in := symbolic.Instance{Kind: "limit", Width: 1, Firm: x.owner.set == nil, Loose: "limit-resolution"}
	period := i.Unit * uint64(time.Second) / i.Rate
	in.Parameters, in.Lasts = fmt.Sprintf("one per %dns burst %d", period, i.Burst), time.Duration(period)
	if x.owner.set != nil {
		x.noteSole(x.owner.life == 0 || uint64(x.owner.life) >= i.max)
	}
	if i.Bytes {
		in.Parameters = fmt.Sprintf("%d bytes in %ds burst %d bytes", i.Rate, i.Unit, i.Burst)
	}
	x.askFirm(i, in, func(y *symbolicRun, within bool) {
		if within == i.Over {
			breaksRule(y)
		}
	})
}
