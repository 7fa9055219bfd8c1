package railway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// Settings is the body of a Railway target in environments/*.yaml.
//
//	railway: {token: file:secrets/railway-token, project: shop, environment: staging}
type Settings struct {
	Token       string `yaml:"token"`       // reference to a token: env:NAME, file:PATH
	TokenKind   string `yaml:"token_kind"`  // account (default), workspace or project
	Project     string `yaml:"project"`     // name or id
	Environment string `yaml:"environment"` // name or id
	URL         string `yaml:"url"`         // scheme and host of the API, if not Railway's own; plain http on loopback alone
}

// Config is what a Provider is opened with.
type Config struct {
	Settings Settings
	Token    broker.Secret
	Client   *http.Client // nil: one with Go's defaults. It is copied, and told to follow no redirect
	Now      func() time.Time
	Pack     *Pack // nil: read anew
}

// Provider asks Railway with the real token about one environment of one project. It is safe for concurrent use.
type Provider struct {
	settings  Settings
	token     broker.Secret
	pack      *Pack
	client    *client
	now       func() time.Time
	resolvers map[string]resolver // kind → how it is looked up

	self        atomic.Pointer[self]
	projects    *memory[string]            // settings → id of the project
	inventories *memory[*inventory]        // id of a project → what it has
	homes       *memory[string]            // kind and id → id of the project that it lives in; empty: none that the token reaches
	atlas       *memory[map[string]string] // the same for all that is in the token's projects and has no query of its own
	ways        *memory[map[string]way]    // what of the target's project is not in its inventory: what it is → id → where it leads
	direction   *memory[way]               // kind and id → where it leads, of what has a query of its own
}

// self is who the target is, once it was asked.
type self struct{ project, environment string }

var (
	_ gateway.Provider = (*Provider)(nil)
	_ gateway.Finder   = (*Provider)(nil)
)

// Open makes the provider of one target. It asks nobody. Errors are broker.CodeInvalid.
func Open(config Config) (*Provider, error) {
	base, err := config.Settings.base()
	if err != nil {
		return nil, err
	}
	if err := config.check(); err != nil {
		return nil, err
	}
	pack := config.Pack
	if pack == nil {
		if pack, err = New(); err != nil {
			return nil, err
		}
	}
	p := &Provider{
		settings: config.Settings, token: config.Token, pack: pack, now: config.Now, resolvers: resolvers(),
		projects: newMemory[string](config.Now), inventories: newMemory[*inventory](config.Now),
		homes: newMemory[string](config.Now), atlas: newMemory[map[string]string](config.Now), ways: newMemory[map[string]way](config.Now), direction: newMemory[way](config.Now),
	}
	p.client = newClient(base, p.Attach, config.Client, config.Now)
	return p, nil
}

func (c Config) check() error {
	s := c.Settings
	switch {
	case s.Project == "":
		return broker.Errorf(broker.CodeInvalid, "project is missing: expected a project's name or id").WithField("project")
	case s.Environment == "":
		return broker.Errorf(broker.CodeInvalid, "environment is missing: expected an environment's name or id").WithField("environment")
	case !slices.Contains([]string{"", "account", "workspace", "project"}, s.TokenKind):
		return broker.Errorf(broker.CodeInvalid, "token_kind %q: expected account, workspace or project", s.TokenKind).WithField("token_kind")
	case c.Token.IsZero() || strings.TrimSpace(c.Token.Reveal()) != c.Token.Reveal() || strings.ContainsAny(c.Token.Reveal(), "\r\n"):
		return broker.Errorf(broker.CodeInvalid, "token is empty, or has blanks around it").WithField("token")
	case c.Now == nil:
		return broker.Errorf(broker.CodeInternal, "railway: Config wants Now")
	}
	return nil
}

