package equivalence

import (
	"nftmigrate/equivalence/symbolic"
)

// clock chooses a time that a class asks for: the instant, or a day of the week and
// a second of it. A class that asks for both is met where they agree.
func (b *builder) clock() {
	const day, sunday = 86400, 1714867200 // 2024-05-05
	if b.asks(symbolic.Clock) {
		n, _ := b.number(symbolic.Clock)
		b.spec.Clock = int64(n &^ (1 << 63))
		return
	}
	if !b.asks(symbolic.ClockDay) && !b.asks(symbolic.ClockSecond) {
		return
	}
	of, _ := b.number(symbolic.ClockDay)
	second, _ := b.number(symbolic.ClockSecond)
	b.spec.Clock = (sunday + int64(of)*day + int64(second)) * 1e9
}
