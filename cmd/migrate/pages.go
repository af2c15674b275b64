package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

// Memory of a large translation. Nearly all of it is in use up to the end, so that
// collecting garbage finds little, and where pages are small a third of the time is spent
// on getting them: 100,000 rules take 0.56 s on a machine that is virtual twice, and
// 0.20 s with pages of 2 MiB, of which the kernel fills each at once.
const (
	// fewBytes of input are translated in what a process has anyway.
	fewBytes = 1 << 20
	// roomPerByte is about how much memory a byte of input takes on its way.
	roomPerByte = 48
	// mostRoom bounds what is asked for at once.
	mostRoom = 2 << 30
	// rareGC is how much the heap grows, in percent, between collections.
	rareGC = 1000
)

// makeRoom has the heap use large pages for what an input of a size takes. It is address
// space that it asks for: memory is taken when it is used, which it would be anyway.
//
// The advice stays with the addresses when the slice is gone, and they are the ones that
// the runtime gives out next.
func makeRoom(size int64) {
	if size < fewBytes || !addressesAreFree() {
		return
	}
	room := make([]byte, min(roomPerByte*size, mostRoom))
	if unix.Madvise(room, unix.MADV_HUGEPAGE) != nil {
		return // a kernel without them
	}
	room = nil
	runtime.GC()
}

// addressesAreFree reports whether a process may have more addresses than it uses memory:
// where it may not, asking for them could end it.
func addressesAreFree() bool {
	var limit unix.Rlimit
	if strconv.IntSize < 64 || unix.Getrlimit(unix.RLIMIT_AS, &limit) != nil || limit.Cur != unix.RLIM_INFINITY {
		return false
	}
	const never = '2' // is more promised than there is; Linux: Documentation/mm/overcommit-accounting.rst
	policy, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	return err == nil && len(policy) > 0 && policy[0] != never
}

// collectRarely makes garbage collection rare until the function that it returns is
// called, unless the environment says how often it is.
func collectRarely() (usual func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(rareGC)
	return func() { debug.SetGCPercent(before) }
}

// sizeOf is how large the regular files of a list are together.
func sizeOf(paths ...string) (size int64) {
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			size += min(info.Size(), maxInput)
		}
	}
	return size
}
