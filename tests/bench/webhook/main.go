// Command webhook compares the durable webhook with plain Caddy: the same
// binary, the same bodies, the same machine, in turns.
//
//	go run ./tests/bench/webhook
//	go run ./tests/bench/webhook -overload
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

type bench struct {
	binary, dir, profiles      string
	rounds, requests, procs    int
	profileSeconds             int
	connections, overConns     int
	bodySize                   int
	serverCPUs, generatorCPUs  string
	withOverload, asJSON, keep bool
	overloadSeconds            float64

	others otherBuilds

	secret string
	seed   uint64
}

// otherBuilds are binaries of other versions of the gateway by name.
type otherBuilds []struct{ name, binary string }

func (o *otherBuilds) String() string { return "" }

func (o *otherBuilds) Set(s string) error {
	name, binary, ok := strings.Cut(s, "=")
	if !ok {
		return errors.New("want name=path of a binary")
	}
	binary, err := filepath.Abs(binary)
	*o = append(*o, struct{ name, binary string }{name, binary})
	return err
}

func main() {
	b := &bench{secret: newSecret(), seed: uint64(time.Now().Unix()) & 0xffffff}
	flag.StringVar(&b.binary, "binary", "", "the gateway's binary; built if it is not given")
	flag.StringVar(&b.dir, "dir", "", "directory for the store; a new one in the current directory's file system if it is not given")
	flag.IntVar(&b.rounds, "rounds", 5, "rounds; in each the servers take turns")
	flag.IntVar(&b.requests, "requests", 60_000, "requests a round and server")
	flag.IntVar(&b.connections, "connections", 64, "connections")
	flag.IntVar(&b.bodySize, "body", 1024, "bytes of a body")
	flag.IntVar(&b.procs, "procs", 0, "GOMAXPROCS of the servers; 0 leaves it to Go")
	flag.StringVar(&b.serverCPUs, "server-cpus", "", "pin the servers, as taskset -c takes it")
	flag.StringVar(&b.generatorCPUs, "generator-cpus", "", "pin the generator")
	flag.BoolVar(&b.withOverload, "overload", false, "afterwards send twice what the gateway can take")
	flag.IntVar(&b.overConns, "overload-connections", 6000, "connections of the overload: more than its queue holds")
	flag.Float64Var(&b.overloadSeconds, "overload-seconds", 10, "how long the overload lasts")
	flag.StringVar(&b.profiles, "profiles", "", "directory for CPU and allocation profiles of the servers")
	flag.IntVar(&b.profileSeconds, "profile-seconds", 5, "how long a CPU profile is taken; rounds should last longer")
	flag.Var(&b.others, "other", "compare with another build of the gateway as well, `name=binary`; may be repeated")
	flag.BoolVar(&b.asJSON, "json", false, "print JSON")
	flag.BoolVar(&b.keep, "keep", false, "keep the directory")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "webhook bench:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to clean up
	}
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.dir == "" {
		// Not in /tmp, which may be memory: nothing would be synced.
		if b.dir, err = os.MkdirTemp(".", ".bench-"); err != nil {
			return err
		}
		if !b.keep {
			defer os.RemoveAll(b.dir)
		}
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	if b.generatorCPUs != "" {
		if err := pin(b.generatorCPUs); err != nil {
			return err
		}
	}
	report := &report{Machine: machine(), Connections: b.connections, Requests: b.requests, BodySize: b.bodySize}
	if err := b.compare(ctx, report); err != nil {
		return err
	}
	if b.withOverload {
		if err := b.overload(ctx, report); err != nil {
			return err
		}
	}
	if b.asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(report)
	}
	report.print(os.Stdout)
	return nil
}

func (b *bench) build(ctx context.Context) (err error) {
	if b.binary == "" {
		b.binary = filepath.Join(b.dir, "osa-gateway")
		cmd := exec.CommandContext(ctx, "go", "build", "-o", b.binary, "github.com/osa-edge/osa-gateway/cmd/osa-gateway")
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("building the gateway: %w", err)
		}
	}
	b.binary, err = filepath.Abs(b.binary)
	return err
}

func (b *bench) serverEnv() []string {
	if b.procs == 0 {
		return nil
	}
	return []string{"GOMAXPROCS=" + strconv.Itoa(b.procs)}
}

// pin pins this process to a list of CPUs such as 1 or 2,3.
func pin(list string) error {
	cmd := exec.Command("taskset", "-acp", list, strconv.Itoa(os.Getpid()))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pinning the generator: %w: %s", err, out)
	}
	return nil
}

func machine() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	var set unix.CPUSet
	_ = unix.SchedGetaffinity(0, &set)
	return fmt.Sprintf("%d CPUs, %s %s %s", set.Count(), unix.ByteSliceToString(u.Sysname[:]),
		unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:]))
}

var errAnswers = errors.New("not every request was answered as it should be")
