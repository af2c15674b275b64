package extension

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"nftmigrate/iptables"
)

// A hashRate is the argument of "--hashlimit-upto": the time between packets in
// units of 1/1000000 s, and of how many seconds the unit was that it was written
// with. Of a rate of bytes, average is the part of 2^32 that 16 bytes take from a
// bucket for one second.
type hashRate struct {
	average uint64
	seconds uint64
	bytes   bool
}

const (
	hashScale = 1000000 // XT_HASHLIMIT_SCALE_v2
	// hashByteSeconds and hashByteBurstSeconds are how long the bucket of a rate of
	// bytes is kept, without and with a burst.
	hashByteSeconds, hashByteBurstSeconds = 15, 60
	hashChunk                             = 16 // XT_HASHLIMIT_BYTE_SHIFT
)

// byteUnits are the units of bytes, the largest first.
var byteUnits = []struct {
	name  string
	bytes uint64
}{{"m", 1 << 20}, {"k", 1 << 10}, {"", 1}}

// Set reads "N", "N/unit" or "Nkb/s".
func (l *hashRate) Set(arg string) error {
	if number, _, ok := strings.Cut(arg, "b/s"); ok {
		for _, u := range byteUnits {
			digits, found := strings.CutSuffix(number, u.name)
			if n, err := strconv.ParseUint(digits, 10, 40); found && err == nil && n > 0 {
				return l.setBytes(arg, n*u.bytes)
			}
		}
		return fmt.Errorf("%q is no rate, expected a number from 1 and a unit, as in 512kb/s", arg)
	}
	n, _, unit, err := cutRate(arg)
	if err != nil {
		return err
	}
	average, seconds, err := packetRate(arg, n, unit, hashScale)
	if err != nil {
		return err
	}
	*l = hashRate{average: average, seconds: seconds}
	return nil
}

func (l *hashRate) setBytes(arg string, bytes uint64) error {
	chunks := bytes / hashChunk
	if chunks >= math.MaxUint32 {
		return fmt.Errorf("%s is too fast, expected less than 64 GB/s", arg)
	}
	*l = hashRate{average: chunkCost(chunks), seconds: hashByteSeconds, bytes: true}
	return nil
}

func chunkCost(chunks uint64) uint64 { return math.MaxUint32 / (chunks + 1) }

// perSecond is the number of bytes in a second of a rate of bytes.
func (l *hashRate) perSecond() uint64 { return (math.MaxUint32/l.average - 1) * hashChunk }

// String writes "N/unit" in the shortest unit in which the rate is (nearly) a
// whole number, and bytes in the largest unit that makes no difference.
func (l *hashRate) String() string {
	if l.average == 0 {
		return "0/sec"
	}
	if l.bytes {
		n := l.perSecond()
		for _, u := range byteUnits {
			if u.bytes == 1 || n >= u.bytes && chunkCost(n/u.bytes*u.bytes/hashChunk) == l.average {
				return fmt.Sprintf("%d%sb/s", n/u.bytes, u.name)
			}
		}
	}
	rate, unit := l.perUnit()
	return fmt.Sprintf("%d/%s", rate, rateUnits[unit].printed)
}

func (l *hashRate) perUnit() (rate uint64, unit int) {
	if l.average == 0 {
		return 0, 0
	}
	return ratePerUnit(l.average, hashScale)
}

// A hashBurst is the argument of "--hashlimit-burst": a number of packets or
// bytes, which it is the rate says.
type hashBurst uint64

// hashBurstMax is the largest burst of packets.
const hashBurstMax = 1000000

// Set reads a number with or without a unit of bytes.
func (b *hashBurst) Set(arg string) error {
	digits := arg[:len(arg)-len(strings.TrimLeft(arg, "0123456789"))]
	unit := strings.TrimSuffix(arg[len(digits):], "b")
	for _, u := range byteUnits {
		if n, err := strconv.ParseUint(digits, 10, 43); err == nil && n > 0 && unit == u.name {
			*b = hashBurst(n * u.bytes)
			if unit == "" && digits == arg && n > hashBurstMax {
				break
			}
			return nil
		}
	}
	return fmt.Errorf("%q is no burst, expected 1 to %d packets, or a number of bytes as in 2mb", arg, hashBurstMax)
}

