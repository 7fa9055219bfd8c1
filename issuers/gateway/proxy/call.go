package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// call is one request in a tunnel, on its way.
type call struct {
	proxy   *Proxy
	conn    *conn
	tunnel  *tunnel
	writer  http.ResponseWriter
	request *http.Request

	given   judge.Call
	verdict judge.Verdict
	asked   broker.Call
	pass    broker.Pass
	outcome string    // of a call that passed
	status  int       // of the provider's answer
	scrub   *scrubber // of the credential that it was sent with
	took    int64     // of the budget for large bodies
}

// serveCall is the handler in every tunnel.
func (p *Proxy) serveCall(w http.ResponseWriter, r *http.Request) {
	c := &call{proxy: p, conn: connOf(r), tunnel: connOf(r).tunnel, writer: w, request: r}
	defer c.recovered()
	if len(r.TransferEncoding) > 0 {
		w.Header().Set("Connection", "close") // the guard looks for no head after a chunked body
	}
	if !p.calls.begin() {
		c.refuse(broker.Errorf(broker.CodeUnavailable, "the broker is stopping").WithNext("try again"))
		return
	}
	defer p.calls.end()
	defer func() { p.bodies.give(c.took) }()
	if err := c.decide(); err != nil {
		c.refuse(err)
		return
	}
	if err := c.forward(); err != nil {
		c.fail(err)
	}
	c.ended("")
}

// decide comes to its end without error only when the broker has let the call pass and recorded it.
func (c *call) decide() error {
	ctx := c.request.Context()
	err := c.admit()
	if err == nil {
		err = c.read()
	}
	if err == nil {
		err = c.judge()
	}
	if err == nil {
		c.asked.Touches, c.asked.Facts, err = c.resolve(ctx)
	}
	if err != nil {
		c.proxy.broker.RefusedCall(ctx, c.tunnel.Presented, c.operation(), c.recorded(err))
		return err
	}
	c.pass, err = c.proxy.broker.Use(ctx, c.tunnel.Presented, c.asked)
	return err
}

// recorded is the refusal as the log has it: without the credential, which a provider may have quoted.
func (c *call) recorded(err error) error {
	told := *refusal(err)
	told.Message = c.tunnel.clean(told.Message)
	return &told
}

func (c *call) judge() error {
	c.verdict = c.tunnel.pack.Judge(c.given, false)
	switch {
	case c.verdict.Refusal != "":
		return broker.Errorf(broker.CodeDenied, "%s", c.verdict.Refusal)
	case c.verdict.Class.Actions() == 0 || len(c.verdict.Operations) == 0:
		return broker.Errorf(broker.CodeDenied, "%s passes no call like this one", c.tunnel.pack.Name())
	}
	c.asked.Operation, c.asked.Exact = c.operation(), c.exact()
	return nil
}

// exact identifies what the operation's text hides; empty when it hides nothing.
func (c *call) exact() string {
	all := make([]string, len(c.verdict.Operations))
	for at, operation := range c.verdict.Operations {
		all[at] = operation.Exact
	}
	if joined := strings.Join(all, ","); strings.Trim(joined, ",") != "" {
		return joined
	}
	return ""
}

// operation is the whole of what is asked, canonical; of what was not judged, the request line.
func (c *call) operation() string {
	if len(c.verdict.Operations) == 0 {
		return strings.TrimSpace(clip(c.given.Method + " " + c.given.Path))
	}
	texts := make([]string, 0, len(c.verdict.Operations))
	for _, operation := range c.verdict.Operations {
		texts = append(texts, operation.Text)
	}
	return strings.Join(texts, "\n")
}

// resolve asks the provider what and where everything is that the call names, with the real token. It is
// asked afresh for what destroys or gives power. What is public is nobody's and stands in no scope; only
// what reads may touch that.
func (c *call) resolve(ctx context.Context) ([]broker.Touched, []broker.Fact, error) {
	var named []judge.Named
	for _, operation := range c.verdict.Operations {
		if len(operation.Touches) == 0 && operation.Class != judge.Read {
			return nil, nil, broker.Errorf(broker.CodeDenied, "%s is of class %s and names nothing that a scope could cover", operation.Name, operation.Class)
		}
		named = append(named, operation.Touches...)
	}
	if len(named) == 0 {
		return nil, nil, nil
	}
	fresh := c.verdict.Class != judge.Read && c.verdict.Class != judge.Write
	found, err := c.tunnel.provider.Resolve(ctx, named, fresh)
	if err != nil {
		return nil, nil, err
	}
	if len(found) != len(named) {
		return nil, nil, broker.Errorf(broker.CodeInternal, "the provider's resolver gave %d answers to %d questions", len(found), len(named))
	}
	return c.touched(found)
}

