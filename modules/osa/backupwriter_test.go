package osa

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/internal/fair"
)

// backupClient hears whether a turn is held while it is written to.
type backupClient struct {
	*httptest.ResponseRecorder
	bulk      *fair.Limiter
	t         *testing.T
	deadlines []time.Time
}

func (c *backupClient) Write(p []byte) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	release, err := c.bulk.Acquire(ctx, "other")
	if err != nil {
		c.t.Errorf("the backup's turn goes on while it is sent: %v", err)
		return 0, err
	}
	release()
	return c.ResponseRecorder.Write(p)
}

func (c *backupClient) SetWriteDeadline(t time.Time) error {
	c.deadlines = append(c.deadlines, t)
	return nil
}

func TestBackupWriter(t *testing.T) {
	bulk := fair.NewLimiter(1)
	client := &backupClient{ResponseRecorder: httptest.NewRecorder(), bulk: bulk, t: t}
	w, err := newBackupWriter(t.Context(), client, bulk)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for i, size := range []int{1, 100, 5 << 20, 1 << 20, 0, 3, 700 << 10, 700 << 10} {
		part := bytes.Repeat([]byte{byte('a' + i)}, size)
		want = append(want, part...)
		if n, err := w.Write(part); n != size || err != nil {
			t.Fatal(n, err)
		}
		// The store goes on in a turn.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := bulk.Acquire(ctx, "other"); err == nil || w.release == nil {
			t.Error("the store works without a turn")
		}
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	w.close()
	if !bytes.Equal(client.Body.Bytes(), want) {
		t.Errorf("%d bytes, want %d", client.Body.Len(), len(want))
	}
	if n := len(client.deadlines); n == 0 || !client.deadlines[n-1].IsZero() {
		t.Error("the deadline was not lifted")
	}
	if Answers().Held() != 0 {
		t.Errorf("%d bytes held", Answers().Held())
	}
	release, err := bulk.Acquire(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func TestBackupWriterRefuses(t *testing.T) {
	bulk := fair.NewLimiter(1)
	client := &backupClient{ResponseRecorder: httptest.NewRecorder(), bulk: bulk, t: t}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newBackupWriter(ctx, client, bulk); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	Answers().Acquire("", 1<<50)
	if _, err := newBackupWriter(t.Context(), client, bulk); !errors.Is(err, errAnswers) {
		t.Error(err)
	}
	Answers().Release("", 1<<50)
	if Answers().Held() != 0 {
		t.Errorf("%d bytes held", Answers().Held())
	}
}
