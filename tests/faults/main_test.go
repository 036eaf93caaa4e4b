// Package faults breaks the real gateway in every way that can be arranged on
// one machine and compares what it acknowledged with what it kept.
//
// OSA_FAULTS is how many faults are made in all, a fifth of them at failpoints,
// the rest mixed; without it a short form runs. OSA_FAULTS_SEED repeats the
// choice of faults.
package faults

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// total is what the summary line says of all tests.
var total struct{ faults, acknowledged, lost, doubled, disorder atomic.Int64 }

func TestMain(m *testing.M) {
	flag.Parse()
	code := gateway.Main(m)
	fmt.Printf("faults %d, acknowledged %d, lost %d, doubled %d, out of order %d\n",
		total.faults.Load(), total.acknowledged.Load(), total.lost.Load(), total.doubled.Load(), total.disorder.Load())
	if os.Getenv("OSA_FAULTS") != "" {
		fmt.Printf("%v; where the time went: %s\n", time.Since(begun).Round(time.Second), phaseSummary())
	}
	os.Exit(code)
}

// faultCount is how many faults are asked for.
func faultCount(t *testing.T, short int) int {
	t.Helper()
	raw := os.Getenv("OSA_FAULTS")
	if raw == "" {
		return short
	}
	n, err := strconv.Atoi(raw)
	if err != nil || n < 1 {
		t.Fatalf("OSA_FAULTS is %q; want a number", raw)
	}
	return n
}

// random is the run's source of chance, which a failure names.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if raw := os.Getenv("OSA_FAULTS_SEED"); raw != "" {
		n, err := strconv.ParseUint(raw, 10, 64)
		if err != nil {
			t.Fatalf("OSA_FAULTS_SEED is %q; want a number", raw)
		}
		seed = n
	}
	t.Logf("OSA_FAULTS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// judge checks, counts and reports, and returns the log.
func judge(t *testing.T, g *gateway.Gateway, l *ledger, what string) []gateway.Record {
	t.Helper()
	v, log := check(g, l)
	v.settle(t, what)
	return log
}

// settle counts what was found, and fails if that is anything.
func (v *verdict) settle(t *testing.T, what string) {
	t.Helper()
	total.lost.Add(int64(v.lost))
	total.doubled.Add(int64(v.doubled))
	total.disorder.Add(int64(v.disorder))
	if !v.ok() {
		t.Fatalf("after %s: %v", what, v)
	}
}

// begun is when the tests began.
var begun = time.Now()

// happened counts a fault that was checked. The long form says now and then how
// far it is.
func happened() {
	n := total.faults.Add(1)
	if os.Getenv("OSA_FAULTS") != "" && n%10 == 0 {
		fmt.Fprintf(os.Stderr, "%d faults after %v: acknowledged %d, lost %d, doubled %d, out of order %d\n", n,
			time.Since(begun).Round(time.Second), total.acknowledged.Load(), total.lost.Load(), total.doubled.Load(), total.disorder.Load())
	}
}