// touched gives each resource the class of the operation that names it. found is in the operations' order.
func (c *call) touched(found []gateway.Found) (touches []broker.Touched, facts []broker.Fact, err error) {
	for _, operation := range c.verdict.Operations {
		mine := found[:len(operation.Touches)]
		found = found[len(mine):]
		for _, resource := range mine {
			facts = append(facts, resource.Facts...)
			if len(resource.Places) > 0 {
				touches = append(touches, broker.Touched{Names: resource.Names, Actions: operation.Class.Actions(), Places: resource.Places, Says: resource.Says})
				continue
			}
			if operation.Class != judge.Read {
				return nil, nil, broker.Errorf(broker.CodeDenied, "%s is of class %s, and what it names lives in no environment", operation.Name, operation.Class)
			}
		}
	}
	return touches, facts, nil
}

// refuse answers a call that did not pass, in the provider's own shape.
func (c *call) refuse(err error) {
	told := refusal(err)
	c.answerProblem(callStatus(told.Code), told, err)
	c.ended(told.Code)
}

// fail answers a call that passed and has no answer to be shown.
func (c *call) fail(err error) {
	told := refusal(err)
	status := callStatus(told.Code)
	if told.Code == codeAnswer && c.status >= 400 {
		status = c.status
	}
	c.answerProblem(status, told, err)
}

func (c *call) answerProblem(status int, told *broker.Error, cause error) {
	level := slog.LevelInfo
	if status == http.StatusInternalServerError {
		level = slog.LevelError
	}
	c.proxy.log.LogAttrs(c.request.Context(), level, "call refused", slog.String("lease", c.tunnel.Lease.ID), slog.String("operation", c.names()),
		slog.String("code", string(told.Code)), slog.String("error", c.tunnel.clean(cause.Error())))
	problem := gateway.Problem{Code: string(told.Code), Message: c.tunnel.clean(oneLine(told)), Request: told.Request, URL: told.URL}
	contentType, body := c.tunnel.pack.Refuse(c.given, status, problem)
	header := c.writer.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		header.Set("Retry-After", "1")
	}
	if status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge || c.conn.guard.why() != "" {
		header.Set("Connection", "close") // what follows may belong to what was refused
	}
	c.writer.WriteHeader(status)
	_, _ = c.writer.Write(body) // who asked may be gone
}

// names are what the operations are called, without their arguments.
func (c *call) names() string {
	names := make([]string, 0, len(c.verdict.Operations))
	for _, operation := range c.verdict.Operations {
		names = append(names, operation.Name)
	}
	return clip(strings.Join(names, ", "))
}

// ended counts the call. code is empty for one that passed.
func (c *call) ended(code broker.Code) {
	class, outcome := string(c.verdict.Class), "passed"
	if class == "" {
		class = string(judge.Refused)
	}
	switch code {
	case "":
	case broker.CodePending:
		outcome = "pending"
	default:
		outcome = "refused"
	}
	c.proxy.count(c.tunnel.pack.Name(), class, outcome)
}

// recovered ends a panic with the connection. Its value may hold what must not be logged (invariant 10).
func (c *call) recovered() {
	value := recover()
	if value == nil {
		return
	}
	if err, is := value.(error); !is || !errors.Is(err, http.ErrAbortHandler) {
		c.proxy.log.LogAttrs(c.request.Context(), slog.LevelError, "panic", slog.String("lease", c.tunnel.Lease.ID), slog.String("operation", c.names()),
			slog.String("type", fmt.Sprintf("%T", value)), slog.String("stack", string(debug.Stack())))
	}
	panic(http.ErrAbortHandler)
}
