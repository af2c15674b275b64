// Package durable changes files so that a power cut leaves the old or the new
// content and never a mixture or nothing, and so that success means that the
// disk has it.
//
// A rename alone does not do that: after a power cut the renamed file can be
// empty. So the content is synced before the rename, and the directory after
// it. Then the file is read again and compared, because a full disk, a quota or
// a failing device may tell only later. Call [Write].
//
// Man pages: fsync(2), rename(2).
package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// suffix is that of files that are not yet what they are meant to be. They can
// stay behind after a crash; the next [Write] of the same path replaces them.
const suffix = ".nftmigrate-new"

// Write makes a file with a content and a mode, or replaces what is there. On an
// error the path holds what it held before, unless the error says that it was
// read back otherwise. Owner and labels of the file are those of a new one.
func Write(path string, data []byte, mode fs.FileMode) (err error) {
	tmp := path + suffix
	defer func() {
		if err != nil {
			os.Remove(tmp)
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode.Perm())
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// What is compared is what a reader would get, before anybody can.
	if err := same(tmp, data); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

func same(path string, want []byte) error {
	got, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("read back %d bytes that are not the %d that were written", len(got), len(want))
	}
	return nil
}

// Symlink makes a symbolic link, or replaces the file or link that is there.
func Symlink(target, path string) (err error) {
	tmp := path + suffix
	defer func() {
		if err != nil {
			os.Remove(tmp)
			err = fmt.Errorf("link %s: %w", path, err)
		}
	}()
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Remove removes a file or a link. One that is not there is no error.
func Remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

// SyncDir waits until the names in a directory are on the disk.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
