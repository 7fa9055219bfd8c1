package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// Config is what a Provider depends on. All of it is required.
type Config struct {
	Settings Settings
	Token    broker.Secret
	Client   *http.Client // its redirect policy is not used
	Now      func() time.Time
}

// Provider asks GitHub about one target. It is safe for concurrent use.
type Provider struct {
	config Config
	base   *url.URL
	client *http.Client

	mu     sync.Mutex
	memory map[string]remembered // by path
}

var (
	_ gateway.Provider = (*Provider)(nil)
	_ gateway.Finder   = (*Provider)(nil)
)

// Open makes the provider of one target. It asks nobody.
func Open(config Config) (*Provider, error) {
	if config.Client == nil || config.Now == nil || config.Token.IsZero() {
		return nil, broker.Errorf(broker.CodeInternal, "github: Config wants Token, Client and Now")
	}
	if err := config.Settings.check(); err != nil {
		return nil, err
	}
	base, err := config.Settings.base()
	if err != nil {
		return nil, err
	}
	client := *config.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Provider{config: config, base: base, client: &client, memory: map[string]remembered{}}, nil
}

// environment is the list of repositories of the settings, as GitHub knows them.
type environment struct {
	identity broker.Identity
	ids      []int64 // sorted
}

// Identify asks for each repository of the list which one it is now.
func (p *Provider) Identify(ctx context.Context) (broker.Identity, error) {
	found, err := p.look(true).environment(ctx)
	return found.identity, err
}

// environment makes one identity of the repositories' numbers: names can be given to another repository.
func (l *looking) environment(ctx context.Context) (environment, error) {
	var found environment
	var names []string
	for _, name := range l.config.Settings.Repositories {
		repo, err := l.repository(ctx, name)
		var moved *renamedError
		switch {
		case errors.As(err, &moved):
			return environment{}, broker.Errorf(broker.CodeConflict, "the repository %s of the settings has moved: GitHub calls it %s now", name, moved.now).
				WithField("repositories").WithNext("ask an operator to look whether it is still the one that is meant, and to name it so")
		case errors.Is(err, errAbsent):
			return environment{}, broker.Errorf(broker.CodeConflict, "GitHub shows no repository %s to the broker's token", name).WithField("repositories")
		case err != nil:
			return environment{}, err
		}
		found.ids = append(found.ids, repo.ID)
		names = append(names, repo.FullName)
	}
	slices.Sort(found.ids)
	if twice := slices.Compact(slices.Clone(found.ids)); len(twice) != len(found.ids) {
		return environment{}, broker.Errorf(broker.CodeConflict, "two names in the settings are one repository at GitHub").WithField("repositories")
	}
	found.identity = broker.Identity{ID: l.identity(found.ids...), Shown: l.shown(names)}
	if len(found.ids) > 1 {
		parts := make([]string, len(found.ids))
		for at, id := range found.ids {
			parts[at] = l.identity(id)
		}
		found.identity.Parts = strings.Join(parts, " ")
	}
	return found, nil
}

// identity is "github:1296269+1296270"; at another server its name stands before the numbers.
func (p *Provider) identity(ids ...int64) string {
	texts := make([]string, len(ids))
	for at, id := range ids {
		texts[at] = strconv.FormatInt(id, 10)
	}
	return Kind + ":" + p.server() + strings.Join(texts, "+")
}

func (p *Provider) server() string {
	if p.base.Host == mainHost {
		return ""
	}
	return p.base.Host + "/"
}

func (p *Provider) shown(names []string) string {
	word := "repositories "
	if len(names) == 1 {
		word = "repository "
	}
	const most = 8
	if len(names) > most {
		names = append(slices.Clone(names[:most]), fmt.Sprintf("and %d more", len(names)-most))
	}
	text := word + strings.Join(names, ", ")
	if p.base.Host != mainHost {
		text += " at " + p.base.Host
	}
	return text
}

// Sight keeps lists of repositories to those of the settings.
func (p *Provider) Sight() judge.Sight {
	return judge.Sight{Keeps: func(kind, id string) bool {
		return kind == kindRepo && slices.ContainsFunc(p.config.Settings.Repositories, func(name string) bool { return strings.EqualFold(name, id) })
	}}
}

// Attach puts the real token into a header.
func (p *Provider) Attach(header http.Header) {
	header.Set("Authorization", "Bearer "+p.config.Token.Reveal())
}

// Base is where requests go; an Enterprise Server's path is in what its pack sends.
func (p *Provider) Base() string {
	return (&url.URL{Scheme: p.base.Scheme, Host: p.base.Host}).String()
}
