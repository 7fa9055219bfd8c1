// Command hourkey is the agent's side of Hourkey: it asks a broker for credentials by task and
// environment, waits for humans, and runs a command with what was granted.
//
// It owns: the agent's key on this machine, the words on the terminal, exit codes, and the life of
// exec's child. It does not know policies, providers or the broker's insides: it imports web/api alone.
// It trusts the broker that it was enrolled with, over TLS or on loopback, and nobody else.
//
// Credentials leave it by two ways: the environment of exec's child, and the stdout of `credential`
// (invariant 10).
package main

import "os"

func main() { os.Exit(run(os.Args[1:], system())) }
