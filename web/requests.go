package web

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

const listed = 100 // requests in a list

func (s *Server) tasks(c *call) error {
	list := api.TaskList{Tasks: []api.Task{}}
	for _, t := range s.broker.Tasks(c.caller.Name) {
		list.Tasks = append(list.Tasks, api.Task{
			Name: t.Name, Summary: t.Summary, Environments: t.Environments, Gives: t.Gives, WithApproval: t.WithApproval, TTLSeconds: seconds(t.TTL),
		})
	}
	return c.answer(http.StatusOK, list)
}

func (s *Server) submit(c *call) error {
	var wish api.RequestCreate
	if err := c.decode(&wish); err != nil {
		return err
	}
	ask, err := askOf(c, wish)
	if err != nil {
		return err
	}
	if wish.Collect {
		return s.take(c, ask)
	}
	request, err := s.broker.Submit(c.ctx(), ask)
	if err != nil {
		return err
	}
	return s.created(c, request, s.wireRequest(request))
}

// take is submit and, where nothing waits for a human, collect.
func (s *Server) take(c *call, ask broker.Ask) error {
	request, credentials, err := s.broker.Take(c.ctx(), ask)
	if err != nil {
		return err
	}
	if len(credentials) == 0 {
		return s.created(c, request, s.wireRequest(request))
	}
	return s.created(c, request, struct {
		api.Request
		Credentials []revealed `json:"credentials"`
	}{s.wireRequest(request), reveal(credentials)})
}

func (s *Server) created(c *call, request broker.Request, wire any) error {
	c.writer.Header().Set("Location", api.PathRequests+"/"+request.ID)
	return c.answer(http.StatusCreated, wire)
}

// askOf is what the authenticated agent asks for: who asks never comes from the body.
func askOf(c *call, wish api.RequestCreate) (broker.Ask, error) {
	ask := broker.Ask{
		Agent: c.caller.Name, AgentKey: c.caller.Key, Task: wish.Task, Environments: wish.Environments, Reason: wish.Reason,
		TTL: time.Duration(wish.TTLSeconds) * time.Second,
	}
	if wish.TTLSeconds < 0 || wish.TTLSeconds > int64(broker.Hour/time.Second) { // before a product could overflow
		return ask, broker.Errorf(broker.CodeInvalid, "ttl_seconds is %d: expected 1 to 3600, or none for the task's", wish.TTLSeconds).WithField("ttl_seconds")
	}
	for _, text := range wish.Scopes {
		scope, err := broker.ParseScope(text)
		if err != nil {
			return ask, err
		}
		ask.Scopes = append(ask.Scopes, scope)
	}
	keys := c.request.Header.Values(api.HeaderIdempotencyKey)
	if len(keys) == 0 {
		return ask, nil
	}
	ask.Idempotency = keys[0]
	if len(keys) != 1 || len(ask.Idempotency) > 128 || !isVisible(ask.Idempotency) {
		return ask, broker.Errorf(broker.CodeInvalid, "Idempotency-Key must be there once, with 1 to 128 visible characters of ASCII").WithField(api.HeaderIdempotencyKey)
	}
	return ask, nil
}

func isVisible(text string) bool {
	for _, c := range []byte(text) {
		if c <= 0x20 || c >= 0x7f {
			return false
		}
	}
	return text != ""
}

func (s *Server) requests(c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	requests, err := s.broker.Requests(c.ctx(), c.caller, listed)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, s.wireRequests(requests))
}

// request gives one request; with ?wait= it waits, within bounds, until humans have decided, and with &signed=N at
// most until more than N of them have signed.
func (s *Server) request(c *call) error {
	query, err := c.query("wait", "signed")
	if err != nil {
		return err
	}
	wait, err := waitOf(query.Get("wait"))
	if err != nil {
		return err
	}
	signed, err := signedOf(query.Get("signed"))
	if err != nil {
		return err
	}
	request, err := s.await(c, c.param("id"), wait, signed)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, s.wireRequest(request))
}

func waitOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return 0, broker.Errorf(broker.CodeInvalid, "wait: expected a span like 30s, at most %s", api.MaxWait).WithField("wait")
	}
	return min(wait, api.MaxWait), nil
}

// signedOf reads how many signatures the caller knows of; who says nothing waits for the decision alone.
func signedOf(text string) (int, error) {
	if text == "" {
		return math.MaxInt, nil
	}
	signed, err := strconv.Atoi(text)
	if err != nil || signed < 0 {
		return 0, broker.Errorf(broker.CodeInvalid, "signed: expected how many humans have signed, as the last answer said").WithField("signed")
	}
	return signed, nil
}

func (s *Server) await(c *call, id string, wait time.Duration, signed int) (broker.Request, error) {
	if wait == 0 {
		return s.broker.Request(c.ctx(), c.caller, id)
	}
	if !s.waits.enter(c.caller.Actor()) {
		return broker.Request{}, broker.Errorf(broker.CodeSlowDown, "too many calls of yours are waiting already").WithNext("wait for one of them")
	}
	defer s.waits.leave(c.caller.Actor())
	ctx, cancel := context.WithTimeout(c.ctx(), wait)
	defer cancel()
	go func() { // ends with this call
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return s.broker.Await(ctx, c.caller, id, signed)
}

func (s *Server) cancel(c *call) error {
	id := c.param("id")
	if err := s.broker.Cancel(c.ctx(), c.caller, id); err != nil {
		return err
	}
	request, err := s.broker.Request(c.ctx(), c.caller, id)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, s.wireRequest(request))
}

// revealed is api.Credential on its way out: the one shape of this package that holds plain secrets.
type revealed struct {
	Environment string            `json:"environment"`
	Target      string            `json:"target"`
	Lease       string            `json:"lease"`
	Scopes      []string          `json:"scopes"`
	Values      map[string]string `json:"values"`
	Gateway     *revealedGateway  `json:"gateway,omitempty"`
	Expires     time.Time         `json:"expires"`
}

// revealedGateway is api.Gateway on its way out.
type revealedGateway struct {
	Token     string            `json:"token"`
	Hosts     []string          `json:"hosts"`
	CA        string            `json:"ca"`
	Variables map[string]string `json:"variables"`
}

func (s *Server) collect(c *call) error {
	credentials, err := s.broker.Collect(c.ctx(), c.caller, c.param("id"))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, map[string]any{"credentials": reveal(credentials)})
}

// reveal is the one place in web where a secret is revealed, to the agent that asked, once. Every answer
// of ours says no-store.
func reveal(credentials []broker.Credential) []revealed {
	list := make([]revealed, len(credentials))
	for i, credential := range credentials {
		values := make(map[string]string, len(credential.Values))
		for name, value := range credential.Values {
			values[name] = value.Reveal()
		}
		list[i] = revealed{
			Environment: credential.Environment, Target: credential.Target, Lease: credential.Lease, Scopes: broker.Texts(credential.Scopes),
			Values: values, Expires: credential.Expires,
		}
		if g := credential.Gateway; g != nil {
			list[i].Gateway = &revealedGateway{g.Token.Reveal(), g.Hosts, g.CA, g.Variables}
		}
	}
	return list
}
