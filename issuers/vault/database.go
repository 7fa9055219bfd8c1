package vault

import (
	"cmp"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// databaseEngine gives out logins of a database. At PostgreSQL the creation statements are judged.
type databaseEngine struct{}

const pluginPostgres = "postgresql-database-plugin"

// connection is one connection of a database engine, without its password.
type connection struct {
	plugin   string
	place    *url.URL // without user and password; nil where its address has no form that is known here
	template string   // of the logins' names; empty: Vault's own
}

func (databaseEngine) traits() traits {
	return traits{
		mounted: "database", leases: true, early: true, floor: ttlFloor,
		ends: "At the TTL by Vault's own clock, whether or not a broker runs; earlier, when the broker revokes the lease, and Vault has said that it is done. " +
			"Vault ends it at the database by the role's revocation statements: while the database is down, it tries again.",
	}
}

// paths are the offers' roles and the connection.
func (databaseEngine) paths(s Settings) []string {
	list := []string{connectionPath(s)}
	for _, offer := range s.Offers {
		list = append(list, rolePath(s, offer))
	}
	return list
}

func connectionPath(s Settings) string { return s.Mount + "/config/" + s.Connection }

func rolePath(s Settings, offer Offer) string { return s.Mount + "/roles/" + offer.Role }

// connection reads the target's connection.
func (i *Issuer) connection(read papers) (connection, error) {
	s := i.config.Settings
	data, err := read.at(connectionPath(s))
	if err != nil {
		return connection{}, i.fault("reading the connection "+s.Connection, err)
	}
	plugin, _ := data["plugin_name"].(string)
	details, _ := data["connection_details"].(map[string]any)
	address, _ := details["connection_url"].(string)
	template, _ := details["username_template"].(string)
	place := placeOf(address)
	if plugin == pluginPostgres && place == nil {
		return connection{}, broker.Errorf(broker.CodeWall, "%s: the address of connection %s cannot be read, so nobody could tell which database it is", i.config.Ref, s.Connection).
			WithNext("write connection_url as postgresql://{{username}}:{{password}}@host:5432/database, with ?%s at most", strings.Join(harmlessParameters(), ", "))
	}
	return connection{plugin: plugin, place: place, template: template}, nil
}

// harmlessParameters of an address do not lead it elsewhere. Others do: host, port and dbname of the query go before those
// that stand at the address's beginning.
func harmlessParameters() []string {
	return []string{"sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name"}
}

// placeOf gives host, port and database of a connection's address, nil if it is none.
func placeOf(address string) *url.URL {
	const inPlace = "hourkey-in-place" // of the templates, which must not be in host or database
	at, err := url.Parse(strings.NewReplacer("{{username}}", inPlace, "{{name}}", inPlace, "{{password}}", inPlace).Replace(address))
	if err != nil || at.Hostname() == "" || len(at.Path) < 2 || strings.ContainsAny(at.Host, ",{}") || strings.Contains(at.Host+at.Path, inPlace) || at.Scheme != "postgres" && at.Scheme != "postgresql" {
		return nil
	}
	for name := range at.Query() {
		if !slices.Contains(harmlessParameters(), name) {
			return nil
		}
	}
	query := url.Values{}
	if mode := at.Query().Get("sslmode"); mode != "" {
		query.Set("sslmode", mode)
	}
	return &url.URL{Scheme: at.Scheme, Host: at.Host, Path: at.Path, RawQuery: query.Encode()}
}

// id is how a connection stands in an identity.
func (c connection) id() string {
	if c.place == nil {
		return c.plugin
	}
	host := strings.TrimSuffix(strings.ToLower(c.place.Hostname()), ".")
	return net.JoinHostPort(host, cmp.Or(c.place.Port(), "5432")) + c.place.Path // one spelling: two would be two environments
}

// judge reads the role of an offer.
func (databaseEngine) judge(i *Issuer, read papers, offer Offer) (offered, error) {
	s := i.config.Settings
	data, err := read.at(rolePath(s, offer))
	if err != nil {
		return offered{}, i.fault("reading the role "+offer.Role, err)
	}
	through, err := i.connection(read)
	if err != nil {
		return offered{}, err
	}
	if name, _ := data["db_name"].(string); name != s.Connection {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: role %s goes through another connection than %s: it would be outside this environment", i.config.Ref, offer.Role, s.Connection).
			WithNext("name a role whose db_name is %s", s.Connection)
	}
	if kind, _ := data["credential_type"].(string); kind != "" && kind != "password" {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: role %s gives out no password but another kind of credential, which is not supported", i.config.Ref, offer.Role).
			WithNext("write the role with credential_type=password")
	}
	role := databaseRole{
		creation: session.Texts(data["creation_statements"]), revocation: session.Texts(data["revocation_statements"]), rollback: session.Texts(data["rollback_statements"]),
		longest: lowest(seconds(data["default_ttl"]), seconds(data["max_ttl"])),
	}
	if role.longest == 0 {
		role.longest = read.mount.lease
	}
	if through.plugin != pluginPostgres {
		return i.declaredDatabase(offer, role, through)
	}
	if !role.ends() {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: the revocation statements of role %s do not end with DROP ROLE: Vault would say that a login has ended which goes on", i.config.Ref, offer.Role).
			WithNext("take them out, or set its revocation_statements to: %s", RevocationSQL("OWNER", strings.TrimPrefix(through.place.Path, "/"), "public"))
	}
	return i.judgeDatabase(offer, role, through)
}

type databaseRole struct {
	creation, revocation, rollback []string
	longest                        time.Duration // 0: not known
}

// native is the role, line by line, and how its logins are called.
func (r databaseRole) native(through connection) []string {
	revocation := []string{"revoke: the plugin's own revocation"}
	if len(r.revocation) > 0 {
		revocation = prefixed("revoke: ", statements(r.revocation))
	}
	return slices.Concat(prefixed("create: ", statements(r.creation)), prefixed("if that fails: ", statements(r.rollback)), revocation,
		[]string{"logins are called: " + oneLine(cmp.Or(through.template, "by the plugin's own template"))})
}

func prefixed(prefix string, texts []string) []string {
	list := make([]string, len(texts))
	for at, text := range texts {
		list[at] = prefix + oneLine(text)
	}
	return list
}

// judgeDatabase says what logins of a PostgreSQL role reach.
func (i *Issuer) judgeDatabase(offer Offer, role databaseRole, through connection) (offered, error) {
	database := strings.TrimPrefix(through.place.Path, "/")
	v := judgeSQL(role.creation, database)
	if err := i.isWalled(offer, v, database); err != nil {
		return offered{}, err
	}
	native := append([]string{"connection " + i.config.Settings.Connection + ": " + through.place.String()}, role.native(through)...)
	found := offered{Offer: offer, native: native, longest: role.longest, exceptions: i.acceptances()}
	promised, err := i.addReach(&found, v)
	if err != nil {
		return offered{}, err
	}
	said, _, exceptions := declared(i.config.Ref.Target, offer, 0)
	switch {
	case len(v.unknown) > 0 && len(offer.Scopes) == 0:
		found.reach = append(found.reach, broker.Scope{Target: i.config.Ref.Target, Resource: "*", Actions: everything})
		found.native = append(found.native, prefixed("not understood, so it counts as admin: ", v.unknown)...)
	case len(v.unknown) > 0:
		found.reach, found.exceptions = append(found.reach, said...), append(found.exceptions, exceptions...)
		found.walls = append(found.walls, believed(offer))
		promised = append(promised, said...)
	}
	found.reach = broker.Normalize(found.reach)
	found.walls = append(i.databaseWalls(role, v.expires), found.walls...)
	found.gives = func(wish broker.Scope) bool { return broker.Covers(promised, []broker.Scope{wish}) }
	found.mends = i.databaseMends(database, v.schemas)
	return found, nil
}

// isWalled refuses a role that could be used outside its environment.
func (i *Issuer) isWalled(offer Offer, v verdict, database string) error {
	if len(v.other) > 0 {
		return broker.Errorf(broker.CodeWall, "%s: role %s is let into the database %s, which is not that of connection %s", i.config.Ref, offer.Role, v.other[0], i.config.Settings.Connection).
			WithNext("take GRANT … ON DATABASE %s out of its creation statements", v.other[0])
	}
	if _, accepted := i.config.Settings.accepts(AcceptPublicConnect); !accepted {
		return broker.Errorf(broker.CodeWall, "%s: Vault cannot tell whether a login of %s could connect to other databases of its server", i.config.Ref, database).
			WithNext("REVOKE CONNECT, TEMPORARY ON DATABASE … FROM PUBLIC, for every database of the server; then write into the target accept: [{object: %s, why: …}]", AcceptPublicConnect)
	}
	return nil
}

// addReach adds what the statements plainly give, and gives what of it can be relied on.
func (i *Issuer) addReach(found *offered, v verdict) (promised []broker.Scope, err error) {
	for _, one := range v.reach {
		scope := broker.Scope{Target: i.config.Ref.Target, Resource: one.resource, Actions: one.actions}
		if read, err := broker.ParseScope(scope.String()); err != nil || read != scope {
			return nil, broker.Errorf(broker.CodeWall, "%s: role %s names an object that cannot be a scope's resource", i.config.Ref, found.Role).
				WithNext("leave names with stars and characters that cannot be seen out of its creation statements")
		}
		found.reach = append(found.reach, scope)
		if scope.Actions = one.promised; scope.Actions != 0 {
			promised = append(promised, scope)
		}
	}
	return promised, nil
}

func (i *Issuer) acceptances() []broker.Exception {
	var list []broker.Exception
	for _, accept := range i.config.Settings.Accept {
		list = append(list, broker.Exception{Object: accept.Object, Why: accept.Why})
	}
	return list
}

func (databaseEngine) path(s Settings, offer Offer) string { return s.Mount + "/creds/" + offer.Role }

func (databaseEngine) ask(Settings, Offer, broker.Order, int64) (request, error) {
	return request{}, nil
}

// values are those that PostgreSQL's own clients read.
func (databaseEngine) values(s Settings, got issued) (credentialValues, error) {
	user, _ := got.answer.Data["username"].(string)
	password, _ := got.answer.Data["password"].(string)
	if user == "" || password == "" {
		return credentialValues{}, errors.New("the answer lacks username or password")
	}
	if isNoName(user) || strings.Contains(password, "'") { // both stood in the creation statements, as they are
		return credentialValues{}, errors.New("the login's name or password could have changed the creation statements")
	}
	place, err := url.Parse(cmp.Or(s.URL, approvedPlace(s, got.native)))
	if err != nil || place.Host == "" || place.Scheme != "postgres" && place.Scheme != "postgresql" {
		return credentialValues{values: map[string]broker.Secret{"DATABASE_USERNAME": broker.NewSecret(user), "DATABASE_PASSWORD": broker.NewSecret(password)}}, nil
	}
	place.Scheme, place.User = "postgres", url.UserPassword(user, password)
	values := map[string]broker.Secret{
		"PGHOST": broker.NewSecret(place.Hostname()), "PGPORT": broker.NewSecret(cmp.Or(place.Port(), "5432")),
		"PGDATABASE": broker.NewSecret(strings.TrimPrefix(place.Path, "/")), "PGUSER": broker.NewSecret(user), "PGPASSWORD": broker.NewSecret(password),
		"DATABASE_URL": broker.NewSecret(place.String()),
	}
	if mode := place.Query().Get("sslmode"); mode != "" {
		values["PGSSLMODE"] = broker.NewSecret(mode)
	}
	return credentialValues{values: values}, nil
}

// approvedPlace finds the connection's address in the native policy: clients are sent where was approved.
func approvedPlace(s Settings, native []string) string {
	for _, line := range native {
		if place, ok := strings.CutPrefix(line, "connection "+s.Connection+": "); ok {
			return place
		}
	}
	return ""
}

func seconds(value any) time.Duration { return time.Duration(session.Number(value)) * time.Second }

// lowest gives the smallest of the durations that are set.
func lowest(list ...time.Duration) time.Duration {
	var low time.Duration
	for _, one := range list {
		if one > 0 && (low == 0 || one < low) {
			low = one
		}
	}
	return low
}
