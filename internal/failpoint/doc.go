// Package failpoint lets tests kill the process at a named step of a commit. It
// needs the build tag failpoints. Without it Hit is an empty function that the
// compiler removes.
package failpoint
