package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// How long the groups that a single sign-on brought hold.
const (
	SignedOnFor = 12 * time.Hour                        // to sign anything
	countsFor   = SignedOnFor + PendingFor + CollectFor // an approval given in time still counts when it is collected
	awayFor     = 30 * 24 * time.Hour                   // who signed on that long ago may be waited for
)

// Account is who a single sign-on says somebody is, verified, in our words.
type Account struct {
	Issuer  string   `json:"issuer"` // OpenID Connect core, section 2: with Subject it names the account for good
	Subject string   `json:"subject"`
	Email   string   `json:"email"`  // verified
	Name    string   `json:"name"`   // of the human, as the configuration derives it
	Groups  []string `json:"groups"` // ours, mapped
}

// Login ties a human to one account of a single sign-on and keeps the groups that it last brought.
type Login struct {
	Human   string    `json:"human"`
	Issuer  string    `json:"issuer"`
	Subject string    `json:"subject"`
	Email   string    `json:"email"`
	Groups  []string  `json:"groups"`
	First   time.Time `json:"first"`
	At      time.Time `json:"at"` // the last sign-on
}

// Meta places logins by human, and by account.
func (l *Login) Meta() Meta {
	return Meta{Kind: "login", Key: l.Human, Format: 1, Index: []Entry{{Name: "account/" + accountID(l.Issuer, l.Subject)}}}
}

func accountID(issuer, subject string) string {
	return digest("hourkey/account/1", [2]string{issuer, subject})
}

// SignedOn takes what a single sign-on brought. The first contact binds the account to the human's name
// for good. A name that is taken is bound only when linking, the human who is signed in with a passkey
// in the same browser, is that human (the attack: an account is made at the provider that is called like
// a reviewer here). No groups are an answer too: the human loses those of before.
func (b *Broker) SignedOn(ctx context.Context, account Account, linking string) (login Login, err error) {
	if err := account.validate(); err != nil {
		return Login{}, err
	}
	handle := make([]byte, 32)
	if _, err := io.ReadFull(b.random, handle); err != nil {
		return Login{}, fmt.Errorf("reading random bytes: %w", err)
	}
	var refusal error
	err = b.update(ctx, func(tx Tx) error {
		login, refusal = bind(tx, account, linking, Human{Name: account.Name, Handle: handle, Created: b.now()})
		if _, ours := errors.AsType[*Error](refusal); ours {
			return b.append(tx, EventSignOnRefused, actorSignOn, account.Name, refusedSignOn{account, messageOf(refusal)})
		}
		if refusal != nil {
			return refusal
		}
		login.Email, login.Groups, login.At = account.Email, account.Groups, b.now()
		if login.First.IsZero() {
			login.First = login.At
		}
		if err := tx.Save(&login); err != nil {
			return err
		}
		return b.append(tx, EventSignedOn, "human:"+login.Human, login.Human, login)
	})
	if err = errors.Join(err, refusal); err != nil {
		return Login{}, err
	}
	if err := b.readLogins(ctx); err != nil {
		return Login{}, err
	}
	if len(login.Groups) == 0 {
		return login, noGroup()
	}
	return login, nil
}

func noGroup() *Error {
	return Errorf(CodeForbidden, "none of your groups is let in here").WithNext("ask an operator which group you should be in")
}

// actorSignOn is the actor of what an account does that is nobody here: its name may be somebody else's.
const actorSignOn = "single-sign-on"

// refusedSignOn is the data of EventSignOnRefused.
type refusedSignOn struct {
	Account Account `json:"account"`
	Refusal string  `json:"refusal"`
}

func (a Account) validate() error {
	switch {
	case a.Issuer == "" || a.Subject == "" || len(a.Issuer)+len(a.Subject)+len(a.Email) > 2000:
		return Errorf(CodeForbidden, "the single sign-on did not say who you are")
	case !IsName(a.Name):
		return Errorf(CodeForbidden, "the single sign-on gives you the name %q, which cannot be one here", clip(a.Name)).WithNext("ask an operator to look at sso in hourkey.yaml")
	case slices.ContainsFunc(a.Groups, func(group string) bool { return !IsName(group) }):
		return Errorf(CodeInvalid, "a group of the single sign-on is no name here").WithField("groups")
	}
	return nil
}

