package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestSSHSession finds the connection in the processes above one, as below sudo.
func TestSSHSession(t *testing.T) {
	proc := t.TempDir()
	write := func(pid, parent int, name, environment string) {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{
			"environ": environment,
			"stat":    strconv.Itoa(pid) + " (" + name + ") S " + strconv.Itoa(parent) + " 1 1 0",
		} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(40, 30, "migrate", "PATH=/bin\x00SUDO_USER=a\x00")
	write(30, 20, "sudo) S 99 (x", "PATH=/bin\x00")
	write(20, 1, "bash", "HOME=/\x00SSH_CONNECTION=::ffff:10.0.0.7 51234 ::ffff:192.0.2.1 22\x00")
	write(1, 0, "init", "")
	write(50, 1, "cron", "SSH_CONNECTION=nonsense\x00")
	w, ok := sshSession(proc, 40)
	if !ok || w.client.String() != "10.0.0.7:51234" || w.server.String() != "192.0.2.1:22" {
		t.Errorf("sshSession = %+v, %t", w, ok)
	}
	for _, pid := range []int{1, 50, 60} {
		if w, ok := sshSession(proc, pid); ok {
			t.Errorf("process %d has no session, and %+v is found", pid, w)
		}
	}
}
