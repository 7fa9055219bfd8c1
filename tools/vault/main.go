// Command vault is a Vault server for the tests of issuers/vault: one node on loopback, storage in
// memory, initialised and unsealed, with the secret engines and login methods that the issuer is made for. It is a
// real server with real policies, leases and tokens: nothing of Vault is replaced. It is no server to run anything on: it
// prints its root token, and forgets everything at its end.
//
// It prints one line of JSON on stdout, {"address": "http://127.0.0.1:…", "root": "…"}, when it can be
// used, and ends when its stdin ends: so it never outlives the test that started it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vault:", err)
		os.Exit(1)
	}
}

// run serves until in ends.
func run(in io.Reader, out io.Writer) error {
	core, root, err := start()
	if err != nil {
		return err
	}
	defer func() { _ = core.Shutdown() }()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}}), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if err := json.NewEncoder(out).Encode(map[string]string{"address": "http://" + listener.Addr().String(), "root": root}); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = server.Close()
	}()
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// start makes a core, initialises it with one unseal key and unseals it.
func start() (core *vault.Core, root string, err error) {
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return nil, "", err
	}
	core, err = vault.NewCore(&vault.CoreConfig{
		Physical: storage, BuiltinRegistry: plugins(), Logger: logger, DisableMlock: true,
		ClusterName: "hourkey-test", DefaultLeaseTTL: time.Hour, MaxLeaseTTL: 24 * time.Hour,
	})
	if err != nil {
		return nil, "", err
	}
	shares := &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}
	made, err := core.Initialize(context.Background(), &vault.InitParams{BarrierConfig: shares, RecoveryConfig: shares})
	if err != nil {
		return nil, "", err
	}
	unsealed, err := core.Unseal(made.SecretShares[0])
	if err != nil || !unsealed {
		return nil, "", fmt.Errorf("unsealing: %t, %w", unsealed, err)
	}
	return core, made.RootToken, nil
}
