// SPDX-License-Identifier: Apache-2.0

package smallfile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/internal/smallfile"
)

func TestWriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, size := range []int{9000, 0, 1, 4095, 4096, 4097, 8192, 1 << 20} {
		want := bytes.Repeat([]byte("vitro "), size/6+1)[:size]
		if err := smallfile.Write(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := smallfile.Read(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
		}
		if std, err := os.ReadFile(path); err != nil || !bytes.Equal(std, want) {
			t.Errorf("os.ReadFile reads %d bytes of %d, %v", len(std), size, err)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

// TestProc: a file that says nothing of its size is read whole.
func TestProc(t *testing.T) {
	got, err := smallfile.Read("/proc/self/limits")
	want, err2 := os.ReadFile("/proc/self/limits")
	if err != nil || err2 != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v; %q, %v", got, err, want, err2)
	}
}

// TestErrors are those of package os.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	_, missing := smallfile.Read(dir + "/none")
	_, folder := smallfile.Read(dir)
	_, nul := smallfile.Read("a\x00b")
	exists := smallfile.Write(dir, nil, 0o600)
	full := smallfile.Write("/dev/full", []byte("x"), 0o600)
	for _, c := range []struct{ got, want error }{
		{missing, fs.ErrNotExist}, {folder, unix.EISDIR}, {nul, unix.EINVAL}, {exists, unix.EISDIR}, {full, unix.ENOSPC},
	} {
		var p *fs.PathError
		if !errors.Is(c.got, c.want) || !errors.As(c.got, &p) {
			t.Errorf("%v; want %v", c.got, c.want)
		}
	}
}

// TestOpen: what is opened is closed at an exec, and the runtime's poller knows nothing of it.
func TestOpen(t *testing.T) {
	f, err := smallfile.Open(filepath.Join(t.TempDir(), "f"), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
	if err != nil || flags != unix.FD_CLOEXEC {
		t.Errorf("flags %#x, %v", flags, err)
	}
	if _, err := f.WriteString("x"); err != nil {
		t.Error(err)
	}
	if _, err := smallfile.Open(f.Name(), unix.O_CREAT|unix.O_EXCL, 0); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
}
