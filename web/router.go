package web

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/hourkey/hourkey/broker"
)

type callKey struct{} // of the call in a request's context

// router builds the handler from the two tables, the API's and the pages'.
func (s *Server) router() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false
	engine.ForwardedByClientIP = false // addresses are told by clientAddress alone
	_ = engine.SetTrustedProxies(nil)
	for _, line := range table() {
		engine.Handle(line.method, ginPath(line.path), func(g *gin.Context) { s.run(g, line) })
	}
	engine.NoMethod(s.refuse(broker.Errorf(codeMethod, "this path has another method")))
	engine.NoRoute(s.humanRoutes(engine.Group("/", s.beforePage)).nowhere)
	return engine
}

// run is the one gate of the API: who is calling, is it for them, what do they bring, and then the
// handler, with an end to its time.
func (s *Server) run(g *gin.Context, line route) {
	c := callOf(g)
	c.gin, c.route = g, line.method+" "+line.path
	ctx, cancel := context.WithTimeout(c.ctx(), line.lasts)
	defer cancel()
	c.request = c.request.WithContext(ctx)
	if err := s.gate(c, line); err != nil {
		s.fail(c, err)
		return
	}
	if err := line.serve(s, c); err != nil {
		s.fail(c, err)
	}
}

func (s *Server) gate(c *call, line route) error {
	if err := s.who(c, line); err != nil {
		return err
	}
	if c.kinds&line.may == 0 {
		return notFor(c, line)
	}
	return c.check(line.body)
}

func notFor(c *call, line route) error {
	if c.kinds == stranger {
		return broker.Errorf(broker.CodeUnauthenticated, "nobody known is calling").WithNext("send an access token as a Bearer, or sign in")
	}
	return broker.Errorf(broker.CodeForbidden, "%s is for %s", c.route, strings.ReplaceAll((line.may&^stranger).String(), " ", ", "))
}

// refuse answers with always the same error.
func (s *Server) refuse(err *broker.Error) gin.HandlerFunc {
	return func(g *gin.Context) {
		c := callOf(g)
		c.gin = g
		s.fail(c, err)
	}
}

// beforePage is the gate of the pages: what changes something comes from our own pages. Who may see a
// page, and for whom it counts, is decided in human.go.
func (s *Server) beforePage(g *gin.Context) {
	c := callOf(g)
	c.gin, c.route = g, g.Request.Method+" "+g.FullPath()
	ctx, cancel := context.WithTimeout(c.ctx(), provider)
	defer cancel()
	g.Request = g.Request.WithContext(ctx)
	if !isSafe(c.request.Method) {
		if err := s.sameOrigin(c.request); err != nil {
			s.fail(c, err)
			g.Abort()
			return
		}
	}
	g.Next()
}

func callOf(g *gin.Context) *call {
	c, ok := g.Request.Context().Value(callKey{}).(*call)
	if !ok {
		panic("web: the router is reached around Server.ServeHTTP")
	}
	c.writer = g.Writer
	return c
}

// ginPath writes {id} as gin does.
func ginPath(path string) string {
	return strings.NewReplacer("{", ":", "}", "").Replace(path)
}

func isSafe(method string) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, method)
}
