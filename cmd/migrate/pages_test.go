package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// hugePages is how many bytes of the process are in large pages. ok is false where the
// kernel does not give them to those who ask, or does not say.
func hugePages() (n int, ok bool) {
	enabled, _ := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	text, _ := os.ReadFile("/proc/self/smaps_rollup")
	m := regexp.MustCompile(`AnonHugePages: *(\d+) kB`).FindSubmatch(text)
	if m == nil || !strings.Contains(string(enabled), "[madvise]") {
		return 0, false
	}
	n, err := strconv.Atoi(string(m[1]))
	return n << 10, err == nil
}

// What is allocated after makeRoom is in large pages, where a process may ask for them.
func TestMakeRoom(t *testing.T) {
	const size = 2 << 20
	before, _ := hugePages()
	makeRoom(size)
	memory := make([][]byte, 16*size/4096)
	for i := range memory {
		memory[i] = make([]byte, 4096)
		memory[i][0] = 1
	}
	after, told := hugePages()
	if got, want := after-before, 8*size; told && got < want {
		t.Errorf("%d bytes are in large pages, want at least %d of %d", got, want, len(memory)*4096)
	}
	for _, page := range memory {
		if page[0] != 1 {
			t.Fatal("memory was lost")
		}
	}
}
