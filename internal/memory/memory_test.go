package memory_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/internal/memory"
)

const (
	mib = 1 << 20
	gib = 1 << 30

	none1 = "9223372036854771712\n"

	mount1 = "34 30 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
	mount2 = "40 30 0:37 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
	hybrid = "28 25 0:23 / / rw - ext4 /dev/vda rw\n" +
		"33 30 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n" + mount1 +
		"40 30 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)

// system is one with 8 GiB and these files, each `name: content`.
func system(env string, files map[string]string) memory.System {
	root := fstest.MapFS{}
	for name, content := range files {
		root[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return memory.System{
		Root:     root,
		Getenv:   func(name string) string { return map[string]string{"GOMEMLIMIT": env}[name] },
		Physical: func() (uint64, error) { return 8 * gib, nil },
	}
}

func TestLimit(t *testing.T) {
	const (
		self   = "proc/self/cgroup"
		mounts = "proc/self/mountinfo"
		v1     = "sys/fs/cgroup/memory"
		v2     = "sys/fs/cgroup"
	)
	for _, tt := range []struct {
		name   string
		env    string
		files  map[string]string
		want   int64
		source string
	}{
		{"nothing there", "", nil, 8 * gib, memory.SourcePhysical},
		{"no cgroup", "", map[string]string{self: "", mounts: "28 25 0:23 / / rw - ext4 /dev/vda rw\n"}, 8 * gib, memory.SourcePhysical},
		{"garbage", "lots", map[string]string{self: "x\n0:\n\n::", mounts: "x - y\n - \n\n"}, 8 * gib, memory.SourcePhysical},

		{"v1", "", map[string]string{self: "4:memory:/a\n0::/\n", mounts: mount1, v1 + "/a/memory.limit_in_bytes": "268435456\n"}, 256 * mib, memory.SourceCgroup1},
		{"v1 joined controllers", "", map[string]string{self: "4:cpu,memory:/a\n", mounts: strings.Replace(mount1, "rw,memory", "rw,cpu,memory", 1), v1 + "/a/memory.limit_in_bytes": "268435456\n"}, 256 * mib, memory.SourceCgroup1},
		{"v1 unlimited", "", map[string]string{self: "4:memory:/a\n", mounts: mount1, v1 + "/a/memory.limit_in_bytes": none1, v1 + "/memory.limit_in_bytes": none1}, 8 * gib, memory.SourcePhysical},
		{"v1 more than the machine has", "", map[string]string{self: "4:memory:/a\n", mounts: mount1, v1 + "/a/memory.limit_in_bytes": "99999999999\n"}, 8 * gib, memory.SourcePhysical},
		{"v1 parent", "", map[string]string{self: "4:memory:/a/b/c\n", mounts: mount1, v1 + "/a/b/c/memory.limit_in_bytes": none1, v1 + "/a/memory.limit_in_bytes": "104857600\n"}, 100 * mib, memory.SourceCgroup1},
		{"v1 parent out of sight", "", map[string]string{self: "4:memory:/\n", mounts: mount1, v1 + "/memory.limit_in_bytes": none1, v1 + "/memory.stat": "cache 0\nhierarchical_memory_limit 104857600\ntotal_cache 0\n"}, 100 * mib, memory.SourceCgroup1},
		{"v1 of a container", "", map[string]string{self: "4:memory:/docker/x\n", mounts: strings.Replace(mount1, " / /sys", " /docker/x /sys", 1), v1 + "/memory.limit_in_bytes": "268435456\n"}, 256 * mib, memory.SourceCgroup1},
		{"v1 of a container's child", "", map[string]string{self: "4:memory:/docker/x/y\n", mounts: strings.Replace(mount1, " / /sys", " /docker/x /sys", 1), v1 + "/y/memory.limit_in_bytes": "268435456\n"}, 256 * mib, memory.SourceCgroup1},
		{"v1 outside of what is mounted", "", map[string]string{self: "4:memory:/docker/xy\n", mounts: strings.Replace(mount1, " / /sys", " /docker/x /sys", 1), v1 + "/memory.limit_in_bytes": "268435456\n"}, 256 * mib, memory.SourceCgroup1},
		{"v1 not mounted", "", map[string]string{self: "4:memory:/a\n0::/\n", mounts: mount2, v2 + "/memory.max": "268435456\n"}, 256 * mib, memory.SourceCgroup2},
		{"v1 with a blank in its path", "", map[string]string{self: "4:memory:/a b\n", mounts: strings.Replace(mount1, "cgroup/memory", `cgroup/my\040memory`, 1), "sys/fs/cgroup/my memory/a b/memory.limit_in_bytes": "268435456\n"}, 256 * mib, memory.SourceCgroup1},

		{"v2", "", map[string]string{self: "0::/a\n", mounts: mount2, v2 + "/a/memory.max": "268435456\n"}, 256 * mib, memory.SourceCgroup2},
		{"v2 max", "", map[string]string{self: "0::/a\n", mounts: mount2, v2 + "/a/memory.max": "max\n"}, 8 * gib, memory.SourcePhysical},
		{"v2 parent", "", map[string]string{self: "0::/a/b/c\n", mounts: mount2, v2 + "/a/b/c/memory.max": "max\n", v2 + "/a/b/memory.max": "268435456\n", v2 + "/a/memory.max": "104857600\n"}, 100 * mib, memory.SourceCgroup2},
		{"v2 in a namespace", "", map[string]string{self: "0::/\n", mounts: strings.Replace(mount2, " / /sys", " /../.. /sys", 1), v2 + "/memory.max": "268435456\n"}, 256 * mib, memory.SourceCgroup2},
		{"v2 outside of the namespace", "", map[string]string{self: "0::/../x\n", mounts: mount2, v2 + "/memory.max": "268435456\n"}, 256 * mib, memory.SourceCgroup2},

		{"hybrid, v1 counts", "", map[string]string{self: "4:memory:/a\n0::/\n", mounts: hybrid, v1 + "/a/memory.limit_in_bytes": "268435456\n"}, 256 * mib, memory.SourceCgroup1},
		{"hybrid, v2 counts", "", map[string]string{self: "1:cpu:/\n0::/b\n", mounts: hybrid, v2 + "/unified/b/memory.max": "268435456\n"}, 256 * mib, memory.SourceCgroup2},
		{"both", "", map[string]string{self: "4:memory:/a\n0::/b\n", mounts: hybrid, v1 + "/a/memory.limit_in_bytes": "268435456\n", v2 + "/unified/b/memory.max": "104857600\n"}, 100 * mib, memory.SourceCgroup2},
		{"mounted twice", "", map[string]string{self: "4:memory:/a\n", mounts: mount1 + strings.Replace(mount1, "/sys/fs", "/host/sys/fs", 1), "host/" + v1 + "/a/memory.limit_in_bytes": "268435456\n"}, 256 * mib, memory.SourceCgroup1},

		{"GOMEMLIMIT", "200MiB", nil, 200 * mib, memory.SourceEnv},
		{"GOMEMLIMIT in bytes", "104857600", nil, 100 * mib, memory.SourceEnv},
		{"GOMEMLIMIT with B", "104857600B", nil, 100 * mib, memory.SourceEnv},
		{"GOMEMLIMIT in KiB", "102400KiB", nil, 100 * mib, memory.SourceEnv},
		{"GOMEMLIMIT in GiB", "1GiB", nil, gib, memory.SourceEnv},
		{"GOMEMLIMIT off", "off", nil, 8 * gib, memory.SourcePhysical},
		{"GOMEMLIMIT of the runtime's largest", "9223372036854775807", nil, 8 * gib, memory.SourcePhysical},
		{"GOMEMLIMIT too large", "9999999TiB", nil, 8 * gib, memory.SourcePhysical},
		{"GOMEMLIMIT odd", "12XiB", nil, 8 * gib, memory.SourcePhysical},
		{"GOMEMLIMIT unit only", "iB", nil, 8 * gib, memory.SourcePhysical},
		{"GOMEMLIMIT below the cgroup", "100MiB", map[string]string{self: "0::/a\n", mounts: mount2, v2 + "/a/memory.max": "268435456\n"}, 100 * mib, memory.SourceEnv},
		{"GOMEMLIMIT above the cgroup", "300MiB", map[string]string{self: "0::/a\n", mounts: mount2, v2 + "/a/memory.max": "268435456\n"}, 256 * mib, memory.SourceCgroup2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := system(tt.env, tt.files).Limit()
			if got.Bytes != tt.want || got.Source != tt.source {
				t.Errorf("got %d by %s, want %d by %s", got.Bytes, got.Source, tt.want, tt.source)
			}
		})
	}
}

func TestNothingIsKnown(t *testing.T) {
	s := system("", nil)
	s.Physical = func() (uint64, error) { return 0, errors.New("no idea") }
	if got := s.Limit(); got.Bytes != gib || got.Source != memory.SourceAssumed {
		t.Errorf("%+v", got)
	}
}

// TestThisSystem: whatever this machine is, it has a limit that is one.
func TestThisSystem(t *testing.T) {
	if got := memory.ThisSystem().Limit(); got.Bytes < 16*mib || got.Bytes > 1<<50 || got.Source == memory.SourceAssumed {
		t.Errorf("%+v", got)
	}
	if memory.Process() != memory.BudgetFor(memory.ThisSystem().Limit()) {
		t.Error("the process has another budget")
	}
}

func TestShares(t *testing.T) {
	for limit, want := range map[int64]memory.Budget{
		256 * mib: {Bodies: 48 * mib, Responses: 16 * mib, Streams: 16 * mib, Filter: 16 * mib, Tables: 32 * mib},
		24 * gib:  {Bodies: 256 * mib, Responses: 64 * mib, Streams: 16 * mib, Filter: 128 * mib, Tables: 256 * mib},
	} {
		want.Limit.Bytes = limit
		if got := memory.BudgetFor(want.Limit); got != want {
			t.Errorf("%d MiB: %+v", limit/mib, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(96*mib, 1<<44).Draw(t, "limit")
		b := memory.BudgetFor(memory.Limit{Bytes: limit})
		if sum := b.Bodies + b.Responses + b.Streams + b.Filter + b.Tables; sum > (limit-64*mib)*2/3 {
			t.Fatalf("shares take %d MiB of %d", sum/mib, limit/mib)
		}
		more := memory.BudgetFor(memory.Limit{Bytes: limit + mib})
		if more.Bodies < b.Bodies || more.Responses < b.Responses || more.Filter < b.Filter || more.Tables < b.Tables {
			t.Fatal("more memory, smaller shares")
		}
	})
	for _, limit := range []int64{1, 16 * mib, math.MaxInt64} {
		if b := memory.BudgetFor(memory.Limit{Bytes: limit}); b.Bodies <= 0 || b.Responses <= 0 || b.Streams <= 0 || b.Filter <= 0 || b.Tables <= 0 {
			t.Errorf("limit %d: %+v", limit, b)
		}
	}
	if fields := memory.BudgetFor(memory.Limit{Bytes: gib, Source: memory.SourceEnv}).Fields(); len(fields) != 7 {
		t.Errorf("%d fields", len(fields))
	}
}

func TestRoom(t *testing.T) {
	r := memory.NewQuota(100)
	if !r.Acquire("a", 1000) || r.Acquire("a", 1) || r.Acquire("b", 1) || r.Held() != 1000 {
		t.Error("the first takes whatever it needs, the second not")
	}
	r.Release("a", 1000)
	if !r.Acquire("a", 60) || r.Acquire("a", 30) || !r.Acquire("a", 27) || r.Acquire("a", 1) {
		t.Errorf("one owner has %d", r.Held())
	}
	if !r.Acquire("b", 10) || r.Acquire("b", 2) || !r.Acquire("c", 2) {
		t.Errorf("%d held: others find no room", r.Held())
	}
	r.Release("a", 87)
	r.Release("b", 10)
	r.Release("c", 2)
	if r.Held() != 0 {
		t.Errorf("%d held", r.Held())
	}
}

// What is too large to share the room leaves it to others.
func TestRoomLarge(t *testing.T) {
	r := memory.NewQuota(100)
	release, ok := r.AcquireLarge("a", 1000)
	if _, again := r.AcquireLarge("b", 51); !ok || again || !r.Acquire("b", 80) {
		t.Error("one at a time is beside the room")
	}
	release()
	r.Release("b", 80)
	if release, ok = r.AcquireLarge("a", 50); !ok || r.Held() != 50 {
		t.Error("half of the room")
	}
	if release(); r.Held() != 0 {
		t.Errorf("%d held", r.Held())
	}
}

// Whatever owners do, what is held is what they have not given back, and nobody but
// the first goes beyond the room.
func TestRoomModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := memory.NewQuota(1000)
		has := map[string]int64{}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			owner := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "owner")
			n := rapid.Int64Range(1, 600).Draw(t, "n")
			if rapid.Bool().Draw(t, "take") {
				first := r.Held() == 0
				if r.Acquire(owner, n) {
					has[owner] += n
				} else if first {
					t.Fatal("the first was refused")
				}
			} else if n = min(n, has[owner]); n > 0 {
				r.Release(owner, n)
				has[owner] -= n
			}
			if sum := has["a"] + has["b"] + has["c"]; sum != r.Held() || sum > 1000 {
				t.Fatalf("%d held, want %d", r.Held(), sum)
			}
		}
	})
}
