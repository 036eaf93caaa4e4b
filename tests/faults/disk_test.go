package faults

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// disk is a small ext4 file system of its own: a power cut and an I/O error can
// happen to it that a file system shared with others must not see. It needs
// root, loop devices and e2fsprogs: what cannot be tried must not seem to have
// been.
type disk struct {
	t          *testing.T
	image, dir string
	mounted    bool
}

// diskSize leaves room for the reserve as it is by default.
const diskSize = 1200 << 20

func newDisk(t *testing.T) *disk {
	t.Helper()
	base := gateway.TempDir(t)
	d := &disk{t: t, image: filepath.Join(base, "disk"), dir: filepath.Join(base, "mnt")}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Truncate(d.image, diskSize), os.Mkdir(d.dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	d.tool("mkfs.ext4", "-q", "-F", "-m", "0", d.image)
	d.mount()
	t.Cleanup(d.close)
	return d
}

func (d *disk) tool(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v: %s\nthese tests need root, loop devices and e2fsprogs", name, err, out)
	}
}

func (d *disk) mount() {
	d.t.Helper()
	d.tool("mount", "-o", "loop,errors=remount-ro", d.image, d.dir)
	d.mounted = true
}

func (d *disk) unmount() {
	d.t.Helper()
	if err := unmount(d.dir); err != nil {
		d.t.Fatalf("unmounting: %v", err)
	}
	d.mounted = false
}

func (d *disk) close() {
	if d.mounted {
		d.unmount()
	}
	if err := os.Remove(d.image); err != nil && !errors.Is(err, os.ErrNotExist) {
		d.t.Error(err)
	}
}

// ext4's ioctl EXT4_IOC_SHUTDOWN, and its flag that not even the journal is
// flushed.
const (
	ext4Shutdown   = 0x8004587d
	ext4NoLogFlush = 2
)

// cut is a power cut: what was not synced up to now will not be there when the
// disk is mounted again.
func (d *disk) cut() {
	d.t.Helper()
	f, err := os.Open(d.dir)
	if err == nil {
		err = errors.Join(unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, ext4NoLogFlush), f.Close())
	}
	if err != nil {
		d.t.Fatalf("cutting the power: %v", err)
	}
}

// turnReadOnly is what ext4 does with a disk on which it meets an error.
func (d *disk) turnReadOnly() {
	d.t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(d.dir, &st); err != nil {
		d.t.Fatal(err)
	}
	device, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("/sys/fs/ext4", filepath.Base(device), "trigger_fs_error"), []byte("fault test"), 0); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "probe"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		d.t.Fatalf("the disk did not turn read-only: %v", err)
	}
}

// back mounts the disk again, as a boot does. Nobody may have files open.
func (d *disk) back() {
	d.t.Helper()
	d.unmount()
	out, err := exec.Command("e2fsck", "-p", d.image).CombinedOutput()
	if exit := new(exec.ExitError); err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 1) { // 1: repaired
		d.t.Fatalf("e2fsck: %v: %s", err, out)
	}
	d.mount()
}

func (d *disk) free() int64 {
	d.t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(d.dir, &fs); err != nil {
		d.t.Fatal(err)
	}
	return int64(fs.Bavail) * fs.Bsize
}

// fill takes all room: at once what is far from any reserve, the rest at a pace
// that a disk can have.
func (d *disk) fill(hog string) {
	d.t.Helper()
	f, err := os.Create(hog)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	size := int64(0)
	grow := func(n int64) bool {
		err := unix.Fallocate(int(f.Fd()), 0, size, n)
		if err != nil && !errors.Is(err, unix.ENOSPC) {
			d.t.Fatal(err)
		}
		if err == nil {
			size += n
		}
		return err == nil
	}
	if ahead := d.free() - 700<<20; ahead > 0 {
		grow(ahead)
	}
	const most = 16 << 20
	for n := int64(most); n >= 4096; {
		if !grow(n) {
			n /= 2
			continue
		}
		n = min(2*n, most) // the ballast may have come back
		time.Sleep(10 * time.Millisecond)
	}
}

// stop holds the process and waits until nothing of it is in the kernel any more.
// A sync that is under way while ext4 is shut down, or aborts its journal, can be
// told that all is well: its blocks are written, that they are is not. With the
// power gone nobody would hear of it.
func (r *run) stop() {
	r.t.Helper()
	r.g.Signal(syscall.SIGSTOP)
	gateway.Eventually(r.t, 10*time.Second, "all threads stand still", func() bool {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", r.g.PID()))
		if err != nil || len(tasks) == 0 {
			return false
		}
		for _, task := range tasks {
			raw, err := os.ReadFile(task)
			if _, state, _ := strings.Cut(string(raw), ") "); err != nil || !strings.HasPrefix(state, "T") {
				return false
			}
		}
		return true
	})
}

// powerCut: what was acknowledged was synced.
func (r *run) powerCut() {
	r.stop()
	r.disk.cut()
	r.g.Kill9()
	r.disk.back()
	r.restart()
}

// readOnly: from the error on nothing is acknowledged that is not kept.
func (r *run) readOnly() {
	refused := r.load.refused.Load()
	r.stop()
	r.disk.turnReadOnly()
	r.g.Signal(syscall.SIGCONT)
	gateway.Eventually(r.t, 30*time.Second, "events are refused on a read-only disk", func() bool {
		return !r.g.Running() || r.load.refused.Load() > refused
	})
	r.alive()
	r.g.Kill9()
	// It does not start, and says why.
	r.g.StartOnly()
	if err := r.g.WaitExit(); err == nil || !containsAll(r.g.Log(), "read-only file system", r.g.Data) {
		r.t.Fatalf("on a read-only disk it ended with %v and does not say what is wrong:\n%s", err, r.g.LogTail(20))
	}
	r.disk.back()
	r.restart()
}

// fullDisk: somebody else fills the disk, takes the ballast as well, as fast as it
// is given back, and makes room again.
func (r *run) fullDisk() {
	hog := filepath.Join(r.disk.dir, "hog")
	refused := r.load.refused.Load()
	r.disk.fill(hog)
	gateway.Eventually(r.t, 30*time.Second, "events are refused on a full disk", func() bool {
		return !r.g.Running() || r.load.refused.Load() > refused
	})
	r.alive()
	switch r.rng.IntN(3) {
	case 0: // the full disk is met at a start
		r.g.Kill9()
		r.restart()
	case 1:
		if _, err := r.g.ListSeqs(url.Values{}); err != nil {
			r.t.Errorf("reading on a full disk: %v", err)
		}
	}
	if err := os.Remove(hog); err != nil {
		r.t.Fatal(err)
	}
	r.alive()
}

// alive: nothing that a disk does ends the gateway. None of the log is mapped.
func (r *run) alive() {
	r.t.Helper()
	if !r.g.Running() {
		r.t.Fatalf("the gateway ended:\n%s", r.g.LogTail(40))
	}
}