// base is scheme and host: Railway's own unless another is set.
func (s Settings) base() (string, error) {
	if s.URL == "" {
		return "https://backboard.railway.com", nil
	}
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return "", broker.Errorf(broker.CodeInvalid, "url: expected scheme and host alone, like https://backboard.railway.com").WithField("url")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return u.Scheme + "://" + u.Host, nil
	}
	return "", broker.Errorf(broker.CodeInvalid, "url: expected https, or http to this machine").WithField("url")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Base is scheme and host of the API.
func (p *Provider) Base() string { return p.client.base }

// Attach puts the real token where its kind belongs, and takes away what else could be one.
func (p *Provider) Attach(header http.Header) {
	for _, name := range []string{"Authorization", "Project-Access-Token", "Team-Access-Token", "Cookie"} {
		header.Del(name)
	}
	if p.settings.TokenKind == "project" {
		header.Set("Project-Access-Token", p.token.Reveal())
		return
	}
	header.Set("Authorization", "Bearer "+p.token.Reveal())
}

// Sight is what answers are kept to. Before anybody was asked who the target is, it is nothing.
func (p *Provider) Sight() judge.Sight {
	s := p.self.Load()
	if s == nil {
		return judge.Sight{}
	}
	return judge.Sight{Environment: s.environment, Project: s.project, Keeps: func(string, string) bool { return false }}
}

// Identify tells which project and environment the settings mean now.
func (p *Provider) Identify(ctx context.Context) (broker.Identity, error) {
	inv, environment, err := p.own(ctx, false)
	if err != nil {
		return broker.Identity{}, err
	}
	return broker.Identity{
		ID:    identity(inv.id, environment.id),
		Shown: fmt.Sprintf("project %s, environment %s, at %s", inv.name, environment.name, strings.TrimPrefix(strings.TrimPrefix(p.Base(), "https://"), "http://")),
	}, nil
}

func identity(project, environment string) string { return "railway:" + project + "/" + environment }

// own gives the target's project and environment.
func (p *Provider) own(ctx context.Context, fresh bool) (*inventory, *environment, error) {
	id, err := p.projectID(ctx)
	if err != nil {
		return nil, nil, err
	}
	inv, err := p.inventory(ctx, id, fresh)
	if errors.Is(err, errNotThere) {
		return nil, nil, unavailable("project %q is not there, or the broker's token does not reach it", p.settings.Project).WithNext("ask the operator to look at the target")
	}
	if err != nil {
		return nil, nil, err
	}
	at, err := one(inv.of("environment"), p.settings.Environment, "environment")
	if err != nil {
		return nil, nil, err
	}
	p.self.Store(&self{inv.id, at})
	return inv, inv.environments[at], nil
}

func (p *Provider) inventory(ctx context.Context, project string, fresh bool) (*inventory, error) {
	return p.inventories.recall(ctx, project, fresh, func(ctx context.Context) (*inventory, error) { return p.askInventory(ctx, project) })
}

