package sealed

import (
	"testing"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage/index"
)

func BenchmarkScan(b *testing.B) {
	f, events := bench()
	s := openFile(b, f)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if err := s.Scan(0, len(events), func(*event.Event) bool { return true }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(events))*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkBuildIndex(b *testing.B) {
	f, events := bench()
	s := openFile(b, f)
	for b.Loop() {
		if _, err := BuildIndex(b.Context(), s, 1); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(events))*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkWrite(b *testing.B) {
	_, events := bench()
	var size, idx int64
	for b.Loop() {
		f := new(memFile)
		info, err := Write(f, Header{Base: 1, Salt: 3, Seed: 4}, records(events))
		if err != nil {
			b.Fatal(err)
		}
		size = info.Size
	}
	b.StopTimer()
	b.ReportMetric(float64(len(events))*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	m := index.NewMemTable()
	for i, e := range events {
		m.AddEvent(1, e, uint16(i))
	}
	f := new(memFile)
	if err := index.WriteFile(f, m, index.FileHeader{}); err != nil {
		b.Fatal(err)
	}
	idx = int64(len(f.b))
	raw := 0
	for _, e := range events {
		raw += len(e.Body)
	}
	b.ReportMetric(float64(raw)/float64(len(events)), "body-B/event")
	b.ReportMetric(float64(size)/float64(len(events)), "seg-B/event")
	b.ReportMetric(float64(idx)/float64(len(events)), "idx-B/event")
}

func BenchmarkGet(b *testing.B) {
	f, events := bench()
	s := openFile(b, f)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := s.Get(i * 7919 % len(events)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKey(b *testing.B) {
	f, events := bench()
	s := openFile(b, f)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok, err := s.Keys().Get(index.Seed(4).Key(events[i*7919%len(events)])); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkHashes(b *testing.B) {
	f, events := bench()
	s := openFile(b, f)
	for b.Loop() {
		if err := s.Keys().Hashes(func(uint64) bool { return true }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(events))*float64(b.N)/b.Elapsed().Seconds(), "hashes/s")
}
