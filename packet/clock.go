package packet

import (
	"fmt"
	"time"
)

// Wall is the time of day and date at which the packet is handled.
func (p *Packet) Wall() time.Time {
	if p.Clock == 0 {
		return time.Now().UTC()
	}
	return time.Unix(0, p.Clock).UTC()
}

// clockLayout is how a time of a packet is written, in UTC.
const clockLayout = "2006-01-02T15:04:05.999999999"

// clock reads a time.
func (w *words) clock(arg string) error {
	t, err := time.Parse(clockLayout, arg)
	if err != nil {
		return fmt.Errorf("expected a time like 2024-02-29T23:59:59 in UTC")
	}
	w.spec.Clock = t.UnixNano()
	return nil
}
