package railway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	faithful "github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// TestLookUpsAreFew: a hundred requests an hour is all there is on the free plan.
func TestLookUpsAreFew(t *testing.T) {
	w := newWorld(t, 0)
	p := w.open(w.AccountToken, "", w.Shop, w.Staging)
	redeploy := `mutation { serviceInstanceRedeploy(serviceId: "` + w.Web + `", environmentId: "` + w.Staging + `") }`
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() { w.expect(p, redeploy, "service/web: staging") })
	}
	all.Wait()
	if n := w.asked.Load(); n != 1 {
		t.Errorf("%d look-ups for 64 calls at once", n)
	}
	w.pass(59 * time.Second)
	w.expect(p, redeploy, "service/web: staging")
	logs := `{ deploymentLogs(deploymentId: "` + w.server.IDs("Deployment")[1] + `") { message } }`
	for range 5 {
		w.expect(p, logs, "service/web: staging")
	}
	if n := w.asked.Load(); n != 2 {
		t.Errorf("%d look-ups within a minute", n)
	}
	w.pass(2 * time.Second)
	w.expect(p, redeploy, "service/web: staging")
	if n := w.asked.Load(); n != 3 {
		t.Errorf("%d look-ups after a minute", n)
	}
	w.expect(p, `mutation { volumeDelete(volumeId: "`+w.RenderCache+`") }`, "volume/render-cache: staging")
	if n := w.asked.Load(); n != 5 {
		t.Errorf("%d look-ups: what destroys wants the inventory afresh, and its backups", n)
	}
}

// TestGuessingIDsUsesUpLittle: that an id is nowhere is remembered.
func TestGuessingIDsUsesUpLittle(t *testing.T) {
	w := newWorld(t, 0)
	p := w.open(w.AccountToken, "", w.Shop, w.Staging)
	document := `mutation { serviceInstanceRedeploy(serviceId: "guess", environmentId: "` + w.Staging + `") }`
	w.refused(p, document)
	before := w.asked.Load()
	for range 20 {
		w.refused(p, document)
	}
	if n := w.asked.Load() - before; n != 0 {
		t.Errorf("%d look-ups for an id that was nowhere a moment ago", n)
	}
}

// TestWhatWasMadeAMomentAgoIsFound although less than a minute went by.
func TestWhatWasMadeAMomentAgoIsFound(t *testing.T) {
	w := newWorld(t, 0)
	p := w.staging()
	w.expect(p, `{ project(id: "`+w.Shop+`") { name } }`, "environment/staging: staging")
	service := w.server.AddService(w.Shop, "worker", "acme/worker", w.Staging)
	w.expect(p, `mutation { serviceInstanceRedeploy(serviceId: "`+service+`", environmentId: "`+w.Staging+`") }`, "service/worker: staging")
}

// TestAResourceThatMoved between look-ups: what destroys is looked up afresh.
func TestAResourceThatMoved(t *testing.T) {
	w := newWorld(t, 0)
	p := w.staging()
	document := `mutation { volumeDelete(volumeId: "` + w.RenderCache + `") }`
	w.expect(p, document, "volume/render-cache: staging")
	w.server.Add("VolumeInstance", faithful.Fields{"volumeId": w.RenderCache, "environmentId": w.Production, "mountPath": "/cache", "state": "READY", "sizeMB": 5000, "currentSizeMB": 1.0, "isPendingDeletion": false, "serviceId": nil})
	w.expect(p, document, "volume/render-cache: production, staging")
}

