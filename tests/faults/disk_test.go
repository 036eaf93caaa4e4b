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

// filesystem is what a disk is formatted with.
type filesystem struct {
	name    string
	mkfs    []string
	options string   // of mount
	check   []string // repairs it before it is mounted; exit code 1 means repaired
	// failed is what a process is told once the file system has met an error.
	failed unix.Errno
}

var (
	ext4 = &filesystem{
		name: "ext4", mkfs: []string{"mkfs.ext4", "-q", "-F", "-m", "0"}, options: "loop,errors=remount-ro",
		check: []string{"e2fsck", "-p"}, failed: unix.EROFS,
	}
	// The kernel recovers it while mounting.
	xfs = &filesystem{name: "xfs", mkfs: []string{"mkfs.xfs", "-q", "-f"}, options: "loop", failed: unix.EIO}
)

// disk is a small file system of its own: a power cut and an I/O error can happen
// to it that a file system shared with others must not see. It needs root, loop
// devices and the file system's tools: what cannot be tried must not seem to have
// been.
type disk struct {
	*filesystem
	t          *testing.T
	image, dir string
	mounted    bool
}

// diskSize leaves room for the reserve as it is by default.
const diskSize = 1200 << 20

func newDisk(t *testing.T, fs *filesystem) *disk {
	t.Helper()
	base := gateway.TempDir(t)
	d := &disk{filesystem: fs, t: t, image: filepath.Join(base, "disk"), dir: filepath.Join(base, "mnt")}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Truncate(d.image, diskSize), os.Mkdir(d.dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	d.tool(d.mkfs[0], append(d.mkfs[1:], d.image)...)
	d.mount()
	t.Cleanup(d.close)
	return d
}

func (d *disk) tool(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v: %s\nthese tests need root, loop devices, e2fsprogs and xfsprogs", name, err, out)
	}
}

func (d *disk) mount() {
	d.t.Helper()
	d.tool("mount", "-t", d.name, "-o", d.options, d.image, d.dir)
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

// The ioctl that shuts a file system down: EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN
// are one number and take the same flags.
const (
	shutdown   = 0x8004587d
	logFlush   = 1 // what is in the journal is kept
	noLogFlush = 2
)

func (d *disk) shutDown(flag int) {
	d.t.Helper()
	f, err := os.Open(d.dir)
	if err == nil {
		err = errors.Join(unix.IoctlSetPointerInt(int(f.Fd()), shutdown, flag), f.Close())
	}
	if err != nil {
		d.t.Fatalf("shutting the file system down: %v", err)
	}
}

// cut is a power cut: what was not synced up to now will not be there when the
// disk is mounted again.
func (d *disk) cut() { d.shutDown(noLogFlush) }

// fail is what the file system does on a disk on which it meets an error: ext4
// turns read-only, XFS shuts down.
func (d *disk) fail() {
	d.t.Helper()
	if d.filesystem == xfs {
		d.shutDown(logFlush)
	} else {
		d.triggerError()
	}
	if err := os.WriteFile(filepath.Join(d.dir, "probe"), nil, 0o600); !errors.Is(err, d.failed) {
		d.t.Fatalf("the file system did not fail: %v", err)
	}
}

func (d *disk) triggerError() {
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
}

// back mounts the disk again, as a boot does. Nobody may have files open.
func (d *disk) back() {
	d.t.Helper()
	d.unmount()
	if d.check != nil {
		out, err := exec.Command(d.check[0], append(d.check[1:], d.image)...).CombinedOutput()
		if exit := new(exec.ExitError); err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 1) {
			d.t.Fatalf("%s: %v: %s", d.check[0], err, out)
		}
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
// A sync that is under way while the file system is shut down, or aborts its
// journal, can be told that all is well: its blocks are written, that they are is not. With the
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

// failDisk: from the error on nothing is acknowledged that is not kept.
func (r *run) failDisk() {
	refused := r.load.refused.Load()
	r.stop()
	r.disk.fail()
	r.g.Signal(syscall.SIGCONT)
	gateway.Eventually(r.t, 30*time.Second, "events are refused on a disk that failed", func() bool {
		return !r.g.Running() || r.load.refused.Load() > refused
	})
	r.alive()
	r.g.Kill9()
	// It does not start, and says why.
	r.g.StartOnly()
	if err := r.g.WaitExit(); err == nil || !containsAll(r.g.Log(), r.disk.failed.Error(), r.g.Data) {
		r.t.Fatalf("on a disk that failed it ended with %v and does not say what is wrong:\n%s", err, r.g.LogTail(20))
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
