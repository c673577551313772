// SPDX-License-Identifier: Apache-2.0

package burn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// block is how much is written at once.
const block = 1 << 20

// IO writes to a file without a name in o.Dir until o.For is over, going back
// to its start after o.Size bytes, and says at what rate. It goes past the page
// cache where the file system can, since version 1 of cgroups limits nothing else.
func IO(ctx context.Context, o Options) error {
	if err := o.check(1); err != nil {
		return err
	}
	ctx, cancel := o.bounded(ctx)
	defer cancel()
	f, direct, err := nameless(o.Dir)
	if err != nil {
		return fmt.Errorf("make file in %q: %w", o.Dir, err)
	}
	defer f.Close()
	// Pages of their own: O_DIRECT wants whole ones.
	buf, err := unix.Mmap(-1, 0, block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("get buffer: %w", err)
	}
	defer func() { _ = unix.Munmap(buf) }()
	start, lap := time.Now(), time.Now()
	var total, since int64
	var refused error
	for ctx.Err() == nil && refused == nil {
		at := total % max(o.Size/block*block, block)
		if _, err := f.WriteAt(buf, at); err != nil {
			refused = err
			break
		}
		if !direct {
			refused = unix.Fdatasync(int(f.Fd()))
		}
		total, since = total+block, since+block
		if d := time.Since(lap); d >= time.Second {
			o.now("io: %s/s", size(int64(float64(since)/d.Seconds())))
			lap, since = time.Now(), 0
		}
	}
	d := time.Since(start)
	o.end()
	o.say("io: %s written in %.1f s: %s/s", size(total), d.Seconds(), size(int64(float64(total)/d.Seconds())))
	if refused != nil {
		o.say("then refused: %v", cause(refused))
	}
	o.sayIO(f, refused)
	return nil
}

// cause is an error without the file's name, which it has none of.
func cause(err error) error {
	if e := new(os.PathError); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// nameless makes a file that is gone when it is closed, or we are.
func nameless(dir string) (f *os.File, direct bool, err error) {
	for _, flag := range [...]int{unix.O_DIRECT, 0} {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC|flag, 0o600)
		if err == nil {
			return os.NewFile(uintptr(fd), path.Join(dir, "(nameless)")), flag != 0, nil
		}
		if err != unix.EINVAL && err != unix.EOPNOTSUPP && err != unix.EISDIR {
			return nil, false, err
		}
	}
	// A file system without O_TMPFILE: such as overlay, before Linux 6.
	f, err = os.CreateTemp(dir, ".vitro-burn.")
	if err != nil {
		return nil, false, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, false, err
	}
	return f, false, nil
}

// sayIO names what limits writing to the file's device.
func (o Options) sayIO(f *os.File, refused error) {
	if u := ulimit(unix.RLIMIT_FSIZE); u != "" && errors.Is(refused, unix.EFBIG) {
		o.say("limit: %s", u)
		return
	}
	found := false
	for _, h := range places("blkio") {
		names := []string{"blkio.throttle.write_bps_device", "blkio.throttle.write_iops_device"}
		if h.V2 {
			names = []string{"io.max"}
		}
		for _, dir := range upwards(h) {
			for _, n := range names {
				for line := range strings.Lines(read(dir + "/" + n)) {
					found = true
					o.say("limit: %s/%s is %s", dir, n, strconv.Quote(strings.TrimSpace(line)))
				}
			}
		}
	}
	if !found {
		o.say("limit: none to be seen")
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err == nil {
		o.say("device: %d:%d (0:… is not a disk, but what lies over one)", unix.Major(st.Dev), unix.Minor(st.Dev))
	}
}

// threads is how many this process has.
func threads() int {
	list, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return 0
	}
	return len(list)
}
