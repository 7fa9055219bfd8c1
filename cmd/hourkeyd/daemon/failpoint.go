//go:build !failpoint

package daemon

// failpoint is nothing in every binary but that of the crash tests.
func failpoint() func(name string) { return nil }
