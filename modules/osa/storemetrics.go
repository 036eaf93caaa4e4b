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
type storeUsage struct{ disk, free, needed *prometheus.Desc }

var usage = storeUsage{
	disk:   usageDesc("disk_bytes", "What the store's files take."),
	free:   usageDesc("free_bytes", "What is free on the store's file system."),
	needed: usageDesc("needed_bytes", "What must be free for events to be accepted: the reserve, and room for a compaction."),
}

func usageDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("osa", "store", name), help, []string{"store"}, nil)
}

// Describe implements prometheus.Collector.
func (u storeUsage) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{u.disk, u.free, u.needed} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (u storeUsage) Collect(ch chan<- prometheus.Metric) {
	for _, rt := range openRuntimes() {
		u.collect(ch, rt)
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
