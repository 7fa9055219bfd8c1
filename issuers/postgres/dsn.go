package postgres

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
)

// route is the way to the database: the admin's own, and what a lease's URL shares with it.
type route struct {
	admin    *pgx.ConnConfig
	host     string // a name, an address, or the folder of a Unix socket
	port     uint16
	database string
	sslmode  string
	rootcert string
}

// dsnOptions may stand in the query of the DSN. A lease gets host, sslmode and sslrootcert of them; the
// client certificate is the admin's alone.
var dsnOptions = []string{"host", "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "channel_binding", "require_auth"}

// parseDSN reads postgres://user:password@host:port/database?sslmode=…  Everything that says where it leads
// must stand in it, so that no PG* variable of the broker's environment can lead it elsewhere. No error
// holds any part of it but the names of options.
func parseDSN(dsn broker.Secret) (route, error) {
	u, err := url.Parse(dsn.Reveal())
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return route{}, invalid("dsn", "is not a URL like postgres://user:password@host:5432/database?sslmode=verify-full (special characters of the password as %xx)")
	}
	query := u.Query()
	for option, values := range query {
		if !slices.Contains(dsnOptions, option) || len(values) != 1 {
			return route{}, invalid("dsn", fmt.Sprintf("has the option %q, unknown or twice: expected %s", option, strings.Join(dsnOptions, ", ")))
		}
	}
	r := route{database: strings.TrimPrefix(u.Path, "/"), sslmode: query.Get("sslmode"), rootcert: query.Get("sslrootcert")}
	if r.host, r.port, err = hostPort(u, query); err != nil {
		return route{}, err
	}
	if password, _ := u.User.Password(); r.database == "" || u.User.Username() == "" || (password == "" && query.Get("sslcert") == "") {
		return route{}, invalid("dsn", "lacks the user, the password or the database")
	}
	if err := r.secure(); err != nil {
		return route{}, err
	}
	return r.configure(u, query)
}

func hostPort(u *url.URL, query url.Values) (string, uint16, error) {
	host := u.Hostname()
	if folder := query.Get("host"); folder != "" {
		if host != "" || !strings.HasPrefix(folder, "/") {
			return "", 0, invalid("dsn", "may have host= only for the folder of a Unix socket, with no other host")
		}
		host = folder
	}
	if host == "" || strings.Contains(u.Host, ",") {
		return "", 0, invalid("dsn", "must name exactly one host")
	}
	if u.Port() == "" {
		return host, 5432, nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 {
		return "", 0, invalid("dsn", "has a port that is not 1 to 65535")
	}
	return host, uint16(port), nil
}

// secure wants a word about TLS where the connection leaves the machine.
func (r *route) secure() error {
	if r.sslmode != "" {
		return nil
	}
	if !r.local() {
		return invalid("dsn", "leaves this machine and says nothing about TLS: add sslmode=verify-full (and sslrootcert=/path/ca.pem), or another mode on purpose")
	}
	r.sslmode = "prefer"
	return nil
}

func (r *route) local() bool {
	ip := net.ParseIP(r.host)
	return strings.HasPrefix(r.host, "/") || r.host == "localhost" || ip != nil && ip.IsLoopback()
}

// configure makes the admin's connection settings, and checks that they lead where the DSN says.
func (r route) configure(u *url.URL, query url.Values) (route, error) {
	query.Set("sslmode", r.sslmode)
	query.Del("host")
	explicit := url.URL{Scheme: "postgres", User: u.User, Path: u.Path}
	if strings.HasPrefix(r.host, "/") {
		query.Set("host", r.host)
		query.Set("port", strconv.Itoa(int(r.port)))
	} else {
		explicit.Host = net.JoinHostPort(r.host, strconv.Itoa(int(r.port)))
	}
	explicit.RawQuery = query.Encode()
	config, err := pgx.ParseConfig(explicit.String())
	if err != nil { // its text may show parts of the DSN
		return route{}, invalid("dsn", "cannot be used: check sslmode, and that the files of sslrootcert, sslcert and sslkey can be read")
	}
	if config.Host != r.host || config.Port != r.port || config.Database != r.database || config.User != u.User.Username() {
		return route{}, invalid("dsn", "is overruled by the broker's own environment (PGSERVICE?): unset it")
	}
	config.RuntimeParams = map[string]string{
		"application_name": "hourkey", "search_path": "pg_catalog", "row_security": "on",
		"statement_timeout": "30000", "lock_timeout": "10000", "idle_in_transaction_session_timeout": "30000", "idle_session_timeout": "0",
		// The audit is one large statement: planned once for each connection, and never compiled.
		"plan_cache_mode": "force_generic_plan", "jit": "off",
	}
	r.admin = config
	return r, nil
}

// address gives host:port for people.
func (r route) address() string {
	if strings.HasPrefix(r.host, "/") {
		return fmt.Sprintf("%s/.s.PGSQL.%d", r.host, r.port)
	}
	return net.JoinHostPort(r.host, strconv.Itoa(int(r.port)))
}

// values gives a lease's credential as exec hands it on: DATABASE_URL carries everything; the PG* variables
// do the same for psql and every other libpq program.
func (r route) values(user, password string) map[string]broker.Secret {
	query := url.Values{"sslmode": {r.sslmode}}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Path: "/" + r.database}
	port := strconv.Itoa(int(r.port))
	values := map[string]broker.Secret{
		"PGHOST": broker.NewSecret(r.host), "PGPORT": broker.NewSecret(port), "PGDATABASE": broker.NewSecret(r.database),
		"PGUSER": broker.NewSecret(user), "PGPASSWORD": broker.NewSecret(password), "PGSSLMODE": broker.NewSecret(r.sslmode),
	}
	if strings.HasPrefix(r.host, "/") {
		query.Set("host", r.host)
		query.Set("port", port)
	} else {
		u.Host = net.JoinHostPort(r.host, port)
	}
	if r.rootcert != "" {
		query.Set("sslrootcert", r.rootcert)
		values["PGSSLROOTCERT"] = broker.NewSecret(r.rootcert)
	}
	u.RawQuery = query.Encode()
	values["DATABASE_URL"] = broker.NewSecret(u.String())
	return values
}

// other gives the admin's connection settings for another database of the same server.
func (r route) other(database string) *pgx.ConnConfig {
	config := r.admin.Copy()
	config.Database = database
	return config
}

func invalid(field, problem string) *broker.Error {
	return broker.Errorf(broker.CodeInvalid, "postgres: %s %s", field, problem).WithField(field)
}
