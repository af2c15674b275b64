package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"
)

func main() { os.Exit(command()) }

// command is the program; it returns the exit code.
func command() int {
	packets := flag.Int("packets", 100_000, "run at least `N` packets")
	each := flag.Int("each", 2000, "`N` packets for each ruleset")
	seed := flag.Uint64("seed", 1, "choice of rulesets and packets")
	only := flag.Int("only", -1, "run only the ruleset of this number, and print it")
	most := flag.Int("most", 10, "stop after `N` rulesets with differences or errors")
	workers := flag.Int("parallel", 2*runtime.NumCPU(), "run `N` rulesets at a time")
	proofs := flag.Int("proofs", 0, "make only proofs, of `N` rulesets, without the kernel")
	unproven := flag.Bool("unproven", false, "do without proofs, which take most of the time")
	level := flag.Int("optimize", 0, "translate with this `LEVEL` of optimisation")
	profile := flag.String("cpuprofile", "", "write where the time goes to `FILE`")
	flag.Parse()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // rulesets and packets are small, and gone soon
	}
	if *profile != "" {
		stop, err := profileTo(*profile)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		defer stop()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	f := &fuzz{each: *each, seed: *seed, out: os.Stdout, counts: make(map[string]int), only: *proofs > 0, proofTime: proofTime, optimize: *level}
	if *unproven {
		f.proofTime = 0
	}
	start := time.Now()
	if *only >= 0 {
		f.show = true
		f.add(f.ruleset(ctx, *only))
	} else {
		f.run(ctx, limits{*packets, *proofs, *most}, max(*workers, 1))
	}
	f.summary(time.Since(start))
	if f.different > 0 {
		return 1
	}
	return 0
}

// profileTo begins a profile of the processor's time, which stop ends.
func profileTo(file string) (stop func(), err error) {
	w, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(w); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		if err := w.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}, nil
}

// limits end a run: so many packets, or only proofs of so many rulesets, or so
// many rulesets with differences.
type limits struct{ packets, proofs, most int }

// reached reports whether a run has come to one.
func (f *fuzz) reached(l limits) bool {
	if f.different >= l.most {
		return true
	}
	if f.only {
		return f.rulesets >= l.proofs
	}
	return f.packets >= l.packets
}

// run runs rulesets until a limit is reached. It tells of them in the order of
// their numbers.
func (f *fuzz) run(ctx context.Context, l limits, workers int) {
	type numbered struct {
		n int
		outcome
	}
	work, done := make(chan int), make(chan numbered)
	for range workers {
		go func() {
			for n := range work {
				done <- numbered{n, f.ruleset(ctx, n)}
			}
			done <- numbered{n: -1}
		}()
	}
	waiting := make(map[int]outcome)
	started, told := 0, 0
	tell := func(r numbered) {
		waiting[r.n] = r.outcome
		for ; ; told++ {
			o, ok := waiting[told]
			if !ok {
				return
			}
			delete(waiting, told)
			f.add(o)
		}
	}
	for !f.reached(l) && ctx.Err() == nil {
		select {
		case work <- started:
			started++
		case r := <-done:
			tell(r)
		}
	}
	close(work)
	for left := workers; left > 0; {
		if r := <-done; r.n >= 0 {
			tell(r)
		} else {
			left--
		}
	}
	if f.different >= l.most {
		fmt.Fprintf(f.out, "stopped after %d rulesets with differences or errors\n", f.different)
	}
}
