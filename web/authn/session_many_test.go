package authn

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// The attack: one human begins sessions without end, each of which is counted by itself, so that all together may do
// anything. The one that was used longest ago ends, and nobody else's.
func TestOneHumanHasFewSessions(t *testing.T) {
	bed := newSessionBed(t)
	bed.save(t, &broker.Passkey{ID: "bobs", Human: "bob"})
	bobs := bed.begin(t, Session{Human: "bob", Via: ViaPasskey, Passkey: "bobs"})
	var begun []*http.Cookie
	for range SessionsOfOne {
		begun = append(begun, bed.start(t))
		bed.now = bed.now.Add(time.Second)
	}
	bed.now = bed.now.Add(2 * touchEvery)
	if err := bed.sessions.Touch(context.Background(), bed.good(t, begun[0])); err != nil {
		t.Fatal(err)
	}
	begun = append(begun, bed.start(t))
	bed.refuses(t, begun[1], "unused for longest")
	for i, cookie := range begun {
		if i != 1 {
			bed.good(t, cookie)
		}
	}
	for range 3 * SessionsOfOne {
		bed.now = bed.now.Add(time.Second)
		bed.start(t)
	}
	all, err := bed.sessions.List(context.Background(), "alice")
	if err != nil || len(all) != SessionsOfOne {
		t.Errorf("%d sessions, %v", len(all), err)
	}
	bed.good(t, bobs)
}
