package web

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// The attack: an agent asks for what it does not get, as fast as it can. It is told when it is heard again, and the
// metrics count what the log holds in one line.
func TestAFloodOfDeniedAsksIsSlowedDownAndCounted(t *testing.T) {
	x := newSite(t)
	token := x.agent.token()
	const ask = `{"task":"fix","environments":["staging"],"scopes":["db:secrets:admin"]}`
	for range 30 {
		x.do("POST", api.PathRequests, ask, bearer(token)).wantProblem(broker.CodeDenied)
	}
	for range 12 {
		refused := x.do("POST", api.PathRequests, ask, bearer(token))
		refused.wantProblem(broker.CodeSlowDown)
		if after, err := strconv.Atoi(refused.Header().Get("Retry-After")); err != nil || after < 2 || after > 20 || refused.Code != http.StatusTooManyRequests {
			t.Fatalf("%d, Retry-After %q", refused.Code, refused.Header().Get("Retry-After"))
		}
	}
	wantLines(t, x.metrics(), `hourkey_requests_total{decision="deny"} 30`)
	x.Clock.Advance(time.Minute)
	x.Sweep(t.Context())
	wantLines(t, x.metrics(), `hourkey_requests_total{decision="deny"} 42`)
}
