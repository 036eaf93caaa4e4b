package storagetest

import (
	"context"
	"testing"

	"github.com/osa-edge/osa-gateway/storage"
)

var followTests = map[string]func(*testing.T, Opener){
	"Follow":          testFollow,
	"FollowWaits":     testFollowWaits,
	"FollowIsStopped": testFollowIsStopped,
}

func testFollow(t *testing.T, open Opener) {
	f := start(t, open)
	events := f.events(10, nil)
	f.commit(events...)
	last := events[9].Seq
	for range 2 {
		for _, after := range []uint64{0, 1, last - 1} {
			head, err := f.s.Follow(t.Context(), after)
			if f.must(err); head != last {
				t.Fatalf("after %d the head is %d, want %d", after, head, last)
			}
		}
		f.reopen()
	}
}

func testFollowWaits(t *testing.T, open Opener) {
	f := start(t, open)
	seen := make(chan uint64)
	failed := make(chan error, 1)
	go func() {
		defer close(seen)
		for after := uint64(0); ; {
			head, err := f.s.Follow(t.Context(), after)
			if err != nil {
				failed <- err
				return
			}
			after = head
			seen <- head
		}
	}()
	for range 20 {
		batch := f.events(3, nil)
		f.commit(batch...)
		f.commitDuplicates(batch[:1]) // which are nothing to wake for
		if head := <-seen; head != batch[2].Seq {
			t.Fatalf("the head is %d, want %d", head, batch[2].Seq)
		}
	}
	f.must(f.s.Close())
	f.wantErr(<-failed, storage.ErrClosed)
	f.s = f.opened()
}

func testFollowIsStopped(t *testing.T, open Opener) {
	f := start(t, open)
	f.commit(f.events(1, nil)...)
	last := f.bounds().Last
	for _, after := range []uint64{last, last + 1, last + 1000} {
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error)
		go func() {
			_, err := f.s.Follow(ctx, after)
			stopped <- err
		}()
		cancel()
		f.wantErr(<-stopped, context.Canceled)
	}
}
