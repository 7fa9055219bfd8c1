package pgtest_test

import (
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/postgres/pgtest"
)

func TestServerStartsAndWantsThePassword(t *testing.T) {
	server := pgtest.Start(t)
	server.Exec(t, "postgres", "CREATE DATABASE one", "SELECT 1")
	if server.SuperuserPassword() == "" || !strings.Contains(server.SuperuserDSN("one"), "/one?") {
		t.Error("the superuser's DSN lacks password or database")
	}
	server.Stop()
	if err := server.Try("postgres", "SELECT 1"); err == nil {
		t.Error("the server still answers after Stop")
	}
}
