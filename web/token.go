package web

import (
	"net/http"
	"net/url"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
	"github.com/hourkey/hourkey/web/authn"
)

// token is RFC 6749 section 4.4: an agent proves its key, and gets an access token.
func (s *Server) token(c *call) error {
	form, err := c.form()
	if err != nil {
		return err
	}
	proven, err := s.agents.Prove(c.ctx(), form)
	if err != nil {
		return s.failed(c, api.PathToken, err)
	}
	c.caller = proven.Caller
	s.own.look(c.request)
	if err := s.limited(c, s.callers, "token "+proven.Caller.Name); err != nil {
		return err
	}
	token, err := s.agents.Grant(c.ctx(), proven)
	if err != nil {
		return err
	}
	c.writer.Header().Set("Pragma", "no-cache") // RFC 6749 section 5.1
	return c.answer(http.StatusOK, struct {     // as api.TokenResponse, whose Secret never encodes itself
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"`
	}{token, "Bearer", int64(authn.TokenLife.Seconds())})
}

// form reads the parameters of a token request. In the query they would stand in logs, and a client
// that authenticates in two ways is refused (RFC 6749 section 2.3).
func (c *call) form() (url.Values, error) {
	if c.request.URL.RawQuery != "" || c.request.Header.Get("Authorization") != "" {
		return nil, broker.Errorf(broker.CodeInvalid, "parameters belong into the body, and there is one way to authenticate: client_assertion")
	}
	raw, err := c.body()
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, broker.Errorf(broker.CodeInvalid, "the form cannot be read")
	}
	return form, nil
}

// enroll gives an invited agent its key.
func (s *Server) enroll(c *call) error {
	var wish api.EnrollRequest
	if err := c.decode(&wish); err != nil {
		return err
	}
	enrolled, err := s.agents.Enrol(c.ctx(), wish)
	if err != nil {
		return err
	}
	s.own.look(c.request)
	return c.answer(http.StatusCreated, api.EnrollResponse{
		Name: enrolled.Name, Owner: enrolled.Owner, State: string(enrolled.State), Thumbprint: enrolled.Thumbprint,
		Next: "ask " + enrolled.Owner + " to compare the key and sign this agent at " + s.origin,
	})
}