// TestTheRateLimitIsRespected: a clear word, and no further request until it is over.
func TestTheRateLimitIsRespected(t *testing.T) {
	w := newWorld(t, 1)
	p := w.open(w.AccountToken, "", w.Shop, w.Staging)
	if _, err := p.Identify(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err := w.resolve(p, `mutation { volumeDelete(volumeId: "`+w.ShopData+`") }`)
		if broker.CodeOf(err) != broker.CodeUnavailable || !strings.Contains(err.Error(), "rate limit (1 an hour) is used up") {
			t.Fatal(err)
		}
		if e, is := errors.AsType[*broker.Error](err); !is || !strings.Contains(e.Next, "after 2026-04-24T13:00:01Z") {
			t.Errorf("next: %+v", e)
		}
	}
	if n := w.asked.Load(); n != 2 {
		t.Errorf("%d requests: one that passed, one that was refused", n)
	}
	w.pass(time.Hour + 2*time.Second)
	if _, err := p.Identify(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLookUpsThatFail refuse, in words that hold no secret.
func TestLookUpsThatFail(t *testing.T) {
	w := newWorld(t, 0)
	for name, c := range map[string]struct {
		fault http.HandlerFunc
		says  string
	}{
		"down":    {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(503) }, "status 503"},
		"refused": {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(401) }, "broker's token"},
		"redirects": {func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "http://127.0.0.1:1/steal", http.StatusTemporaryRedirect)
		}, "redirects elsewhere"},
		"cut": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(rw, `{"data"`)
		}, "broke off"},
		"no json": {func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, `<html>`) }, "no GraphQL answer"},
		"no data": {func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, `{}`) }, "schema"},
		"too large": {func(rw http.ResponseWriter, _ *http.Request) {
			for range 17 {
				_, _ = io.WriteString(rw, strings.Repeat(" ", 1<<20))
			}
		}, "larger than"},
		"other": {func(rw http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(rw, `{"errors":[{"message":"oops %s"}]}`, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		}, "could not answer"},
		"limited": {func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(rw, `{"errors":[{"message":"You are being rate limited."}]}`)
		}, "rate limit"},
		"page": {func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(rw, `{"data":{"project":{"id":"`+w.Shop+`","name":"shop","environments":{"edges":[],"pageInfo":{"hasNextPage":true}}}}}`)
		}, "more than Railway tells"},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.open(w.AccountToken, "", w.Shop, w.Staging)
			w.fault.Store(&c.fault)
			defer w.fault.Store(nil)
			_, err := w.resolve(p, `mutation { volumeDelete(volumeId: "`+w.ShopData+`") }`)
			if e, is := errors.AsType[*broker.Error](err); !is || e.Code != broker.CodeUnavailable || !strings.Contains(e.Message, c.says) || strings.Contains(e.Message+e.Next, w.AccountToken) {
				t.Errorf("%+v", err)
			}
		})
	}
}

// TestAnUpstreamThatHangs: the caller's time is the caller's.
func TestAnUpstreamThatHangs(t *testing.T) {
	w := newWorld(t, 0)
	p := w.open(w.AccountToken, "", w.Shop, w.Staging)
	gone := make(chan struct{})
	fault := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-gone })
	w.fault.Store(&fault)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := p.Resolve(ctx, []judge.Named{{Kind: "volume", ID: w.ShopData, At: "volumeId"}}, true)
	close(gone)
	if err == nil {
		t.Error("found, without an answer")
	}
}

// TestTheTokenGoesWhereItsKindBelongs, and nothing else that could be one goes with it.
func TestTheTokenGoesWhereItsKindBelongs(t *testing.T) {
	w := newWorld(t, 0)
	for kind, want := range map[string]string{"": "Authorization", "account": "Authorization", "workspace": "Authorization", "project": "Project-Access-Token"} {
		header := http.Header{"Authorization": {"Bearer agent"}, "Project-Access-Token": {"agent"}, "Team-Access-Token": {"agent"}, "Cookie": {"agent"}, "Accept": {"x"}}
		w.open("real", kind, "p", "e").Attach(header)
		if got := strings.TrimPrefix(header.Get(want), "Bearer "); got != "real" || len(header) != 2 {
			t.Errorf("%s: %v", kind, header)
		}
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	now := time.Now
	for name, c := range map[string]Config{
		"no project":     {Settings: Settings{Environment: "e"}, Token: broker.NewSecret("t"), Now: now},
		"no environment": {Settings: Settings{Project: "p"}, Token: broker.NewSecret("t"), Now: now},
		"no token":       {Settings: Settings{Project: "p", Environment: "e"}, Now: now},
		"broken token":   {Settings: Settings{Project: "p", Environment: "e"}, Token: broker.NewSecret("a\nb"), Now: now},
		"kind":           {Settings: Settings{Project: "p", Environment: "e", TokenKind: "team"}, Token: broker.NewSecret("t"), Now: now},
		"plain http":     {Settings: Settings{Project: "p", Environment: "e", URL: "http://railway.example.com"}, Token: broker.NewSecret("t"), Now: now},
		"user in url":    {Settings: Settings{Project: "p", Environment: "e", URL: "https://u:p@railway.example.com"}, Token: broker.NewSecret("t"), Now: now},
		"path in url":    {Settings: Settings{Project: "p", Environment: "e", URL: "https://railway.example.com/x"}, Token: broker.NewSecret("t"), Now: now},
	} {
		if _, err := Open(c); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err := Open(Config{Settings: Settings{Project: "p", Environment: "e"}, Token: broker.NewSecret("t"), Now: now})
	if err != nil || p.Base() != "https://backboard.railway.com" {
		t.Errorf("%v, %v", p, err)
	}
}
