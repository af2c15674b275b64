package main

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestWriteFile writes to a file, and to a pipe, which must stay one: as root, -o
// /dev/null would otherwise put a file in the place of the device.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	file, pipe, link := filepath.Join(dir, "file"), filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, pipe, link} {
		got := make(chan string, 1)
		if path != file {
			go func() {
				f, err := os.Open(path)
				if err != nil {
					got <- err.Error()
					return
				}
				defer f.Close()
				b, _ := io.ReadAll(f)
				got <- string(b)
			}()
		}
		if err := writeFile(&streams{}, path, []byte("text")); err != nil {
			t.Fatal(err)
		}
		if path == file {
			b, _ := os.ReadFile(path)
			got <- string(b)
		}
		if text := <-got; text != "text" {
			t.Errorf("%s: read %q", path, text)
		}
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe is %v now (%v)", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("the directory holds %v (%v)", entries, err)
	}
}
