package extension

import (
	"fmt"
	"strconv"
	"strings"

	"nftmigrate/iptables"
)

// monthDays are days of a month, bit 1 is the first.
type monthDays uint32

// weekDays are days of a week, bit 1 is Monday.
type weekDays uint8

// All days.
const (
	allMonthDays monthDays = 0xfffffffe
	allWeekDays  weekDays  = 0xfe
)

// Set reads a list of numbers.
func (d *monthDays) Set(arg string) error {
	*d = 0
	for _, word := range strings.Split(arg, ",") {
		n, err := iptables.ParseNumber(word, 31)
		if err != nil || n == 0 {
			return fmt.Errorf("%q is no day of a month, expected numbers from 1 to 31", word)
		}
		*d |= 1 << n
	}
	return nil
}

// String writes the list.
func (d *monthDays) String() string {
	var words []string
	for n := 1; n <= 31; n++ {
		if *d>>n&1 == 1 {
			words = append(words, strconv.Itoa(n))
		}
	}
	return strings.Join(words, ",")
}

// Set reads a list of numbers from 1, Monday, and of names, of which the first two
// letters count.
func (d *weekDays) Set(arg string) error {
	*d = 0
	for _, word := range strings.Split(arg, ",") {
		bit := weekDays(0)
		if n, err := iptables.ParseNumber(word, 7); err == nil && n > 0 {
			bit = 1 << n
		}
		for n, name := range weekDayNames {
			if len(word) >= 2 && word[:2] == name[:2] {
				bit = 1 << (n + 1)
			}
		}
		if bit == 0 {
			return fmt.Errorf("%q is no day of a week, expected Mon to Sun or 1 to 7", word)
		}
		*d |= bit
	}
	return nil
}

var weekDayNames = [...]string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}

// String writes the names.
func (d *weekDays) String() string {
	var words []string
	for n, name := range weekDayNames {
		if *d>>(n+1)&1 == 1 {
			words = append(words, name)
		}
	}
	return strings.Join(words, ",")
}
