//go:build !unix

package layout

// Lock does nothing: bbolt's lock on the documents excludes other processes.
func Lock(string) (unlock func(), err error) { return func() {}, nil }
