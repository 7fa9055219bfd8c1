package supabase

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// Settings is the body of a `supabase:` target in an environment's file.
type Settings struct {
	Token   string `yaml:"token"`   // reference to a personal access token
	Project string `yaml:"project"` // its ref: 20 letters, as in https://<ref>.supabase.co
}

// Config is what a Provider depends on. Token, Client and Now are required.
type Config struct {
	Settings Settings
	Token    broker.Secret
	Client   *http.Client // its redirect policy is not used
	Now      func() time.Time
	Base     string // of the API; empty: https://api.supabase.com
}

// Provider asks Supabase about one project. It is safe for concurrent use.
type Provider struct {
	config Config
	client *http.Client

	mu     sync.Mutex
	memory map[string]remembered // by path
}

var (
	_ gateway.Provider = (*Provider)(nil)
	_ gateway.Finder   = (*Provider)(nil)
)

var (
	refPattern    = regexp.MustCompile(`^[a-z]{20}$`)
	branchPattern = regexp.MustCompile(`^[a-z0-9-]{1,64}$`) // a ref, or an id (a UUID)
)

// Open makes the provider of one target. It asks nobody.
func Open(config Config) (*Provider, error) {
	if config.Client == nil || config.Now == nil || config.Token.IsZero() {
		return nil, broker.Errorf(broker.CodeInternal, "supabase: Config wants Token, Client and Now")
	}
	if !refPattern.MatchString(config.Settings.Project) {
		return nil, broker.Errorf(broker.CodeInvalid, "supabase: project must be a project's ref: 20 small letters, as in https://REF.supabase.co").WithField("project")
	}
	config.Base = cmp.Or(config.Base, "https://"+mainHost)
	client := *config.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Provider{config: config, client: &client, memory: map[string]remembered{}}, nil
}

// Identify asks whether the project is there. Its ref is never another project's.
func (p *Provider) Identify(ctx context.Context) (broker.Identity, error) {
	found, err := p.look(true).home(ctx)
	if err != nil {
		return broker.Identity{}, err
	}
	return broker.Identity{ID: identity(found.Ref), Shown: fmt.Sprintf("project %s (%s) in %s", found.Name, found.Ref, found.Region)}, nil
}

// home is the target's own project.
func (l *looking) home(ctx context.Context) (project, error) {
	found, err := l.project(ctx, l.config.Settings.Project)
	if errors.Is(err, errAbsent) {
		err = broker.Errorf(broker.CodeConflict, "Supabase shows no project %s to the broker's token", l.config.Settings.Project).WithField("project")
	}
	return found, err
}

func identity(ref string) string { return Kind + ":" + ref }

// Inventory tells what the project is, which branches it has and what it could be restored from.
func (p *Provider) Inventory(ctx context.Context) ([]broker.Fact, error) {
	l := p.look(false)
	found, err := l.home(ctx)
	if err != nil {
		return nil, err
	}
	about, now := string(found.resources()[0]), p.config.Now().UTC()
	facts := []broker.Fact{{About: about, Text: found.Name + ", " + found.Region + ", " + strings.ToLower(found.Status), At: now}}
	branches, err := l.branches(ctx, found.Ref)
	if err != nil {
		return nil, err
	}
	if others := branches.besides(found.Ref); len(others) > 0 {
		facts = append(facts, broker.Fact{About: about, Text: "its branches: " + strings.Join(others, ", "), At: now})
	}
	backups, err := l.backups(ctx, found.Ref)
	if err != nil {
		return nil, err
	}
	return append(facts, broker.Fact{About: about, Text: backups, At: now}), nil
}

// backups says in words what the project could be restored from.
func (l *looking) backups(ctx context.Context, ref string) (string, error) {
	var answer struct {
		PITR    bool       `json:"pitr_enabled"`
		Backups []struct{} `json:"backups"`
	}
	err := l.get(ctx, "/v1/projects/"+ref+"/database/backups", &answer)
	switch {
	case errors.Is(err, errAbsent):
		return "the broker's token may not see its backups", nil
	case err != nil:
		return "", err
	case answer.PITR:
		return fmt.Sprintf("%d backups, and it can be restored to any point of the last days", len(answer.Backups)), nil
	case len(answer.Backups) == 0:
		return "it has no backup", nil
	}
	return fmt.Sprintf("%d backups, no restore to a point in time", len(answer.Backups)), nil
}

// Sight keeps lists of projects to the target's own.
func (p *Provider) Sight() judge.Sight {
	own := p.config.Settings.Project
	return judge.Sight{Environment: own, Project: own, Keeps: func(kind, id string) bool { return kind == kindProject && id == own }}
}

// Attach puts the real token into a header.
func (p *Provider) Attach(header http.Header) {
	header.Set("Authorization", "Bearer "+p.config.Token.Reveal())
}

// Base is where requests go.
func (p *Provider) Base() string { return p.config.Base }
