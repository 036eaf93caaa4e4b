//go:build !linux

package load

import (
	"context"
	"errors"
)

// Run needs epoll.
func Run(context.Context, Options) (*Result, error) {
	return nil, errors.New("load: the generator needs Linux")
}
