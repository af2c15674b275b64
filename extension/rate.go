package extension

import (
	"fmt"
	"strconv"
	"strings"
)

// rateUnits are the units of rates, the shortest first. Arguments may shorten
// their names.
var rateUnits = []struct {
	name, printed string
	seconds       uint64
}{
	{"second", "sec", 1}, {"minute", "min", 60}, {"hour", "hour", 3600}, {"day", "day", 86400},
}

// cutRate reads "N" or "N/unit". behind is what follows the digits of N; without
// a unit it is a second.
func cutRate(arg string) (n uint64, behind, unit string, err error) {
	number, unit, hasUnit := strings.Cut(arg, "/")
	behind = strings.TrimLeft(number, "0123456789")
	n, err = strconv.ParseUint(number[:len(number)-len(behind)], 10, 31)
	if err != nil || n == 0 {
		return 0, "", "", fmt.Errorf("%q is no rate, expected a number from 1 and a unit, as in 5/minute", arg)
	}
	if !hasUnit {
		unit = rateUnits[0].name
	}
	return n, behind, unit, nil
}

// packetRate returns the time between packets, of which n come in a unit of time,
// in units of 1/scale s, and how many seconds the unit has. arg is for messages.
func packetRate(arg string, n uint64, unit string, scale uint64) (average, seconds uint64, err error) {
	for _, u := range rateUnits {
		if unit == "" || !strings.HasPrefix(u.name, strings.ToLower(unit)) {
			continue
		}
		if average = u.seconds * scale / n; average == 0 {
			return 0, 0, fmt.Errorf("%s is too fast, expected at most %d/second", arg, scale)
		}
		return average, u.seconds, nil
	}
	return 0, 0, fmt.Errorf("%q is no unit of time, expected second, minute, hour or day", unit)
}

// ratePerUnit returns the rate of packets that come in some time, in units of
// 1/scale s, per the shortest of rateUnits in which it is (nearly) a whole number.
func ratePerUnit(average, scale uint64) (rate uint64, unit int) {
	for i := len(rateUnits) - 1; i >= 0; i-- {
		whole := rateUnits[i].seconds * scale
		if rate != 0 && (average > whole || whole/average < whole%average) {
			break
		}
		rate, unit = whole/average, i
	}
	return rate, unit
}
