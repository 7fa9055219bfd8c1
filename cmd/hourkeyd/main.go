// Command hourkeyd is the broker: it reads the configuration, opens the store, issues credentials to
// agents over HTTP, and is administered over a socket in its data folder (docs/ in the repository).
//
// It owns: the command line, the wiring of all packages, and the files that init and install write.
//
// It does not know: how anything is decided, issued, stored or shown; each package does its own.
package main

import (
	"context"
	"os"
	"time"

	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
)

func main() { os.Exit(run()) }

func run() int {
	m := &Main{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Now: time.Now, Lookup: os.LookupEnv, Guard: config.NewGuard(),
	}
	return m.Run(context.Background())
}