// String writes the number.
func (b *hashBurst) String() string { return strconv.FormatUint(uint64(*b), 10) }

// seconds is for how many seconds of a rate a burst of bytes is, rounded up.
func (b hashBurst) seconds(l *hashRate) uint64 {
	return (uint64(b) + l.perSecond() - 1) / l.perSecond()
}

// inBytes writes a burst of bytes, as so many seconds of a rate.
func (b hashBurst) inBytes(l *hashRate) string {
	n := b.seconds(l) * l.perSecond()
	for _, u := range byteUnits {
		if n >= u.bytes {
			return fmt.Sprintf("%d%sb", n/u.bytes, u.name)
		}
	}
	return "0b"
}

// A hashMode is the argument of "--hashlimit-mode": by what packets are told
// apart.
type hashMode uint8

// The bits of a mode, in the order in which iptables-save prints them.
const (
	hashSrcIP = 1 << iota
	hashSrcPort
	hashDstIP
	hashDstPort
)

var hashModes = []struct {
	name string
	bit  hashMode
}{{"srcip", hashSrcIP}, {"srcport", hashSrcPort}, {"dstip", hashDstIP}, {"dstport", hashDstPort}}

// Set reads words with commas between them.
func (m *hashMode) Set(arg string) error {
	*m = 0
	for _, word := range strings.FieldsFunc(arg, func(r rune) bool { return r == ',' || r == '|' }) {
		found := false
		for _, mode := range hashModes {
			if mode.name == word {
				*m |= mode.bit
				found = true
			}
		}
		if !found {
			return fmt.Errorf("%q is none of srcip, srcport, dstip, dstport", word)
		}
	}
	return nil
}

// String writes the words.
func (m *hashMode) String() string {
	var words []string
	for _, mode := range hashModes {
		if *m&mode.bit != 0 {
			words = append(words, mode.name)
		}
	}
	return strings.Join(words, ",")
}

// IsDefault reports whether packets are not told apart.
func (m *hashMode) IsDefault() bool { return *m == 0 }

// A hashName is the argument of "--hashlimit-name".
type hashName string

const hashNameMax = 254

// Set reads a name.
func (n *hashName) Set(arg string) error {
	if arg == "" || len(arg) > hashNameMax || strings.ContainsAny(arg, "/ ") {
		return fmt.Errorf("%q is no name of a table, expected 1 to %d bytes without slash", arg, hashNameMax)
	}
	*n = hashName(arg)
	return nil
}

// String writes the name.
func (n *hashName) String() string { return string(*n) }

// A hashMask is the argument of "--hashlimit-srcmask": how many bits of an
// address tell packets apart.
type hashMask struct{ bits, width uint8 }

// Set reads a number of bits.
func (m *hashMask) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, uint64(m.width))
	m.bits = uint8(n)
	return err
}

// String writes the number.
func (m *hashMask) String() string { return strconv.Itoa(int(m.bits)) }

// IsDefault reports whether all bits count.
func (m *hashMask) IsDefault() bool { return m.bits == m.width }

// A hashCollect is the argument of "--hashlimit-htable-gcinterval", in
// milliseconds.
type hashCollect uint32

const hashCollectDefault = 1000

// Set reads a number.
func (c *hashCollect) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, 1<<32-1)
	*c = hashCollect(n)
	return err
}

// String writes the number.
func (c *hashCollect) String() string { return strconv.FormatUint(uint64(*c), 10) }

// IsDefault reports whether it is that of a rule without the option.
func (c *hashCollect) IsDefault() bool { return *c == hashCollectDefault }

// A hashInterval is the argument of "--hashlimit-rate-interval": a number of
// seconds from 1.
type hashInterval uint32

// Set reads a number.
func (i *hashInterval) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, math.MaxInt32)
	if err == nil && n == 0 {
		err = errors.New("a window of 0 seconds sees nothing, expected a number from 1")
	}
	*i = hashInterval(n)
	return err
}

// String writes the number.
func (i *hashInterval) String() string { return strconv.FormatUint(uint64(*i), 10) }
