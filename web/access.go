package web

import (
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// who is a set of kinds of caller. A human can be of several.
type who uint8

// The kinds of caller (docs/design/0001-the-heart.md, "who may what").
const (
	stranger who = 1 << iota // has proved nothing
	agent                    // showed an access token
	reviewer                 // signed in, and reviews in at least one environment
	operator                 // signed in, with the role operator
	auditor                  // signed in, with the role auditor
	person                   // signed in, whatever the roles: agents may work for anybody, and the broker knows for whom

	human  = reviewer | operator | auditor
	anyone = stranger | agent | human | person
)

func (w who) String() string {
	var names []string
	for i, name := range []string{"stranger", "agent", "reviewer", "operator", "auditor", "person"} {
		if w&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// route is one line of the table: what is asked, by whom, what comes with it, and how long it may take.
type route struct {
	method, path string
	may          who
	body         body
	lasts        time.Duration
	serve        func(*Server, *call) error
}

// body is what a request brings along.
type body uint8

const (
	noBody   body = iota // and anything that comes all the same is refused
	jsonBody             // strict application/json
	formBody             // application/x-www-form-urlencoded
)

const (
	quick    = 10 * time.Second // asks the store alone
	provider = 55 * time.Second // asks a provider, which may be slow
)

// table is who may what over HTTP, and the only place that says so; the router is built from it. A
// route lets in whom it names and nobody else. What a caller sees of what it may ask for is decided by
// the broker: an agent its own, a reviewer what names one of the groups, an owner what lives on the own behalf.
// Which lease a person ends is as well (Broker.MayRevoke).
//
// Nothing here approves, lifts a freeze, or confirms a target: those are signed with a passkey, on the
// pages (human.go). Only PathCredentials lets a secret out, and only an agent may use it. The admin socket has
// a table of its own (cmd/hourkeyd/admin).
func table() []route {
	return []route{
		{"POST", api.PathToken, anyone, formBody, quick, (*Server).token},
		{"POST", api.PathAgentsEnroll, anyone, jsonBody, quick, (*Server).enroll},

		{"GET", api.PathTasks, agent, noBody, quick, (*Server).tasks},
		{"POST", api.PathRequests, agent, jsonBody, provider, (*Server).submit},
		{"GET", api.PathRequests, agent | person, noBody, quick, (*Server).requests},
		{"GET", api.PathRequest, agent | person, noBody, api.MaxWait + quick, (*Server).request},
		{"DELETE", api.PathRequest, agent, noBody, quick, (*Server).cancel},
		{"POST", api.PathCredentials, agent, noBody, provider, (*Server).collect},

		{"GET", api.PathLeases, agent | person, noBody, quick, (*Server).leases},
		{"DELETE", api.PathLease, agent, noBody, provider, (*Server).release},
		{"POST", api.PathLeaseRevoke, person, noBody, provider, (*Server).revoke},

		{"GET", api.PathFreeze, human, noBody, quick, (*Server).freezes},
		{"POST", api.PathFreeze, operator, jsonBody, provider, (*Server).freeze},

		{"GET", api.PathApprovals, reviewer | auditor, noBody, quick, (*Server).approvals},
		{"GET", api.PathAudit, auditor, noBody, quick, (*Server).audit},

		{"GET", api.PathTokenMetadata, anyone, noBody, quick, (*Server).tokenMetadata},
		{"GET", api.PathTokenKeys, anyone, noBody, quick, (*Server).tokenKeys},
		{"POST", api.PathIntrospect, anyone, formBody, quick, (*Server).introspect},
		{"GET", api.PathProblems + "{code}", anyone, noBody, quick, (*Server).problem},
		{"GET", api.PathHealth, anyone, noBody, quick, (*Server).health},
		{"GET", api.PathReady, anyone, noBody, quick, (*Server).readyPage},
		{"GET", api.PathMetrics, anyone, noBody, quick, (*Server).metricsPage},
	}
}

// kinds tells what a signed-in human is, by the configuration in force.
func kinds(config *broker.Configuration, name string) who {
	var w who
	if config.HasRole(name, broker.RoleOperator) {
		w |= operator
	}
	if config.HasRole(name, broker.RoleAuditor) {
		w |= auditor
	}
	for environment := range config.Environments {
		if config.MayReview(name, environment) {
			return w | reviewer
		}
	}
	return w
}
