package vault

import (
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// JudgePolicy gives the scopes that a policy reaches, and tells what can be relied on, for tests that need no server.
func JudgePolicy(target, mount string, folders []string, version2 bool, maxVersions int64, policy string) ([]broker.Scope, func(broker.Scope) bool, error) {
	i := &Issuer{config: Config{Ref: broker.TargetRef{Environment: "staging", Target: target}, Settings: Settings{Mount: mount, Folders: folders}}}
	rules, err := parsePolicy("tested", policy)
	if err != nil {
		return nil, nil, err
	}
	found, err := i.judgeKV(Offer{}, kvState{versioned: version2, maxVersions: maxVersions}, rules)
	return found.reach, found.gives, err
}

// JudgeSQL gives what creation statements reach, what of it may be asked for, what is not understood, and other databases.
func JudgeSQL(database string, statements ...string) (reach, promised []broker.Scope, unknown, other []string) {
	v := judgeSQL(statements, database)
	for _, one := range v.reach {
		reach = append(reach, broker.Scope{Target: "orders-db", Resource: one.resource, Actions: one.actions})
		promised = append(promised, broker.Scope{Target: "orders-db", Resource: one.resource, Actions: one.promised})
	}
	return broker.Normalize(reach), broker.Normalize(promised), v.unknown, v.other
}

// PlainAWS gives the actions that are plain to see in a policy document of AWS.
func PlainAWS(document string) (broker.Actions, error) {
	allowed, err := allowedBy(document)
	return plainAWS(allowed), err
}

// PlainRoleOfAWS gives the actions that are plain to see in a role of Vault's aws engine.
func PlainRoleOfAWS(kind string, role map[string]any) (broker.Actions, error) {
	allowed, err := allowedAWS(kind, role)
	return plainAWS(allowed), err
}

// PlainKubernetes gives the actions that are plain to see in rules of a Role of Kubernetes.
func PlainKubernetes(rules string) (broker.Actions, error) { return plainKubernetes(rules) }

// PlainKinds lists the kinds of Kubernetes of which something less than everything is said.
func PlainKinds() []string {
	return strings.Fields(strings.Join([]string{readable, removable, data, scaled, "secrets"}, " "))
}

// PlainDatabase gives what an offer of a database other than PostgreSQL is, by its scopes and its creation statements.
func PlainDatabase(scopes string, creation ...string) (broker.Actions, error) {
	i := &Issuer{config: Config{Ref: broker.TargetRef{Environment: "staging", Target: "orders-db"}}}
	found, err := i.declaredDatabase(Offer{Role: "rw", Scopes: []string{scopes}, Why: "tested"}, databaseRole{creation: creation}, connection{plugin: "mysql-database-plugin"})
	return broker.AllActions(found.reach), err
}
