//go:build linux

package hostile

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticks is how many of the kernel's clock ticks a second has: USER_HZ, which is
// 100 on every architecture that Go runs on.
const ticks = 100

// spent is the time that processors have worked, in seconds.
type spent struct {
	at                        time.Time
	gateway, attackers, total float64
}

// cores are how many processors each kept busy in a phase. Others are whatever
// else runs on the machine: of latencies that come with many of them, little can
// be said.
type cores struct{ gateway, attackers, others float64 }

func (w *watch) spent() (s spent, err error) {
	s.at = time.Now()
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return s, err
	}
	s.attackers = time.Duration(own.Utime.Nano() + own.Stime.Nano()).Seconds()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.PID()))
	if err != nil {
		return s, err
	}
	// Behind the name, which may hold anything: utime and stime are the 12th and 13th.
	f := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	for _, n := range f[11:13] {
		s.gateway += number(n) / ticks
	}
	raw, err = os.ReadFile("/proc/stat")
	if err != nil {
		return s, err
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	for i, n := range strings.Fields(line)[1:] {
		if i != 3 && i != 4 && i < 8 { // all but idle, waiting for disks, and guests, which are users', too
			s.total += number(n) / ticks
		}
	}
	return s, nil
}

func number(text string) float64 {
	n, _ := strconv.ParseFloat(text, 64)
	return n
}

// since is what was kept busy between two moments.
func (s spent) since(o spent) cores {
	d := s.at.Sub(o.at).Seconds()
	c := cores{gateway: (s.gateway - o.gateway) / d, attackers: (s.attackers - o.attackers) / d}
	c.others = max(0, (s.total-o.total)/d-c.gateway-c.attackers)
	return c
}
