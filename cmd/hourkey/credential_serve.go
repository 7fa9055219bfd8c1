package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

// The variables by which the container credentials provider of the AWS SDKs finds its endpoint (AWS SDKs and Tools
// Reference Guide, "Container credential provider").
const (
	awsEndpoint = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
	awsPassword = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
)

// Bounds of its listener.
const (
	serveHead    = 4 << 10 // bytes of a request's header
	serveWithin  = 10 * time.Second
	servePending = 2 * time.Second // for answers that are under way at the end
)

// serveAWS serves a credential on loopback until it ends, or a signal comes, and then releases it.
func (a *app) serveAWS(ctx context.Context, client *api.Client, c api.Credential) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening on loopback: %w", err)
	}
	password := api.NewSecret("hkc_" + rand.Text() + rand.Text())
	server := &http.Server{
		Handler:           &endpoint{host: listener.Addr().String(), password: password, credential: c, now: a.now},
		ReadHeaderTimeout: serveWithin, ReadTimeout: serveWithin, WriteTimeout: serveWithin, MaxHeaderBytes: serveHead,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // a caller's broken connections are its own
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	err = a.announceEndpoint(c, listener.Addr().String(), password)
	if err == nil {
		err = a.until(ctx, c.Expires, served)
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), servePending)
	defer cancel()
	if late := server.Shutdown(closing); late != nil {
		_ = server.Close()
	}
	a.release(ctx, client, []api.Credential{c})
	return err
}

// announceEndpoint prints what programs find the endpoint by: no key is in it, but the password to one that is here until the
// lease ends.
func (a *app) announceEndpoint(c api.Credential, address string, password api.Secret) error {
	values := maps.Clone(c.Values)
	for _, name := range []string{awsKeyID, awsKey, awsSession, awsExpires} {
		delete(values, name)
	}
	values[awsEndpoint], values[awsPassword] = api.NewSecret("http://"+address+"/"), password
	lines, err := exports(values)
	if err != nil {
		return err
	}
	variables := map[string]string{}
	for name, value := range values {
		variables[name] = value.Reveal()
	}
	printed := struct {
		Variables map[string]string `json:"variables"`
		Unset     []string          `json:"unset"`
	}{variables, a.stale(c.Values, values)}
	if err := a.show(printed, func(out io.Writer) { _, _ = io.WriteString(out, unsets(printed.Unset)+lines) }); err != nil {
		return err
	}
	a.say("serving the credential for %s in %s until %s, or ^C", c.Target, c.Environment, clock(c.Expires))
	return nil
}

// until waits for the end of the lease, or a signal: neither is an error.
func (a *app) until(ctx context.Context, end time.Time, served <-chan error) error {
	for left := end.Sub(a.now()); left > 0; left = end.Sub(a.now()) {
		timer := time.NewTimer(min(left, lookAgain))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case err := <-served:
			timer.Stop()
			return fmt.Errorf("serving on loopback: %w", err)
		case <-timer.C:
		}
	}
	a.say("the credential has ended")
	return nil
}

// endpoint answers the container credentials provider.
type endpoint struct {
	host       string // 127.0.0.1:PORT, as an honest caller names it
	password   api.Secret
	credential api.Credential
	now        func() time.Time
}

// ServeHTTP implements http.Handler. A page in a browser can reach loopback under a name of its own (DNS rebinding), and knows
// no password; so can any program of another user.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	allowed := subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(e.password.Reveal())) == 1
	switch {
	case !allowed || r.Host != e.host:
		e.refuse(w, http.StatusForbidden, "this is not for you")
	case r.Method != http.MethodGet || r.URL.Path != "/" || r.URL.RawQuery != "":
		e.refuse(w, http.StatusNotFound, "there is GET / alone")
	case !e.now().Before(e.credential.Expires):
		e.refuse(w, http.StatusGone, "the credential has ended")
	default:
		e.answer(w, http.StatusOK, containerCredential{
			AccessKeyID: e.credential.Values[awsKeyID].Reveal(), SecretAccessKey: e.credential.Values[awsKey].Reveal(),
			Token: e.credential.Values[awsSession].Reveal(), Expiration: e.credential.Expires.UTC().Truncate(time.Second),
		})
	}
}

// containerCredential is what the provider reads.
type containerCredential struct {
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Token           string
	Expiration      time.Time
}

func (e *endpoint) refuse(w http.ResponseWriter, status int, why string) {
	e.answer(w, status, map[string]string{"code": http.StatusText(status), "message": why})
}

func (e *endpoint) answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // whoever asked is gone, or has it
}
