package faults

import (
	"os"
	"path/filepath"
)

// What a store derives from its log, and may lose at any moment.
var derivedFiles = []string{"log/*.idx", "projections.db"}

// derived are some of them, at least one where there are any.
func (r *run) derived() []string {
	r.t.Helper()
	var all []string
	for _, pattern := range derivedFiles {
		names, err := filepath.Glob(filepath.Join(r.g.Data, pattern))
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, names...)
	}
	if len(all) == 0 {
		r.t.Fatalf("the store in %s has nothing that is derived from its log", r.g.Data)
	}
	r.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+r.rng.IntN(len(all))]
}

// endAnyhow ends the gateway in order or not.
func (r *run) endAnyhow() {
	r.t.Helper()
	if r.rng.IntN(2) == 0 {
		r.g.Terminate()
	} else {
		r.g.Kill9()
	}
}

// deleteDerived: lists and states are made again, and meanwhile nobody is told
// that something is not there.
func (r *run) deleteDerived() {
	r.endAnyhow()
	for _, name := range r.derived() {
		if err := os.Remove(name); err != nil {
			r.t.Fatal(err)
		}
	}
	r.restart()
}

// damageDerived: so are they where files hold something else.
func (r *run) damageDerived() {
	r.endAnyhow()
	for _, name := range r.derived() {
		r.damage(name)
	}
	r.restart()
}

// damage writes garbage into a file, or cuts it off.
func (r *run) damage(name string) {
	r.t.Helper()
	size := fileSize(name)
	if size <= 0 || r.rng.IntN(4) == 0 {
		if err := os.Truncate(name, r.rng.Int64N(max(1, size))); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	for range 1 + r.rng.IntN(20) {
		n := min(size, 1+r.rng.Int64N(4096))
		write(r.t, f, garbage(r.rng, int(n)), r.rng.Int64N(size-n+1))
	}
}

// deleteRunning takes the files' names away while they are open; the next start
// misses them.
func (r *run) deleteRunning() {
	for _, name := range r.derived() {
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			r.t.Fatal(err)
		}
	}
	r.await(30)
	r.endAnyhow()
	r.restart()
}
