package roundrobin

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/server"
)

// Setup is what every comparison needs: a binary, a directory, options.
type Setup struct {
	Options
	// Binary is the gateway's, Dir where servers run and write.
	Binary, Dir string
	// Seed differs between runs, so that no run repeats the events of another.
	Seed uint64

	procs                     int
	serverCPUs, generatorCPUs string
	keep                      bool
}

// NewSetup registers the flags.
func NewSetup(f *flag.FlagSet) *Setup {
	s := &Setup{Seed: uint64(time.Now().Unix()) & 0xffffff} //nolint:gosec // no overflow before 2106
	s.Progress = os.Stderr
	f.StringVar(&s.Binary, "binary", "", "the gateway's binary; built if it is not given")
	f.StringVar(&s.Dir, "dir", "", "directory for what the servers write; a new one in the current directory if it is not given")
	f.IntVar(&s.Rounds, "rounds", 5, "rounds; in each the servers take turns")
	f.IntVar(&s.Requests, "requests", 60_000, "requests a round and server")
	f.IntVar(&s.Connections, "connections", 64, "connections")
	f.IntVar(&s.procs, "procs", 0, "GOMAXPROCS of the servers; 0 leaves it to Go")
	f.StringVar(&s.serverCPUs, "server-cpus", "", "pin the servers, as taskset -c takes it")
	f.StringVar(&s.generatorCPUs, "generator-cpus", "", "pin the generator")
	f.StringVar(&s.Profiles, "profiles", "", "directory for CPU and allocation profiles of the servers")
	f.IntVar(&s.ProfileSeconds, "profile-seconds", 5, "how long a CPU profile is taken; rounds should last longer")
	f.BoolVar(&s.keep, "keep", false, "keep the directory")
	return s
}

// Prepare makes the directory and the binary. done removes what is not kept.
func (s *Setup) Prepare(ctx context.Context) (done func(), err error) {
	done = func() {}
	if s.Dir == "" {
		// Not in /tmp, which may be memory: nothing would be synced.
		if s.Dir, err = os.MkdirTemp(".", ".bench-"); err != nil {
			return done, err
		}
		if !s.keep {
			done = func() { _ = os.RemoveAll(s.Dir) }
		}
	}
	if s.Dir, err = filepath.Abs(s.Dir); err != nil {
		return done, err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return done, err
	}
	if s.Binary == "" {
		s.Binary = filepath.Join(s.Dir, "osa-gateway")
		cmd := exec.CommandContext(ctx, "go", "build", "-o", s.Binary, "github.com/osa-edge/osa-gateway/cmd/osa-gateway")
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return done, fmt.Errorf("building the gateway: %w", err)
		}
	}
	if s.Binary, err = filepath.Abs(s.Binary); err != nil {
		return done, err
	}
	if s.generatorCPUs != "" {
		cmd := exec.CommandContext(ctx, "taskset", "-acp", s.generatorCPUs, strconv.Itoa(os.Getpid())) //nolint:gosec // the benchmark's own arguments
		if out, err := cmd.CombinedOutput(); err != nil {
			return done, fmt.Errorf("pinning the generator: %w: %s", err, out)
		}
	}
	return done, nil
}

// Start starts a server in a directory of its own.
func (s *Setup) Start(name, binary, caddyfile string, env ...string) (*server.Server, error) {
	if s.procs != 0 {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(s.procs))
	}
	started, err := server.Start(server.Options{
		Binary: binary, Caddyfile: caddyfile, Dir: filepath.Join(s.Dir, name), CPUs: s.serverCPUs, Env: env,
	})
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return started, nil
}

// Machine names the machine.
func Machine() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease") // where there is one
	return fmt.Sprintf("%d CPUs, %s %s%s", runtime.NumCPU(), runtime.GOARCH, runtime.GOOS, strings.TrimRight(" "+string(release), " \n"))
}
