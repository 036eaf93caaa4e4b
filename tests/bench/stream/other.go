//go:build !linux

package main

import (
	"errors"
	"time"
)

type result struct {
	deliveries, cpu, bytes, idle, after float64
	p50, p99                            time.Duration
}

func measure(options, *peer, transport, int, string) (result, error) {
	return result{}, errors.ErrUnsupported
}

func median(rs []result) result { return rs[0] }

func measureMatch(options, string, int) (matchPart, error) { return matchPart{}, errors.ErrUnsupported }

func measureResume(options, string) (resumePart, error) { return resumePart{}, errors.ErrUnsupported }
