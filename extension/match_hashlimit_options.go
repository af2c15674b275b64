package extension

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"nftmigrate/iptables"
)

// A hashRate is the argument of "--hashlimit-upto": the time between packets in
// units of 1/1000000 s, and of how many seconds the unit was that it was written
// with. A rate of bytes is kept as it is written.
type hashRate struct {
	average uint64
	seconds uint64
	bytes   string
}

const (
	hashScale = 1000000 // XT_HASHLIMIT_SCALE_v2
	// hashByteSeconds is how long the bucket of a rate of bytes is kept.
	hashByteSeconds = 15
)

// Set reads "N", "N/unit" or "Nkb/s".
func (l *hashRate) Set(arg string) error {
	n, behind, unit, err := cutRate(arg)
	if err != nil {
		return err
	}
	switch behind {
	case "b", "kb", "mb":
		*l = hashRate{bytes: arg, seconds: hashByteSeconds}
		return nil
	}
	average, seconds, err := packetRate(arg, n, unit, hashScale)
	if err != nil {
		return err
	}
	*l = hashRate{average: average, seconds: seconds}
	return nil
}

// String writes "N/unit" in the shortest unit in which the rate is (nearly) a
// whole number.
func (l *hashRate) String() string {
	if l.bytes != "" {
		return l.bytes
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

// A hashBurst is the argument of "--hashlimit-burst". One in bytes is kept as it
// is written.
type hashBurst struct {
	packets uint64
	bytes   string
}

// hashBurstMax is the largest burst.
const hashBurstMax = 1000000

// Set reads a number of packets, or of bytes.
func (b *hashBurst) Set(arg string) error {
	if strings.HasSuffix(arg, "b") {
		*b = hashBurst{bytes: arg}
		return nil
	}
	n, err := iptables.ParseNumber(arg, hashBurstMax)
	if err == nil && n == 0 {
		err = errors.New("a burst of 0 lets nothing pass, expected 1 to 1000000")
	}
	*b = hashBurst{packets: n}
	return err
}

// String writes the number.
func (b *hashBurst) String() string {
	if b.bytes != "" {
		return b.bytes
	}
	return strconv.FormatUint(b.packets, 10)
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
	for word := range strings.SplitSeq(arg, ",") {
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
