package faults

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// mount makes a small file system. It needs root: what cannot be tried must
// not seem to have been.
func mount(t *testing.T, size string) string {
	t.Helper()
	dir := gateway.TempDir(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mounting a small file system: %v: these tests need the right to mount (CAP_SYS_ADMIN)", err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return dir
}

// unmount waits for the last files to be let go of: a killed process's mappings
// end after it.
func unmount(dir string) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := unix.Unmount(dir, 0)
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// smallStore sets reserve and ballast to what a small file system can hold.
func smallStore(t *testing.T, reserve, ballast string) func(string) string {
	return func(text string) string {
		return gateway.Replace(t, text, "\t\tstorage badger {\n",
			fmt.Sprintf("\t\tstorage badger {\n\t\t\treserve %s\n\t\t\tballast %s\n", reserve, ballast))
	}
}

// TestFullDisk: events are refused with 503 and Retry-After before the disk is
// full, what is kept can be read meanwhile, and when there is room again the
// gateway takes events by itself. With the reserve as it is by default.
func TestFullDisk(t *testing.T) {
	dir := mount(t, "600m")
	r := newRun(t, random(t), gateway.Options{Data: filepath.Join(dir, "store")})

	// Somebody else fills the disk, while it is written to.
	r.begin()
	r.await(100)
	probe := newEvent(int(r.next.Add(1)), 300)
	refused := func() bool {
		resp, err := r.g.Post(probe.body)
		if err == nil && resp.Status == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
		return err == nil && resp.Status == http.StatusServiceUnavailable
	}
	hog := filepath.Join(dir, "hog")
	fill(t, hog)
	gateway.Eventually(t, 30*time.Second, "events are refused", refused)
	r.readable("full of another's data")

	// Killed and started on a full disk.
	r.g.Kill9()
	r.restart()
	gateway.Eventually(t, 30*time.Second, "events are refused after a start", refused)
	r.readable("full at the start")
	r.settle(probe) // it may have been taken at first

	before := r.load.acknowledged.Load()
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	r.await(100) // by itself
	r.end("a full disk")
	if r.load.refused.Load() == 0 {
		t.Error("the load was never refused")
	}
	t.Logf("%d events before, %d after; %d refusals", before, r.load.acknowledged.Load()-before, r.load.refused.Load())

	// The log itself fills the disk.
	big := startLoad(r.g, r.ledger, &r.next, 2, []int{3_000_000})
	gateway.Eventually(t, time.Minute, "the log has filled the disk", func() bool { return big.refused.Load() > 20 })
	r.readable("full of the log")
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events of 3 MB fit; %d MiB are free", big.acknowledged.Load(), int64(fs.Bavail)*fs.Bsize>>20)
	// More room: the file system grows.
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=2g"); err != nil {
		t.Fatal(err)
	}
	from := big.acknowledged.Load()
	gateway.Eventually(t, time.Minute, "events are taken again", func() bool { return big.acknowledged.Load() > from+3 })
	if err := big.stop(); err != nil {
		t.Fatal(err)
	}
	happened()
	total.acknowledged.Add(big.acknowledged.Load())
	r.check("a disk that the log filled")
	r.close()
}

// readable: the gateway lives, what is kept can be read, and health says that
// something is the matter.
func (r *run) readable(state string) {
	r.t.Helper()
	if !r.g.Running() {
		r.t.Fatalf("on a disk %s the gateway died:\n%s", state, r.g.LogTail(20))
	}
	if _, err := r.g.ListPage(url.Values{"limit": {"10"}}); err != nil {
		r.t.Errorf("reading on a disk %s: %v", state, err)
	}
	if resp, err := r.g.Do("GET", "/api/health", nil); err != nil || !strings.Contains(string(resp.Body), "degraded") {
		r.t.Errorf("on a disk %s health does not say degraded: %v %s", state, err, resp.Body)
	}
}

// settle delivers an event, so that the ledger knows of it.
func (r *run) settle(s *sent) {
	r.t.Helper()
	r.load.done.Add(1)
	go func() {
		defer r.load.done.Done()
		if seq, err := r.load.deliver(s.body); err != nil {
			r.load.fail(err)
		} else {
			r.ledger.acknowledge(s, seq, 0)
		}
	}()
}

// fill writes until the file system has no byte left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 4096; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			size /= 2
		}
	}
}