// one finds the id of the thing that has an id or, failing that, a name. A name that several bear is an error.
func one(things []thing, called, what string) (string, error) {
	var found []string
	for _, t := range things {
		if t.id == called {
			return t.id, nil
		}
		if t.name == called {
			found = append(found, t.id)
		}
	}
	switch len(found) {
	case 0:
		return "", unavailable("Railway has no %s %q that the broker's token reaches", what, called).WithNext("ask the operator to look at the target")
	case 1:
		return found[0], nil
	}
	return "", unavailable("Railway has %d of the name %q: which %s is meant is not said", len(found), called, what).WithNext("name it by its id: one of %s", strings.Join(found, ", "))
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$`)

// projectID finds the project that the settings mean. An id needs no look-up.
func (p *Provider) projectID(ctx context.Context) (string, error) {
	if uuid.MatchString(p.settings.Project) {
		return p.settings.Project, nil
	}
	return p.projects.recall(ctx, "", false, p.askProjectID)
}

func (p *Provider) askProjectID(ctx context.Context) (string, error) {
	ask := p.askProjects
	if p.settings.TokenKind == "project" {
		ask = p.askProjectToken
	}
	things, err := ask(ctx)
	if errors.Is(err, errNotThere) {
		return "", unavailable("Railway does not take the broker's token, or not as one of the kind %s", cmp.Or(p.settings.TokenKind, "account")).WithNext("ask the operator to look at the target's token and token_kind")
	}
	if err != nil {
		return "", err
	}
	return one(things, p.settings.Project, "project")
}

// askProjectToken asks a project token which project it is for.
func (p *Provider) askProjectToken(ctx context.Context) ([]thing, error) {
	var answer struct {
		Token struct {
			Project namedAnswer `json:"project"`
		} `json:"projectToken"`
	}
	err := p.client.ask(ctx, `query HourkeyToken { projectToken { project { id name } } }`, nil, &answer)
	return []thing{answer.Token.Project.thing()}, err
}

// askProjects lists the projects that the token reaches: those that Railway lists for it, and those of its
// workspaces, so that a second one of the same name is not overlooked.
func (p *Provider) askProjects(ctx context.Context) ([]thing, error) {
	var answer struct {
		Projects list[namedAnswer] `json:"projects"`
	}
	if err := p.client.ask(ctx, `query HourkeyProjects { projects { edges { node { id name } } pageInfo { hasNextPage } } }`, nil, &answer); err != nil {
		return nil, err
	}
	things, err := thingsIn(nil, answer.Projects)
	if err != nil {
		return nil, err
	}
	return p.askWorkspaces(ctx, things)
}

// askWorkspaces adds the projects of the token's workspaces. Tokens of Login with Railway have none to tell.
func (p *Provider) askWorkspaces(ctx context.Context, things []thing) ([]thing, error) {
	var answer struct {
		Token struct {
			Workspaces []namedAnswer `json:"workspaces"`
		} `json:"apiToken"`
	}
	err := p.client.ask(ctx, `query HourkeyWorkspaces { apiToken { workspaces { id name } } }`, nil, &answer)
	if errors.Is(err, errNotThere) || err == nil && len(answer.Token.Workspaces) == 0 {
		return things, nil
	}
	if err != nil {
		return nil, err
	}
	var many batch
	for _, w := range answer.Token.Workspaces {
		many.add("projects(workspaceId: %s) { edges { node { id name } } pageInfo { hasNextPage } }", w.ID)
	}
	for parts, err := range askEach[list[namedAnswer]](ctx, p.client, many) {
		if err == nil {
			things, err = thingsIn(things, parts)
		}
		if err != nil {
			return nil, err
		}
	}
	return things, nil
}

// thingsIn adds what is listed and not in things yet.
func thingsIn(things []thing, listed list[namedAnswer]) ([]thing, error) {
	nodes, err := listed.nodes()
	if err != nil {
		return nil, unavailable("Railway lists more projects than it tells in one answer").WithNext("set the project by its id").Because(err)
	}
	for _, n := range nodes {
		if t := n.thing(); !slices.Contains(things, t) {
			things = append(things, t)
		}
	}
	return things, nil
}

// Inventory tells reviewers what is in the environment.
func (p *Provider) Inventory(ctx context.Context) ([]broker.Fact, error) {
	inv, environment, err := p.own(ctx, false)
	if err != nil {
		return nil, err
	}
	var facts []broker.Fact
	for _, s := range inv.of("service") {
		if _, here := inv.services[s.id].instances[environment.id]; here {
			facts = append(facts, broker.Fact{About: "service/" + s.name, Text: "in " + and(inv.shownAll(inv.livesOf(inv.services[s.id]))), At: inv.at})
		}
	}
	for _, v := range inv.of("volume") {
		if _, here := inv.volumes[v.id].instances[environment.id]; here {
			facts = append(facts, broker.Fact{About: "volume/" + v.name, Text: inv.saysVolume(inv.volumes[v.id]), At: inv.at})
		}
	}
	return facts, nil
}
