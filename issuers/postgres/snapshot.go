package postgres

import (
	"context"
	_ "embed" // the statement of the wall audit
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
)

//go:embed snapshot.sql
var snapshotSQL string

type oid uint32

// UnmarshalJSON reads a number as PostgreSQL writes an oid in JSON: in quotes, or without.
func (o *oid) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseUint(strings.Trim(string(text), `"`), 10, 32)
	*o = oid(n)
	return err
}

// snapshot is one look at the catalogs: snapshot.sql says what each part is.
type snapshot struct {
	System        string         `json:"system"`
	DatabaseOID   oid            `json:"database_oid"`
	Database      string         `json:"database"`
	Now           time.Time      `json:"now"`     // the server's clock
	Version       int            `json:"version"` // 150018 is 15.18
	Standby       bool           `json:"standby"`
	TLS           bool           `json:"tls"` // the server can speak it
	Admin         admin          `json:"admin"`
	Relations     []relation     `json:"relations"`
	Sequences     []sequence     `json:"sequences"`
	Inherits      []inheritance  `json:"inherits"`
	References    []reference    `json:"references"`
	Triggers      []trigger      `json:"triggers"`
	Rules         []rule         `json:"rules"`
	Databases     []string       `json:"databases"` // others that PUBLIC may connect to
	CreateSchema  bool           `json:"database_create"`
	Temporary     bool           `json:"database_temp"`
	CreateIn      []string       `json:"schemas_create"`
	Functions     []function     `json:"functions"`
	EventTriggers []eventTrigger `json:"event_triggers"`
	Public        []publicGrant  `json:"public"`
	Parameters    []string       `json:"parameters"`
	Servers       []string       `json:"servers"`
	Wrappers      []string       `json:"wrappers"`
	Defaults      []string       `json:"defaults"` // roles whose future tables PUBLIC gets rights on
	LargeObjects  bool           `json:"large_objects"`

	byOID map[oid]relation // of Relations
}

// admin is what the admin login is and may do.
type admin struct {
	Name           string `json:"name"`
	Superuser      bool   `json:"superuser"`
	CreateRole     bool   `json:"createrole"`
	BypassRLS      bool   `json:"bypassrls"`
	Replication    bool   `json:"replication"`
	OwnerExists    bool   `json:"owner_exists"`
	OwnerSuperuser bool   `json:"owner_superuser"`
	OwnerMember    bool   `json:"owner_member"`
	Connect        bool   `json:"connect"` // may grant CONNECT
}

type relation struct {
	OID       oid      `json:"oid"`
	Schema    string   `json:"schema"`
	Name      string   `json:"name"`
	Kind      string   `json:"kind"` // pg_class.relkind
	Partition bool     `json:"partition"`
	Owner     string   `json:"owner"`
	Wanted    bool     `json:"wanted"`    // false: only reached from a wanted one
	Invoker   bool     `json:"invoker"`   // a view that reads with the caller's rights
	Usage     bool     `json:"usage"`     // the admin may grant USAGE on its schema
	Grantable []string `json:"grantable"` // privileges that the admin may grant
}

// resource is how scopes name the relation.
func (r relation) resource() string { return r.Schema + "." + r.Name }

func (r relation) quoted() string { return pgx.Identifier{r.Schema, r.Name}.Sanitize() }

// isTable tells what a prefix stands for: ordinary and partitioned tables.
func (r relation) isTable() bool { return r.Kind == kindTable || r.Kind == kindPartitioned }

type sequence struct {
	Table     oid    `json:"table"`
	Schema    string `json:"schema"`
	Name      string `json:"name"`
	Usage     bool   `json:"usage"`
	Grantable bool   `json:"grantable"`
}

func (s sequence) quoted() string { return pgx.Identifier{s.Schema, s.Name}.Sanitize() }

type inheritance struct {
	Parent oid `json:"parent"`
	Child  oid `json:"child"`
}

