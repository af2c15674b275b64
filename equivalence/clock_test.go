package equivalence

import (
	"testing"
	"time"
)

// TestTick wants points of the virtual clock to be whole jiffies, so that what
// counts in jiffies and what counts in nanoseconds see the same times. With
// HZ 250 that is what the models assume.
func TestTick(t *testing.T) {
	for _, hz := range []int64{100, 250, 300, 1000} {
		if tick*hz%int64(time.Second) != 0 {
			t.Errorf("a step of %v is %g jiffies with HZ %d, want a whole number", time.Duration(tick), float64(tick*hz)/float64(time.Second), hz)
		}
	}
}
