package gateway

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// wall is the wall clock of one process. The kernel gives every process a copy
// of the code that reads the clock (the vDSO); this process's copy is replaced,
// before its first instruction, by one that asks the kernel and adds an offset
// to CLOCK_REALTIME, and to nothing else. Neither the binary nor the machine's
// clock is changed.
type wall struct {
	mem *os.File
	at  int64 // where the offset stands in the process's memory
}

var stepped = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228 (clock_gettime)
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi (CLOCK_REALTIME)
	0x75, 0x0a, // jne to ret
	0x48, 0x8b, 0x15, 0x16, 0x00, 0x00, 0x00, // mov rdx, [rip+22]: the offset
	0x48, 0x01, 0x16, // add [rsi], rdx: seconds
	0xc3, // ret
}

// steppedOffset is where the offset stands behind the code: aligned, so that it
// changes at once.
const steppedOffset = 40

// startStepped starts the process with a wall clock of its own.
func startStepped(cmd *exec.Cmd, offset int64) (*wall, error) {
	// The thread that starts a traced process is its tracer.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("waiting for the start: %w", err)
		}
		break
	}
	if !status.Stopped() {
		return nil, fmt.Errorf("the process did not stop at its start: %v", status)
	}
	w, err := patchClock(pid, offset)
	if err != nil {
		_ = cmd.Process.Kill()
	}
	return w, errors.Join(err, syscall.PtraceDetach(pid))
}

func patchClock(pid int, offset int64) (*wall, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	var from, to int64
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
				return nil, err
			}
		}
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	w := &wall{mem: mem}
	image, err := elf.NewFile(io.NewSectionReader(mem, from, to-from))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the vDSO: %w", err), mem.Close())
	}
	symbols, err := image.DynamicSymbols()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the vDSO: %w", err), mem.Close())
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" && s.Size >= steppedOffset+8 {
			w.at = from + int64(s.Value) + steppedOffset
		}
	}
	if w.at == 0 {
		return nil, errors.Join(errors.New("the vDSO has no clock_gettime that can be replaced"), mem.Close())
	}
	_, err = mem.WriteAt(stepped, w.at-steppedOffset)
	if err == nil {
		err = w.set(offset)
	}
	return w, err
}

func (w *wall) set(offset int64) error {
	_, err := w.mem.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(offset)), w.at)
	return err
}

func (w *wall) close() { _ = w.mem.Close() }
