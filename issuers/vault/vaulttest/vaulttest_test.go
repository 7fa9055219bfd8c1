package vaulttest_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

func TestServerStartsAndEndsWithItsInput(t *testing.T) {
	server := vaulttest.Start(t)
	server.Write(t, "sys/mounts/kv", map[string]any{"type": "kv"})
	if server.Read(t, "sys/mounts/kv")["data"] == nil {
		t.Error("the engine is not there")
	}
	status, _, err := vaulttest.Call(t.Context(), server.Address, "no-token", http.MethodGet, "sys/mounts/kv", nil)
	if err != nil || status != http.StatusForbidden {
		t.Errorf("without a token: %d, %v", status, err)
	}
	server.Stop()
	if _, _, err := vaulttest.Call(t.Context(), server.Address, server.Root, http.MethodGet, "sys/mounts/kv", nil); err == nil {
		t.Error("the server still answers after Stop")
	}
}

func TestVersionIsThatOfTheTools(t *testing.T) {
	text, err := os.ReadFile("../../../tools/vault/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "github.com/hashicorp/vault "+vaulttest.Version+"\n") {
		t.Errorf("tools/vault/go.mod does not name %s", vaulttest.Version)
	}
}
