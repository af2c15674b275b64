package equivalence

import (
	"context"
	"fmt"
	"time"

	"nftmigrate/packet"
)

// A Confirmation is what the kernel made of the packets that show a difference.
type Confirmation struct {
	// Confirmed: the last packet came out unlike in the kernel as well.
	Confirmed bool
	// Skipped says why the kernel could not be asked, "" when it was.
	Skipped string
	A, B    packet.Fate
	Aspects []Aspect
}

// Confirm brings the packets of a difference into the kernel, on both sides and
// on the host of the difference, and sets its Confirmation. tracked says whether
// the rules of either side make the kernel track connections.
func Confirm(ctx context.Context, d *Difference, k KernelPair, tracked bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if apart := time.Duration(lasts(d)); apart > k.Wait {
		d.InKernel = &Confirmation{Skipped: fmt.Sprintf("the packets come within %v, which the kernel would have to wait", apart)}
		return nil
	}
	source, target, done, err := k.Open(d.Host, tracked)
	if err != nil {
		return fmt.Errorf("open the kernel's machines: %w", err)
	}
	d.InKernel, err = confirm(ctx, d, k, source, target, tracked)
	if closing := done(); err == nil {
		err = closing
	}
	return err
}

// lasts is the time between the first and the last packet of a difference.
func lasts(d *Difference) int64 {
	if len(d.Before) == 0 {
		return 0
	}
	return d.Packet.Time - d.Before[0].Time
}

// sleep waits, unless the context ends before.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func confirm(ctx context.Context, d *Difference, k KernelPair, source, target Kernel, tracked bool) (*Confirmation, error) {
	c := &Confirmation{}
	packets := append(d.Before[:len(d.Before):len(d.Before)], d.Packet)
	start := time.Now()
	for _, p := range packets {
		q := *p
		if err := sleep(ctx, time.Until(start.Add(time.Duration(p.Time-packets[0].Time)))); err != nil {
			return nil, err
		}
		if !tracked {
			q.Tracking = packet.Tracking{}
		}
		if q.Path == packet.Leaving && q.Socket == nil {
			q.Socket = &packet.Socket{} // none can be sent without
		}
		var fates [2]packet.Fate
		for i, machine := range []Kernel{source, target} {
			f, err := machine.Run(&q)
			switch {
			case err == nil:
			case k.Skips(err):
				c.Skipped = err.Error()
				return c, nil
			default:
				return nil, fmt.Errorf("%v: %w", &q, err)
			}
			fates[i] = f
		}
		c.A, c.B = fates[0], fates[1]
	}
	c.Aspects = visible(Differ(seen(c.A), seen(c.B)), d.A, d.B)
	c.Confirmed = len(c.Aspects) > 0
	return c, nil
}
