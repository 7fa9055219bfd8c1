package web

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

const (
	freezeLasts   = time.Hour
	agentHistory  = 20 // requests, and leases, on an agent's page
	agentsAtATime = 50
)

func byName(a, b broker.Agent) int { return cmp.Compare(a.Name, b.Name) }

func (p *pages) agentsPage(v *visit) error {
	return p.showAgents(v, http.StatusOK, ui.AddAgent{}, "")
}

// showAgents lists the agents that this human may see; adding and problem are those of a form that was not taken.
func (p *pages) showAgents(v *visit, status int, adding ui.AddAgent, problem string) error {
	query, err := v.query("after")
	if err != nil {
		return err
	}
	agents, err := p.broker.Agents(v.ctx())
	if err != nil {
		return err
	}
	agents = slices.DeleteFunc(agents, func(a broker.Agent) bool { return !maySeeAgent(v.human, v.kinds, a) })
	slices.SortFunc(agents, byName)
	after := query.Get("after")
	agents = slices.DeleteFunc(agents, func(a broker.Agent) bool { return a.Name <= after })
	freezes, err := p.broker.Freezes(v.ctx())
	if err != nil {
		return err
	}
	asked, err := p.lastAsked(v, agents[:min(len(agents), agentsAtATime)])
	if err != nil {
		return err
	}
	view := ui.AgentsOf(agents, freezes, asked, after, p.now())
	view.All, view.MayAdd, view.Adding, view.Problem = v.seesAll(), v.kinds&operator != 0, adding, problem
	if view.MayAdd {
		if view.Owners, err = p.names(v); err != nil {
			return err
		}
	}
	return p.show(v, status, ui.PageAgents, "Agents", view)
}

// maySeeAgent tells who opens an agent's page: the owner, operators and auditors.
func maySeeAgent(name string, kinds who, agent broker.Agent) bool {
	return agent.Owner == name || kinds&(operator|auditor) != 0
}

// lastAsked tells when each agent asked for something last.
func (p *pages) lastAsked(v *visit, agents []broker.Agent) (map[string]time.Time, error) {
	asked := map[string]time.Time{} // agent → when
	for _, agent := range agents {
		last, err := newestOf[requestHead](v.ctx(), p.store, "request", "agent/"+agent.Name, 1)
		if err != nil {
			return nil, err
		}
		if len(last) == 1 {
			asked[agent.Name] = last[0].Created
		}
	}
	return asked, nil
}

// names lists every human who was ever invited.
func (p *pages) names(v *visit) ([]string, error) {
	humans, err := p.broker.Humans(v.ctx())
	names := make([]string, len(humans))
	for i, h := range humans {
		names[i] = h.Name
	}
	return names, err
}

// addAgent answers with the one-time code: it is on this answer alone, which nobody may keep (no-store).
func (p *pages) addAgent(v *visit) error {
	form, err := v.formOf("name", "owner")
	if err != nil {
		return err
	}
	adding := ui.AddAgent{Name: strings.TrimSpace(form.Get("name")), Owner: strings.TrimSpace(form.Get("owner"))}
	code, err := p.broker.AddAgent(v.ctx(), v.asHuman(), adding.Name, adding.Owner)
	if isTypo(err) {
		told := refusal(err)
		return p.showAgents(v, problems(told.Code).status, adding, ui.InWords(told))
	}
	if err != nil {
		return err
	}
	return p.show(v, http.StatusOK, ui.PageCode, "One-time code", ui.AgentCode(adding.Name, adding.Owner, code, p.origin, p.now().Add(broker.CodeFor)))
}

// agentPage shows an agent, what it did, and what its owner signs; with ?sure=remove it asks whether to remove it.
func (p *pages) agentPage(v *visit) error {
	query, err := v.query("sure")
	if err != nil {
		return err
	}
	agent, err := p.broker.Agent(v.ctx(), agentName(v))
	if broker.CodeOf(err) == broker.CodeNotFound || err == nil && !maySeeAgent(v.human, v.kinds, agent) {
		return notYours("agent")
	}
	if err != nil {
		return err
	}
	if query.Get("sure") == "remove" {
		if err := v.only(operator); err != nil {
			return err
		}
		return p.show(v, http.StatusOK, ui.PageConfirm, "Remove an agent", ui.RemoveAgent(agent))
	}
	history, err := p.historyOf(v, agent)
	if err != nil {
		return err
	}
	view := ui.AgentOf(agent, agent.Owner == v.human && agent.State == broker.AgentInert)
	view.Agent = ui.AgentMoreOf(agent, history, v.kinds&operator != 0, p.broker.Configuration(), p.now())
	return p.show(v, http.StatusOK, ui.PageSubject, "Agent "+agent.Name, view)
}

func agentName(v *visit) string { return strings.TrimPrefix(v.param("name"), "/") }

// historyOf reads what an agent asked and got. Who may see the agent may see that: its owner, operators, auditors.
func (p *pages) historyOf(v *visit, agent broker.Agent) (h ui.AgentHistory, err error) {
	if h.Requests, err = newestOf[broker.Request](v.ctx(), p.store, "request", "agent/"+agent.Name, agentHistory); err != nil {
		return h, err
	}
	if h.Leases, err = newestOf[broker.Lease](v.ctx(), p.store, "lease", "agent/"+agent.Name, agentHistory); err != nil {
		return h, err
	}
	h.Freezes, err = p.broker.Freezes(v.ctx())
	return h, err
}

// changeAgent freezes or removes an agent. Neither asks for a passkey: both only take away.
func (p *pages) changeAgent(v *visit) error {
	form, err := v.formOf("do", "for", "reason")
	if err != nil {
		return err
	}
	name := agentName(v)
	switch form.Get("do") {
	case "freeze":
		err = p.freezeAgent(v, name, form.Get("for"), strings.TrimSpace(form.Get("reason")))
	case "remove":
		err = p.broker.RemoveAgent(v.ctx(), v.asHuman(), name)
	default:
		err = broker.Errorf(broker.CodeInvalid, "do: expected freeze or remove").WithField("do")
	}
	if err != nil {
		return err
	}
	v.redirect(ui.AgentPath(name))
	return nil
}

func (p *pages) freezeAgent(v *visit, name, lasts, reason string) error {
	freeze := broker.Freeze{Of: broker.FreezeAgent, Name: name, Reason: reason}
	switch lasts {
	case "hour":
		freeze.Until = p.now().UTC().Add(freezeLasts)
	case "lifted":
	default:
		return broker.Errorf(broker.CodeInvalid, "for: expected hour or lifted").WithField("for")
	}
	if len(reason) > 2000 {
		return broker.Errorf(broker.CodeInvalid, "reason: expected at most 2000 bytes").WithField("reason")
	}
	_, err := p.broker.Freeze(v.ctx(), v.asHuman(), freeze)
	return err
}
