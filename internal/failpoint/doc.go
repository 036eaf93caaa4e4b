// Package failpoint lets tests end the process at a named step of a commit. It
// is compiled in with the build tag failpoints; without it Hit is an empty
// function that the compiler removes.
package failpoint
