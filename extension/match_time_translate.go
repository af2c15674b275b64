package extension

import (
	"encoding/binary"

	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// Translate asks the clock of nf_tables: for the second of the day and the day of
// the week, and for nanoseconds since 1970, of which the days of months become
// spans. A span in the text ends with a whole second, so that it includes one
// nanosecond of the next, which a test against being one of the ends takes out.
//
// Kernel: net/netfilter/nft_meta.c, nft_meta_get_eval_time.
func (m *timeMatch) Translate(r *translate.Rule) error {
	month, week := m.chosen()
	if month == 0 || week == 0 {
		r.Never()
		return nil
	}
	m.declareZone(r)
	if from := m.DateStart.Value; from != 0 {
		r.Add(nftgen.Compare{Field: nftgen.MetaTime, Op: nftgen.Ge, Value: instant(uint64(from))})
	}
	r.Add(nftgen.Compare{Field: nftgen.MetaTime, Op: nftgen.Lt, Value: instant(uint64(m.DateStop.Value) + 1)})
	from, to := uint32(m.TimeStart.Value), uint32(m.TimeStop.Value)
	const last = 24*60*60 - 1
	hours := func(low, high uint32, not bool) nftgen.Stmt {
		return nftgen.InSpan{Field: nftgen.MetaHour, Low: wide32(low), High: wide32(high), Not: not}
	}
	whole := month == allMonthDays && week == allWeekDays
	switch {
	case from < to:
		if from != 0 || to != last {
			r.Add(hours(from, to, false))
		}
		r.Add(m.onDays(0)...)
	case m.Contiguous.Present && !whole:
		var rows []translate.Row
		if from = max(from, to+1); from <= last {
			rows = append(rows, translate.Row{Stmts: append([]nftgen.Stmt{hours(from, last, false)}, m.onDays(0)...), Then: translate.Match})
		}
		rows = append(rows, translate.Row{Stmts: append([]nftgen.Stmt{hours(0, to, false)}, m.onDays(1)...), Then: translate.Match})
		r.Branch(translate.Branch{Rows: rows, Otherwise: translate.Fail})
	default:
		if to+1 < from {
			r.Add(hours(to+1, from-1, true))
		}
		r.Add(m.onDays(0)...)
	}
	return nil
}

// declareZone declares what a time zone of the kernel makes of the match.
func (m *timeMatch) declareZone(r *translate.Rule) {
	dated := m.DateStart.Value != 0 || m.DateStop.Value != lastDate || m.TimeStart.Value != 0 || m.TimeStop.Value != lastSecond
	_, week := m.chosen()
	if week == allWeekDays && !(m.local() && (dated || m.MonthDays.Present)) {
		return
	}
	r.Declare(translate.Deviation{
		Code: "time-kernel-zone",
		Detail: "nftables reads days of the week in the time zone of the kernel and all else in UTC; iptables reads everything in UTC, or with --kerneltz in that zone. " +
			"The two are the same where the kernel has no time zone: \"hwclock --systz\", and a hardware clock that keeps local time, set one.",
	})
}

// chosen are the days that the options name, or all others when they are negated.
func (m *timeMatch) chosen() (monthDays, weekDays) {
	month, week := m.MonthDays.Value, m.WeekDays.Value
	if m.MonthDays.Negated {
		month = ^month & 0xfffffffe
	}
	if m.WeekDays.Negated {
		week = ^week & 0xfe
	}
	return month, week
}

// onDays tests for the days, or for those that many days behind them.
func (m *timeMatch) onDays(later int) []nftgen.Stmt {
	var out []nftgen.Stmt
	month, week := m.chosen()
	if week != 0xfe {
		days := nftgen.OneOf{Field: nftgen.MetaDay}
		for day := range 7 { // Sunday is 0 here and 7 there
			before := (day - later + 7) % 7
			if before == 0 {
				before = 7
			}
			if week&(1<<before) != 0 {
				v := nftgen.Value{byte(day)}
				days.Intervals = append(days.Intervals, nftgen.Interval{Low: v, High: v})
			}
		}
		out = append(out, days)
	}
	if month == 0xfffffffe {
		return out
	}
	spans := nftgen.OneOf{Field: nftgen.MetaTime}
	ends := nftgen.OneOf{Field: nftgen.MetaTime, Not: true}
	const day = 24 * 60 * 60
	open := false
	var start uint64
	stop := uint64(m.DateStop.Value) + 1
	for n, c := uint64(0), newCalendar(); ; n, c = n+1, c.next() {
		now := (n + uint64(later)) * day
		on := now < stop && now+day > uint64(m.DateStart.Value) && month&(1<<c.day) != 0
		switch {
		case on && !open:
			start = now
		case !on && open:
			spans.Intervals = append(spans.Intervals, nftgen.Interval{Low: instant(start), High: instant(now)})
			ends.Intervals = append(ends.Intervals, nftgen.Interval{Low: instant(now), High: instant(now)})
		}
		if open = on; now >= stop {
			break
		}
	}
	if len(spans.Intervals) == 0 {
		// The dates end before the first of the days.
		never := nftgen.Value(instant(0))
		return append(out, nftgen.Compare{Field: nftgen.MetaTime, Op: nftgen.Lt, Value: never})
	}
	return append(out, spans, ends)
}

// instant is a second since 1970 as nf_tables has it, in nanoseconds.
func instant(second uint64) nftgen.Value { return binary.BigEndian.AppendUint64(nil, second*1e9) }

// A calendar is a day of the calendar of the Gregorian reform.
type calendar struct{ year, month, day int }

// newCalendar returns 1970-01-01.
func newCalendar() calendar { return calendar{1970, 1, 1} }

var monthLengths = [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// next returns the day behind.
func (c calendar) next() calendar {
	length := monthLengths[c.month-1]
	if leap := c.year%4 == 0 && (c.year%100 != 0 || c.year%400 == 0); leap && c.month == 2 {
		length = 29
	}
	switch {
	case c.day < length:
		c.day++
	case c.month < 12:
		c.month, c.day = c.month+1, 1
	default:
		c.year, c.month, c.day = c.year+1, 1, 1
	}
	return c
}
