package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Describe audits the walls and says what would be issued. CodeWall where a wall is missing, CodeInvalid where
// what is asked cannot be granted.
func (i *Issuer) Describe(ctx context.Context, wish broker.Wish) (broker.Description, error) {
	ttl, err := lifetime(wish.TTL)
	if err != nil {
		return broker.Description{}, err
	}
	conn, err := i.pool.acquire(ctx)
	if err != nil {
		return broker.Description{}, i.fault("connecting", err)
	}
	defer i.pool.release(conn)
	a, err := i.audit(ctx, conn, wish.Scopes)
	if err != nil {
		return broker.Description{}, i.fault("auditing the walls", err)
	}
	d := i.description(a, ttl)
	if d.Facts, err = i.facts(ctx, conn, a); err != nil {
		return broker.Description{}, i.fault("counting rows", err)
	}
	return d, nil
}

// lifetime is the TTL of a wish: none asked for is the hour.
func lifetime(asked time.Duration) (time.Duration, error) {
	switch {
	case asked == 0:
		return broker.Hour, nil
	case asked < ttlFloor:
		return 0, broker.Errorf(broker.CodeInvalid, "a lease at PostgreSQL lives at least %s, not %s", ttlFloor, asked).WithField("ttl")
	case asked > broker.Hour:
		return 0, broker.Errorf(broker.CodeInvalid, "no key outlives the hour: %s is longer", asked).WithField("ttl")
	}
	return asked, nil
}

// audited is what one audit found for what was asked, with no wall missing.
type audited struct {
	seen       *snapshot
	grants     []grant
	warnings   []broker.Finding
	exceptions []broker.Exception
}

// audit looks at the catalogs and judges. on may be a transaction.
func (i *Issuer) audit(ctx context.Context, on querier, scopes []broker.Scope) (*audited, error) {
	seen, err := look(ctx, on, scopes, i.config.Settings.Owner)
	if err != nil {
		return nil, err
	}
	grants, err := i.resolve(seen, scopes)
	if err != nil {
		return nil, err
	}
	p, err := i.probe(ctx, seen, false)
	if err != nil {
		return nil, err
	}
	refusals, warnings, exceptions := i.weigh(i.judge(seen, p, grants))
	if len(refusals) > 0 {
		return nil, i.wallError(refusals)
	}
	return &audited{seen, grants, warnings, exceptions}, nil
}

// description is a pure function of the audit: Issue makes it again and compares.
func (i *Issuer) description(a *audited, ttl time.Duration) broker.Description {
	return broker.Description{
		Identity: a.seen.identity(), Scopes: i.scopes(a.grants), Reaches: []string{i.config.Ref.Environment},
		Native: i.statements(a.seen, a.grants, shownRole), Walls: i.walls(a), Exceptions: a.exceptions,
		TTL: ttl, Ends: ends,
	}
}