// TestReadOnlyDisk: a store that cannot be written does not start, and says why.
func TestReadOnlyDisk(t *testing.T) {
	dir := mount(t, "320m")
	g := gateway.New(t, gateway.Options{Data: filepath.Join(dir, "store"), Edit: smallStore(t, "16MiB", "16MiB")})
	g.Start()
	first := g.MustPost(newEvent(1, 300).body)
	g.Kill9()
	remount(t, dir, unix.MS_RDONLY)
	g.StartOnly()
	if err := g.WaitExit(); err == nil {
		t.Fatal("on a read-only disk the gateway ended without an error")
	}
	if !containsAll(g.Log(), "read-only file system", g.Data) {
		t.Fatalf("on a read-only disk it does not say what is wrong:\n%s", g.LogTail(20))
	}
	remount(t, dir, 0)
	g.Start()
	if again := g.MustPost(newEvent(1, 300).body); again.Status != "duplicate" || again.WebhookID != first.WebhookID {
		t.Fatalf("after it the event is answered with %+v, want a duplicate of %s", again, first.WebhookID)
	}
	g.Terminate()
	happened()
}

func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, "")
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			t.Fatalf("remounting: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestFewDescriptors: without file descriptors nothing is lost, and it recovers.
func TestFewDescriptors(t *testing.T) {
	r := newRun(t, random(t), gateway.Options{})
	r.begin()
	r.await(100)
	old := r.limitDescriptors()
	// Large bodies have files of their own, which cannot be made now.
	big := startLoad(r.g, r.ledger, &r.next, 2, []int{2_000_000})
	gateway.Eventually(t, time.Minute, "something fails for want of descriptors", func() bool {
		return big.refused.Load()+big.broken.Load()+r.load.refused.Load()+r.load.broken.Load() > 5
	})
	if err := unix.Prlimit(r.g.PID(), unix.RLIMIT_NOFILE, &old, nil); err != nil {
		t.Fatal(err)
	}
	if !r.g.Running() {
		t.Fatalf("for want of descriptors the gateway died:\n%s", r.g.LogTail(20))
	}
	from := big.acknowledged.Load()
	gateway.Eventually(t, time.Minute, "large events are taken again", func() bool {
		if !r.g.Running() {
			t.Fatalf("after descriptors came back the gateway died:\n%s", r.g.LogTail(20))
		}
		return big.acknowledged.Load() > from+3
	})
	if err := big.stop(); err != nil {
		t.Fatal(err)
	}
	total.acknowledged.Add(big.acknowledged.Load())
	r.await(50)
	t.Logf("%d refusals, %d connections broken", big.refused.Load()+r.load.refused.Load(), big.broken.Load()+r.load.broken.Load())
	r.end("too few descriptors")
}

// limitDescriptors lets the process have as many as it has now, and returns what
// it may have had.
func (r *run) limitDescriptors() (old unix.Rlimit) {
	r.t.Helper()
	if err := unix.Prlimit(r.g.PID(), unix.RLIMIT_NOFILE, nil, &old); err != nil {
		r.t.Fatal(err)
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.g.PID()))
	if err != nil {
		r.t.Fatal(err)
	}
	few := unix.Rlimit{Cur: uint64(len(open)), Max: old.Max}
	if err := unix.Prlimit(r.g.PID(), unix.RLIMIT_NOFILE, &few, nil); err != nil {
		r.t.Fatal(err)
	}
	return old
}

// fewDescriptors takes them away for moments in which bodies get files and
// segments are sealed: what one step of that could not open, the next one can.
func (r *run) fewDescriptors() {
	big := startLoad(r.g, r.ledger, &r.next, 2, []int{2_000_000})
	for range 1 + r.rng.IntN(20) {
		old := r.limitDescriptors()
		time.Sleep(time.Duration(r.rng.IntN(50)) * time.Millisecond) // the lack is the fault
		if err := unix.Prlimit(r.g.PID(), unix.RLIMIT_NOFILE, &old, nil); err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(time.Duration(r.rng.IntN(50)) * time.Millisecond)
	}
	if err := big.stop(); err != nil {
		r.t.Fatal(err)
	}
	total.acknowledged.Add(big.acknowledged.Load())
	if !r.g.Running() {
		r.t.Fatalf("for want of descriptors the gateway died:\n%s", r.g.LogTail(20))
	}
}
