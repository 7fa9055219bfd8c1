package service_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hourkey/hourkey/examples/resource-server/service"
)

func TestATokenThatWasTakenBackIsRefused(t *testing.T) {
	keys := keySet(map[string]ed25519.PrivateKey{"staging-1": testKey("staging")})
	verifier, err := service.NewVerifier(issuer, audience, keys, noon)
	if err != nil {
		t.Fatal(err)
	}
	active, broken := true, error(nil)
	verifier.Ask = func(context.Context, string) (bool, error) { return active, broken }
	server := httptest.NewServer(service.New(verifier))
	t.Cleanup(server.Close)
	use := func() int {
		status, _ := call(t, server, good(nil), http.MethodPut, "/orders/42", "value")
		return status
	}
	if status := use(); status != http.StatusNoContent {
		t.Fatalf("status %d for a live token", status)
	}
	active = false
	if status := use(); status != http.StatusUnauthorized {
		t.Errorf("status %d for a token that was taken back", status)
	}
	active, broken = true, errors.New("the broker is down")
	if status := use(); status != http.StatusUnauthorized {
		t.Errorf("status %d though nobody could be asked", status)
	}
}
