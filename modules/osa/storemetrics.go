package osa

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// usageTimeout bounds what a scrape waits for one store.
const usageTimeout = 5 * time.Second

// storeUsage tells what open stores take of their disks and leave, when asked. A
// store that does not answer is left out: a figure would not be one.
type storeUsage struct{ disk, free, needed, damaged, done, total *prometheus.Desc }

var usage = storeUsage{
	disk:   usageDesc("disk_bytes", "What the store's files take."),
	free:   usageDesc("free_bytes", "What is free on the store's file system."),
	needed: usageDesc("needed_bytes", "What must be free for events to be accepted."),

	damaged: usageDesc("damaged_events", "Sequence numbers of events that cannot be read."),
	done:    usageDesc("rebuild_done_events", "How far what is being made anew has come.", "part"),
	total:   usageDesc("rebuild_total_events", "How far what is being made anew has to come.", "part"),
}

func usageDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("osa", "store", name), help, append([]string{"store"}, labels...), nil)
}

// Describe implements prometheus.Collector.
func (u storeUsage) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{u.disk, u.free, u.needed, u.damaged, u.done, u.total} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (u storeUsage) Collect(ch chan<- prometheus.Metric) {
	for _, rt := range openRuntimes() {
		u.collect(ch, rt)
		u.collectHealth(ch, rt)
	}
}

func (u storeUsage) collectHealth(ch chan<- prometheus.Metric, rt *Runtime) {
	h := rt.Log.Health()
	damaged := uint64(0)
	for _, r := range h.Damaged {
		damaged += r.Last - r.First + 1
	}
	gauge := func(desc *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), append([]string{rt.key}, labels...)...)
	}
	gauge(u.damaged, damaged)
	told := make(map[string]bool)
	for _, p := range h.Rebuilding {
		if !told[p.Part] { // a series must not come twice
			told[p.Part] = true
			gauge(u.done, p.Done, p.Part)
			gauge(u.total, p.Total, p.Part)
		}
	}
}

func (u storeUsage) collect(ch chan<- prometheus.Metric, rt *Runtime) {
	store, err := rt.Log.Store()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), usageTimeout)
	defer cancel()
	got, err := store.Usage(ctx)
	if err != nil {
		return
	}
	for desc, bytes := range map[*prometheus.Desc]int64{u.disk: got.DiskBytes, u.free: got.FreeBytes, u.needed: got.ReserveBytes} {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(bytes), rt.key)
	}
}
