package extension

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatch("time", func() iptables.Match { return newTimeMatch() }) }

var (
	_ iptsim.Meaning       = (*timeMatch)(nil)
	_ translate.Translator = (*timeMatch)(nil)
	_ iptables.Validator   = (*timeMatch)(nil)
	_ iptables.Printer     = (*timeMatch)(nil)
)

// timeMatch is "-m time": the clock shows a date, a time of the day, a day of the
// month and a day of the week, in UTC, or with KernelTZ in the time zone that the
// kernel was told.
//
// A day time that ends before it starts goes over midnight. With Contiguous, what
// is behind midnight belongs to the day before.
//
// Kernel: net/netfilter/xt_time.c, time_mt.
type timeMatch struct {
	DateStart, DateStop  iptables.Opt[timeDate]
	TimeStart, TimeStop  iptables.Opt[timeOfDay]
	Contiguous           iptables.Opt[iptables.Flag]
	MonthDays            iptables.Opt[monthDays]
	WeekDays             iptables.Opt[weekDays]
	LocalTZ, UTC, Kernel iptables.Opt[iptables.Flag]
}

// The last second of a day, and of the dates that a rule without a last date
// matches: 2038-01-19T03:14:07.
const (
	lastSecond = 24*60*60 - 1
	lastDate   = math.MaxInt32
)

func newTimeMatch() *timeMatch {
	return &timeMatch{
		DateStop: iptables.Opt[timeDate]{Value: lastDate}, TimeStop: iptables.Opt[timeOfDay]{Value: lastSecond},
		MonthDays: iptables.Opt[monthDays]{Value: allMonthDays}, WeekDays: iptables.Opt[weekDays]{Value: allWeekDays},
	}
}

func (*timeMatch) Name() string { return "time" }

func (m *timeMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("timestart", &m.TimeStart, 0),
		iptables.Bind("timestop", &m.TimeStop, 0),
		iptables.Bind("monthdays", &m.MonthDays, iptables.Invertible),
		iptables.Bind("weekdays", &m.WeekDays, iptables.Invertible),
		iptables.Bind("datestart", &m.DateStart, 0),
		iptables.Bind("datestop", &m.DateStop, 0),
		iptables.Bind("kerneltz", &m.Kernel, 0),
		iptables.Bind("contiguous", &m.Contiguous, 0),
		iptables.Bind("utc", &m.UTC, iptables.InputOnly),
		iptables.Bind("localtz", &m.LocalTZ, iptables.InputOnly),
	}
}

// PrintOptions prints both ends of the time of the day or none, the days without
// negation, and always the last date.
func (m *timeMatch) PrintOptions() []iptables.Printed {
	var list []iptables.Printed
	add := func(when bool, name string, arg ...string) {
		if when {
			list = append(list, iptables.Printed{Name: name, Args: arg})
		}
	}
	start, stop := m.TimeStart.Value, m.TimeStop.Value
	part := start != 0 || stop != lastSecond
	add(part, "timestart", start.String())
	add(part, "timestop", stop.String())
	month, week := m.days()
	add(month != allMonthDays, "monthdays", month.String())
	add(week != allWeekDays, "weekdays", week.String())
	add(m.DateStart.Value != 0, "datestart", m.DateStart.Value.String())
	add(m.DateStop.Value != 0, "datestop", m.DateStop.Value.String())
	add(m.local(), "kerneltz")
	add(m.Contiguous.Present, "contiguous")
	return list
}

func (m *timeMatch) local() bool { return m.Kernel.Present || m.LocalTZ.Present }

// days are those that are asked for, negation applied.
func (m *timeMatch) days() (monthDays, weekDays) {
	month, week := m.MonthDays.Value, m.WeekDays.Value
	if m.MonthDays.Negated {
		month ^= allMonthDays
	}
	if m.WeekDays.Negated {
		week ^= allWeekDays
	}
	return month, week
}

func (m *timeMatch) Validate(iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	if m.UTC.Present && m.local() {
		problems = append(problems, iptables.Problem{
			Summary: "--utc excludes --kerneltz",
			Detail:  "The clock is read in one time zone. Remove one of the two.",
			Range:   m.UTC.Range,
		})
	}
	if m.Contiguous.Present && m.TimeStart.Value < m.TimeStop.Value {
		problems = append(problems, iptables.Problem{
			Summary: "--contiguous needs a time that goes over midnight",
			Detail:  "It says to which day the time behind midnight belongs; --timestop is not before --timestart here. Remove it.",
			Range:   m.Contiguous.Range,
		})
	}
	return problems
}