// bind finds the account's human, or makes one.
func bind(tx Tx, account Account, linking string, newcomer Human) (Login, error) {
	known, err := list[Login](tx, "login", "account/"+accountID(account.Issuer, account.Subject))
	if err != nil {
		return Login{}, err
	}
	if len(known) > 0 {
		if linking != "" && linking != known[0].Human {
			return Login{}, Errorf(CodeConflict, "this account belongs to %s, and you are signed in as %s", known[0].Human, linking).WithNext("sign out first")
		}
		return known[0], nil
	}
	if len(account.Groups) == 0 {
		return Login{}, noGroup()
	}
	// Whoever shows the passkey may move to another account: the provider changed, or was replaced.
	if found, err := load(tx, &Login{Human: account.Name}); err != nil || found && linking != account.Name {
		return Login{}, errors.Join(err, Errorf(CodeConflict, "the name %s belongs to another account of the single sign-on", account.Name).
			WithNext("sign in with your passkey first, then connect this account from your own page; two people need two names"))
	}
	found, err := load(tx, &Human{Name: account.Name})
	switch {
	case err != nil:
		return Login{}, err
	case found && linking != account.Name:
		return Login{}, Errorf(CodeConflict, "%s is known here already, and not by this account", account.Name).
			WithNext("sign in with your passkey first, then connect single sign-on from your own page; who was invited and has none makes it with the code of the invite")
	case !found && linking != "":
		return Login{}, Errorf(CodeConflict, "this account would be %s, and you are signed in as %s", account.Name, linking).WithNext("sign out first")
	case !found:
		err = tx.Save(&newcomer)
	}
	return Login{Human: account.Name, Issuer: account.Issuer, Subject: account.Subject}, err
}

// Login gives the single sign-on of a human, if there ever was one.
func (b *Broker) Login(ctx context.Context, human string) (login Login, found bool, err error) {
	login.Human = human
	err = b.store.View(ctx, func(r Reader) (err error) {
		found, err = load(r, &login)
		return err
	})
	return login, found, err
}

// readLogins remembers what groups people brought, for Configuration. One at a time: of two sign-ons at once the
// one that read first must not be kept last, or a group that was taken away would live on.
func (b *Broker) readLogins(ctx context.Context) error {
	b.reading.Lock()
	defer b.reading.Unlock()
	logins, err := listAll[Login](ctx, b, "login")
	if err != nil {
		return err
	}
	b.logins.Store(&logins)
	b.age.Add(1)
	return nil
}

// merged is a configuration with people's groups in it, until the first of them are over.
type merged struct {
	files         *Configuration // of which it was made
	logins        *[]Login
	configuration *Configuration
	from, until   time.Time
}

// Configuration is the one now in force: what the files say, and who is in which group by single sign-on.
// Groups of a sign-on count a little longer than they let sign (see canSign).
func (b *Broker) Configuration() *Configuration { return b.withLogins(&b.merged, countsFor) }

// canSign is the configuration by which somebody may sign something now.
func (b *Broker) canSign() *Configuration { return b.withLogins(&b.acting, SignedOnFor) }

// MustSignOn tells whether groups of this human, by which something could be signed, wait for a fresh single sign-on.
func (b *Broker) MustSignOn(human string) bool { return b.canSign().isAway(human) }

func (b *Broker) withLogins(kept *atomic.Pointer[merged], valid time.Duration) *Configuration {
	files, logins := b.files.Load(), b.logins.Load()
	if logins == nil || len(*logins) == 0 || files.SignOn == nil {
		return files
	}
	now := b.now()
	if m := kept.Load(); m != nil && m.files == files && m.logins == logins && !now.Before(m.from) && now.Before(m.until) {
		return m.configuration
	}
	m := merge(files, logins, valid, now)
	kept.Store(m)
	return m.configuration
}

// merge adds the groups of those who signed on within valid. A sign-on of the future, under a clock that
// was set back, counts for nothing until the clock is there again.
func merge(files *Configuration, logins *[]Login, valid time.Duration, now time.Time) *merged {
	m := &merged{files: files, logins: logins, from: now, until: now.Add(valid)}
	config := *files
	config.Groups, config.Away, config.Lapsed = maps.Clone(files.Groups), map[string][]string{}, map[string][]string{}
	if config.Groups == nil {
		config.Groups = map[string][]string{}
	}
	add := func(to map[string][]string, login Login) {
		for _, group := range login.Groups {
			if slices.Contains(files.SignOn.Groups, group) && !slices.Contains(config.Groups[group], login.Human) {
				to[group] = append(slices.Clip(to[group]), login.Human)
			}
		}
	}
	for _, login := range *logins {
		age := now.Sub(login.At)
		if login.Issuer != files.SignOn.Issuer {
			continue
		}
		if age >= 0 && age < valid {
			add(config.Groups, login)
			m.until = earlier(m.until, login.At.Add(valid))
			continue
		}
		add(config.Lapsed, login)
		switch {
		case age < 0:
			m.until = earlier(m.until, login.At)
		case age < awayFor:
			add(config.Away, login)
		}
	}
	m.configuration = &config
	return m
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
