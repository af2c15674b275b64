package transaction

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A Process is one process for certain: numbers are given again to later ones,
// which start at another time.
type Process struct {
	PID int `json:"pid"`
	// Start is in clock ticks since the boot.
	//
	// Man page: proc_pid_stat(5), field 22.
	Start uint64 `json:"start"`
}

// Self is the calling process.
func Self() (Process, error) { return processOf(os.Getpid()) }

func processOf(pid int) (Process, error) {
	const afterName = 20 // fields from the state, which follows the name, to the start
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, err
	}
	// The name, in parentheses, can hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < afterName {
		return Process{}, fmt.Errorf("/proc/%d/stat: %d fields behind the name", pid, len(fields))
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return Process{}, fmt.Errorf("process %d has ended", pid)
	}
	start, err := strconv.ParseUint(fields[afterName-1], 10, 64)
	if err != nil {
		return Process{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return Process{pid, start}, nil
}

// Alive reports whether the process still runs.
func (p Process) Alive() bool {
	now, err := processOf(p.PID)
	return err == nil && now == p
}