// reference is a foreign key whose action changes the referring table.
type reference struct {
	To         oid    `json:"to"`     // the table referred to: changing it …
	From       oid    `json:"from"`   // … changes this one
	Update     string `json:"update"` // pg_constraint.confupdtype: c cascade, n set null, d set default
	Delete     string `json:"delete"`
	Top        oid    `json:"top"` // the referring table, at the top of its partitions
	Name       string `json:"name"`
	Schema     string `json:"schema"` // of the referring table, at the top of its partitions
	Table      string `json:"table"`
	Definition string `json:"definition"`
}

type trigger struct {
	Table    oid    `json:"table"`
	Name     string `json:"name"`
	Events   int    `json:"events"` // pg_trigger.tgtype
	Definer  bool   `json:"definer"`
	Function string `json:"function"` // quoted, with its arguments
}

type rule struct {
	Table oid    `json:"table"`
	Name  string `json:"name"`
	Event string `json:"event"` // pg_rewrite.ev_type: 2 update, 3 insert, 4 delete
}

type function struct {
	Name    string `json:"name"` // quoted, with its arguments
	Schema  string `json:"schema"`
	Usage   bool   `json:"usage"`   // PUBLIC may use the schema
	Used    bool   `json:"used"`    // something else than a trigger calls it, for which nobody names the schema
	Definer bool   `json:"definer"` // false: a system function that is closed by default
}

type eventTrigger struct {
	Name     string `json:"name"`
	Function string `json:"function"`
}

// publicGrant is what PUBLIC may do to a relation beyond what PostgreSQL comes with.
type publicGrant struct {
	OID        oid      `json:"oid"`
	Schema     string   `json:"schema"`
	Name       string   `json:"name"`
	Kind       string   `json:"kind"`
	Usage      bool     `json:"usage"`
	Extension  bool     `json:"extension"` // it belongs to an extension
	Privileges []string `json:"privileges"`
}

// querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// rowsQuerier is a connection.
type rowsQuerier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// look takes the snapshot for the resources of scopes, in one round trip.
func look(ctx context.Context, on querier, scopes []broker.Scope, owner string) (*snapshot, error) {
	literals, stems := []string{}, []string{}
	for _, scope := range scopes {
		if scope.Resource.IsPrefix() {
			stems = append(stems, scope.Resource.Stem())
		} else {
			literals = append(literals, string(scope.Resource))
		}
	}
	var document []byte
	if err := on.QueryRow(ctx, snapshotSQL, literals, stems, owner).Scan(&document); err != nil {
		return nil, fmt.Errorf("auditing the walls: %w", err)
	}
	var seen snapshot
	if err := json.Unmarshal(document, &seen); err != nil {
		return nil, fmt.Errorf("reading the wall audit: %w", err)
	}
	if seen.System == "" || seen.DatabaseOID == 0 || seen.Now.IsZero() {
		return nil, fmt.Errorf("reading the wall audit: the server did not say who it is")
	}
	seen.byOID = make(map[oid]relation, len(seen.Relations))
	for _, r := range seen.Relations {
		seen.byOID[r.OID] = r
	}
	return &seen, nil
}

// identity pins the cluster, the database and its oid: a database that was dropped and made anew under
// the same name is another one.
func (s *snapshot) identity() string {
	return fmt.Sprintf("postgres:%s/%d/%s", s.System, s.DatabaseOID, s.Database)
}

// release gives the server's version as people write it.
func (s *snapshot) release() string { return fmt.Sprintf("%d.%d", s.Version/10000, s.Version%10000) }

// quote gives an identifier as SQL wants it.
func quote(identifier string) string { return pgx.Identifier{identifier}.Sanitize() }

// literal gives a text as SQL wants it, whatever standard_conforming_strings says.
func literal(text string) string {
	if strings.Contains(text, `\`) {
		return ` E'` + strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), `'`, `''`) + `'`
	}
	return `'` + strings.ReplaceAll(text, `'`, `''`) + `'`
}