func (m *timeMatch) Meaning(iptables.Context) predicate.Meaning {
	of := func(id predicate.FieldID) predicate.Field { return predicate.Field{ID: id} }
	between := func(id predicate.FieldID, low, high uint64) predicate.Predicate {
		return predicate.Between{Field: of(id), Low: predicate.Number(low), High: predicate.Number(high)}
	}
	month, week := m.days()
	// On the days, or on those behind them.
	on := func(later int) predicate.All {
		var all predicate.All
		if week != allWeekDays {
			var any predicate.Any
			for day := 1; day <= 7; day++ {
				if week>>day&1 == 1 {
					n := uint64((day + later) % 7)
					any = append(any, between(predicate.ClockDay, n, n))
				}
			}
			all = append(all, any)
		}
		if month != allMonthDays {
			in := predicate.In{Field: of(predicate.ClockTime)}
			last := time.Unix(int64(m.DateStop.Value), 0).UTC()
			for d := time.Unix(0, 0).UTC(); !d.After(last); d = d.AddDate(0, 0, 1) {
				if month>>d.Day()&1 == 1 {
					low := uint64(d.AddDate(0, 0, later).Unix())
					high := predicate.Number(low + lastSecond)
					if n := len(in.Spans); n > 0 && in.Spans[n-1].High.Inc() == predicate.Number(low) {
						in.Spans[n-1].High = high
						continue
					}
					in.Spans = append(in.Spans, predicate.Span{Low: predicate.Number(low), High: high})
				}
			}
			all = append(all, in)
		}
		return all
	}
	dates := between(predicate.ClockTime, uint64(m.DateStart.Value), uint64(m.DateStop.Value))
	start, stop := uint64(m.TimeStart.Value), uint64(m.TimeStop.Value)
	second := func(low, high uint64) predicate.Predicate { return between(predicate.ClockSecond, low, high) }
	var clock predicate.Predicate
	switch {
	case start < stop:
		clock = append(predicate.All{second(start, stop)}, on(0)...)
	case m.Contiguous.Present:
		clock = predicate.Any{
			append(predicate.All{second(max(start, stop+1), lastSecond)}, on(0)...),
			append(predicate.All{second(0, stop)}, on(1)...),
		}
	case start == stop:
		clock = on(0)
	default:
		clock = append(predicate.All{predicate.Any{second(start, lastSecond), second(0, stop)}}, on(0)...)
	}
	return predicate.Meaning{Match: predicate.All{dates, clock}}
}

// A timeDate is seconds since 1970.
type timeDate uint32

// Set reads a year and, from the left, as much more of a date as there is:
// "2024-02-29T23:59:59". Days that a month does not have are of the next one.
func (d *timeDate) Set(arg string) error {
	parts := []int{0, 1, 1, 0, 0, 0}
	limits := []struct {
		most uint64
		then string
	}{{2038, "-"}, {12, "-"}, {31, "T"}, {23, ":"}, {59, ":"}, {59, ""}}
	rest := arg
	for i, l := range limits {
		var word string
		more := false
		if word = rest; l.then != "" {
			word, rest, more = strings.Cut(rest, l.then)
		}
		n, err := strconv.ParseUint(word, 10, 16)
		if err != nil || n > l.most || i == 0 && n < 1970 {
			return fmt.Errorf("%q is no date like 2024-02-29T23:59:59, or the beginning of one, from 1970 to 2038", arg)
		}
		if parts[i] = int(n); !more {
			break
		}
	}
	t := time.Date(parts[0], time.Month(parts[1]), parts[2], parts[3], parts[4], parts[5], 0, time.UTC).Unix()
	if t < 0 {
		return fmt.Errorf("%q is before 1970", arg)
	}
	*d = timeDate(t)
	return nil
}

// String writes a whole date.
func (d *timeDate) String() string {
	return time.Unix(int64(*d), 0).UTC().Format("2006-01-02T15:04:05")
}

// A timeOfDay is a second of the day.
type timeOfDay uint32

// Set reads "hh:mm" or "hh:mm:ss".
func (t *timeOfDay) Set(arg string) error {
	words := strings.Split(arg, ":")
	if len(words) < 2 || len(words) > 3 {
		return fmt.Errorf("%q is no time like 23:59 or 23:59:59", arg)
	}
	second := 0
	for i, most := range []uint64{23, 59, 59}[:len(words)] {
		n, err := strconv.ParseUint(words[i], 10, 16)
		if err != nil || n > most {
			return fmt.Errorf("%q is no time like 23:59 or 23:59:59", arg)
		}
		second = second*60 + int(n)
	}
	if len(words) == 2 {
		second *= 60
	}
	*t = timeOfDay(second)
	return nil
}

// String writes "hh:mm:ss".
func (t *timeOfDay) String() string {
	return fmt.Sprintf("%02d:%02d:%02d", *t/3600, *t/60%60, *t%60)
}
