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
func Write(path string, data []byte, mode fs.FileMode) error {
	return WriteAs(path, data, mode, nil)
}

// WriteAs is [Write] for a file of which more is said than content and mode:
// prepare is given the path of the whole file before it gets its name, to set
// owner, labels or times. nil prepares nothing.
func WriteAs(path string, data []byte, mode fs.FileMode, prepare func(path string) error) (err error) {
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
	if err == nil && prepare != nil {
		err = prepare(tmp)
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
func Symlink(target, path string) error { return SymlinkAs(target, path, nil) }

// SymlinkAs is [Symlink] for a link of which more is said than where it leads, as
// [WriteAs] is for files.
func SymlinkAs(target, path string, prepare func(path string) error) (err error) {
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
	if prepare != nil {
		if err := prepare(tmp); err != nil {
			return err
		}
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Mkdir makes a directory with a mode. One that is there already keeps its own.
func Mkdir(path string, mode fs.FileMode) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make the directory %s: %w", path, err)
		}
	}()
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		return nil
	}
	// Made under another name, so that nobody finds it with another mode.
	tmp := path + suffix
	if err := os.Mkdir(tmp, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	err = os.Chmod(tmp, mode.Perm())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Clean removes what a crash in one of the functions above left beside a path.
func Clean(path string) error { return Remove(path + suffix) }

// Remove removes a file, a link or an empty directory. One that is
// not there is no error.
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
