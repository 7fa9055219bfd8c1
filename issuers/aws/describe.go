package aws

import (
	"context"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Describe looks up what a write could lose, and says what would be issued. CodeWall where the provider does not hold
// its walls, CodeInvalid or CodeDenied where what is asked cannot be given.
func (i *Issuer) Describe(ctx context.Context, wish broker.Wish) (broker.Description, error) {
	ttl, err := i.lifetime(wish.TTL)
	if err != nil {
		return broker.Description{}, err
	}
	grants, err := i.resolve(wish.Scopes)
	if err != nil {
		return broker.Description{}, err
	}
	seen, err := i.look(ctx)
	if err != nil {
		return broker.Description{}, i.fault(lookingAtRole, err)
	}
	losses, err := i.losses(ctx, seen, grants)
	if err != nil {
		i.forget()
		return broker.Description{}, i.fault("asking what a write could lose", err)
	}
	lines := i.sessionPolicy(grants).lines()
	if _, err := i.document(lines); err != nil {
		return broker.Description{}, err
	}
	return broker.Description{
		Identity: seen.identity.ID, Scopes: i.scopes(grants), Reaches: []string{i.config.Ref.Environment},
		Native: i.native(lines), Walls: i.walls(grants, losses), Exceptions: i.exceptions(grants),
		TTL: ttl, Ends: i.ends(), Facts: i.facts(losses),
	}, nil
}

// lifetime is the TTL of a wish: none asked for is the hour.
func (i *Issuer) lifetime(asked time.Duration) (time.Duration, error) {
	switch {
	case asked == 0:
		return broker.Hour, nil
	case asked < i.floor:
		return 0, broker.Errorf(broker.CodeInvalid, "a lease at %s lives at least %s, not %s", i.config.Ref, i.floor, asked).WithField("ttl")
	case asked > broker.Hour:
		return 0, broker.Errorf(broker.CodeInvalid, "no key outlives the hour: %s is longer", asked).WithField("ttl")
	}
	return asked, nil
}

// native is the call of STS as it will be made, with the lines of its policy: Issue makes it again and compares.
func (i *Issuer) native(lines []string) []string {
	call := []string{
		"sts:AssumeRole " + i.role.arn,
		"session name and source identity: {lease}; tags: " + tagAgent + " and " + tagTask + " as of the request",
	}
	if i.isCompatible() {
		call = []string{"sts:AssumeRole at " + i.config.Settings.Endpoint + ", as the broker's user there"}
	}
	return append(call, lines...)
}

// exceptions are the locks that this lease may remove.
func (i *Issuer) exceptions(grants []grant) []broker.Exception {
	var list []broker.Exception
	for _, l := range i.activeLocks(grants) {
		list = append(list, broker.Exception{Object: "deleting " + l.setting.Object, Why: l.setting.Why})
	}
	return list
}

// facts are what was looked up, with its time: it may be otherwise later.
func (i *Issuer) facts(losses []loss) []broker.Fact {
	facts := make([]broker.Fact, 0, len(losses))
	for _, l := range losses {
		facts = append(facts, broker.Fact{About: l.place, Text: l.how, At: i.config.Now().UTC()})
	}
	return facts
}