// walls says what stops what, the weak and missing ones included.
func (i *Issuer) walls(a *audited) []broker.WallFact {
	all := broker.AllActions(i.scopes(a.grants))
	facts := []broker.WallFact{
		{Stops: "another database of the server", Wall: broker.WallNative, How: "CONNECT is granted on " + a.seen.Database + " alone"},
		{Stops: "tables that are not named", Wall: broker.WallNative, How: "the role is a member of nothing, and PUBLIC has no rights on them; tables born later are not included"},
		{Stops: "DROP, ALTER and every other DDL", Wall: broker.WallNative, How: "they want ownership; the role owns nothing"},
		{Stops: "use without the key", Wall: broker.WallNative, How: "the server refused a wrong password, over the broker's own way to it"},
	}
	if !all.Has(broker.Delete) {
		facts = append(facts, broker.WallFact{Stops: "DELETE and TRUNCATE", Wall: broker.WallNative, How: "they are not granted"})
	}
	if all.Has(broker.Write) {
		facts = append(facts, broker.WallFact{Stops: "blanking or overwriting rows", Wall: broker.WallNone, How: "UPDATE can change every row of a granted table"})
	}
	if all&(broker.Write|broker.Delete) != 0 {
		facts = append(facts, broker.WallFact{Stops: "blocking others by LOCK TABLE", Wall: broker.WallNone, How: "who may change a table may lock it, until the lease ends"})
	}
	facts = append(facts,
		broker.WallFact{Stops: "login after the end", Wall: broker.WallNative, How: "VALID UNTIL, by the server's clock"},
		broker.WallFact{Stops: "an open session after the TTL", Wall: broker.WallWeak, How: "the broker terminates it when the lease ends: not while no broker runs"},
		broker.WallFact{Stops: "messages and advisory locks", Wall: broker.WallNone, How: "every role may LISTEN, NOTIFY and take any advisory lock of the database, the application's too"},
		broker.WallFact{Stops: "large objects of its own", Wall: broker.WallNone, How: "every role may make them; they go to " + i.config.Settings.Owner + " at the end"},
	)
	if parts := follow(a.seen, a.grants).partitions(); len(parts) > 0 {
		facts = append(facts, broker.WallFact{Stops: "the partitions of a named table", Wall: broker.WallNone, How: "they are part of it: " + strings.Join(parts, ", ")})
	}
	for _, w := range a.warnings {
		facts = append(facts, broker.WallFact{Stops: w.Object, Wall: broker.WallWeak, How: w.Problem})
	}
	for _, e := range a.exceptions {
		facts = append(facts, broker.WallFact{Stops: e.Object, Wall: broker.WallNone, How: "accepted by the configuration: " + e.Why})
	}
	return facts
}

// The size wants a lock that others can hold (LOCK TABLE): it is not waited for. The setting ends with the statement.
const factsSQL = `
SELECT c.oid, c.size, c.rows
FROM (SELECT set_config('lock_timeout', '200ms', true) AS wait OFFSET 0) AS s, LATERAL (
	SELECT c.oid, pg_total_relation_size(c.oid) AS size, c.reltuples::float8 AS rows
	FROM pg_class c WHERE c.oid = ANY ($1::oid[]) AND s.wait IS NOT NULL OFFSET 0) AS c`

// facts gives size and estimated rows of what is granted, for the reviewer's eyes.
func (i *Issuer) facts(ctx context.Context, on rowsQuerier, a *audited) ([]broker.Fact, error) {
	wanted := make([]uint32, len(a.grants))
	names := map[uint32]string{}
	for at, g := range a.grants {
		wanted[at] = uint32(g.OID)
		names[uint32(g.OID)] = g.resource()
	}
	rows, err := on.Query(ctx, factsSQL, wanted)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	texts := map[string]string{}
	for rows.Next() {
		var table uint32
		var size *int64 // of a table that was dropped at this moment: null
		var count float64
		if err := rows.Scan(&table, &size, &count); err != nil {
			return nil, err
		}
		texts[names[table]] = sizeText(size, count)
	}
	facts := make([]broker.Fact, 0, len(texts))
	for _, g := range a.grants {
		if text := texts[g.resource()]; text != "" {
			facts = append(facts, broker.Fact{About: g.resource(), Text: text, At: i.config.Now().UTC()})
		}
	}
	if stateOf(rows.Err()) == stateLockNotAvailable {
		return []broker.Fact{{About: a.grants[0].resource(), Text: "sizes not known: somebody holds a lock on a table", At: i.config.Now().UTC()}}, nil
	}
	return facts, rows.Err()
}

// sizeText writes a size and an estimate. reltuples is negative for a table that was never analysed.
func sizeText(size *int64, rows float64) string {
	text := "rows not counted yet"
	if rows >= 0 {
		text = fmt.Sprintf("about %.0f rows", rows)
	}
	if size == nil {
		return text
	}
	switch kib := *size / 1024; {
	case kib < 10*1024:
		return fmt.Sprintf("%s, %d KiB", text, kib)
	case kib < 10*1024*1024:
		return fmt.Sprintf("%s, %d MiB", text, kib/1024)
	default:
		return fmt.Sprintf("%s, %d GiB", text, kib/1024/1024)
	}
}
