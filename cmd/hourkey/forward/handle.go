package forward

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/web/api"
)

// proxyUser is the user name beside the password, for whoever takes us for a proxy.
const proxyUser = "hourkey"

// handle answers one request of the child.
func (f *Forwarder) handle(w http.ResponseWriter, r *http.Request) {
	if !f.enter() {
		panic(http.ErrAbortHandler) // it is over: no answer
	}
	defer f.busy.Done()
	switch {
	case r.Method == http.MethodConnect:
		f.connect(w, r)
	case !strings.HasPrefix(r.RequestURI, "/"):
		f.refuseAbsolute(w, r)
	case r.Host != f.address:
		// The attack: a page in a browser of this user whose name resolves to 127.0.0.1 (DNS rebinding).
		refuse(w, http.StatusForbidden, "this is no host of that name: expected Host: "+f.address)
	default:
		f.serveBase(w, r)
	}
}

// refuseAbsolute answers who takes us for a proxy of plain http, where the password would be in the
// open and nothing is judged.
func (f *Forwarder) refuseAbsolute(w http.ResponseWriter, r *http.Request) {
	if !f.isChild(r) {
		askPassword(w)
		return
	}
	line := "plain http is not forwarded: use https, which leads to " + f.reached()
	f.tell("plain", "refused: "+line)
	refuse(w, http.StatusForbidden, line)
}

// isChild tells whether a proxy request bears this run's password (RFC 9110 section 11.7.2).
func (f *Forwarder) isChild(r *http.Request) bool {
	said := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	user, password, ok := said.BasicAuth()
	return f.isPassword(password) && user == proxyUser && ok
}

func (f *Forwarder) isPassword(text string) bool {
	return subtle.ConstantTimeCompare([]byte(text), []byte(f.password.Reveal())) == 1
}

// askPassword refuses whoever does not say the password. Some tools say it only when they are asked.
func askPassword(w http.ResponseWriter) {
	w.Header().Set("Proxy-Authenticate", `Basic realm="`+proxyUser+`"`)
	refuse(w, http.StatusProxyAuthRequired, "the password of this run is wrong or missing: use HTTPS_PROXY as it is in the command's environment")
}

// refuse answers with one line.
func refuse(w http.ResponseWriter, status int, line string) {
	http.Error(w, body(line), status)
}

// body is a line under our name, and one line whatever the broker's words hold.
func body(line string) string { return "hourkey: " + strings.Join(strings.Fields(line), " ") }

// reached lists where the run's leases lead: "api.github.com (staging/github)".
func (f *Forwarder) reached() string {
	var all []string
	for host, n := range f.hosts {
		all = append(all, host+" ("+f.config.Targets[n].Name+")")
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// open opens a tunnel for target n.
func (f *Forwarder) open(ctx context.Context, n int, host string, plain bool) (api.Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.life, cancel)() // a pool's dialling outlives the request that asked for it
	return f.config.Open(ctx, api.Tunnel{Token: f.config.Targets[n].Gateway.Token, Host: host, Plain: plain})
}

// failed says, to the human also, why there is no tunnel for target n, or why one broke.
func (f *Forwarder) failed(n int, err error) (status int, line string) {
	name := f.config.Targets[n].Name
	status, line = http.StatusBadGateway, name+": "+err.Error()
	code := "the way there"
	if problem, refused := api.AsProblem(err); refused {
		code = problem.Code
		if problem.Next != "" {
			line += "; " + problem.Next
		}
		if problem.Status < 500 {
			status = http.StatusForbidden
		}
	}
	if code == api.CodeExpired {
		line = "the lease for " + name + " has ended; more time is a new request"
	}
	if !errors.Is(err, context.Canceled) { // the child went away: nobody misses an answer
		f.tell(name+" "+code, line)
	}
	return status, line
}
