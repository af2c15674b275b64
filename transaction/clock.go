package transaction

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An Instant is a time since the machine booted, suspended or not. Neither a
// change of the time of day nor one of the time zone moves it; it means nothing
// in another boot.
//
// Man page: clock_gettime(2), CLOCK_BOOTTIME.
type Instant int64 // nanoseconds

// Now is the present instant.
func Now() Instant {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		// Linux has this clock since 2.6.39; without it no deadline holds.
		panic(fmt.Sprintf("clock_gettime(CLOCK_BOOTTIME): %v", err))
	}
	return Instant(t.Nano())
}

// Add is the instant a while later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Until is how long it is from now to the instant, negative when it is over.
func (i Instant) Until() time.Duration { return time.Duration(i - Now()) }

// bootID identifies the boot of the machine.
//
// Man page: random(4), /proc/sys/kernel/random/boot_id.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("tell one boot from another: %w", err)
	}
	return string(bytes.TrimSpace(b)), nil
}
