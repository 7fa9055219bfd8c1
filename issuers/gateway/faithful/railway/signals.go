package railway

import "fmt"

// signal finds one by its name in the scope of an owner. The owner of a scope here is a workspace's id.
func (c *call) signal(in args) (*record, error) {
	for _, s := range c.st.where("Signal", "name", in.text("name")) {
		if in.text("owner") == "" || s.text("owner") == in.text("owner") {
			return c.own("Signal", s.id)
		}
	}
	return nil, fmt.Errorf("Signal not found")
}

func signalQuery(c *call, a args) (any, error) {
	s, err := c.signal(a)
	if err != nil {
		return nil, nil
	}
	return s, nil
}

func signalChanges(c *call, a args) (any, error) {
	s, err := c.signal(a)
	if err != nil {
		return nil, err
	}
	return c.st.where("SignalChange", "signalId", s.id), nil
}

func signalCreate(c *call, a args) (any, error) {
	in := a.input()
	w, err := c.own("Workspace", in.text("owner"))
	if err != nil {
		return nil, err
	}
	return c.add("Signal", Fields{
		"workspaceId": w.id, "owner": w.id, "name": in["name"], "type": in["type"], "default": in["default"], "rules": []any{},
		"writableBy": in["writableBy"], "version": 1,
	}), nil
}

// changeSignal sets fields, and keeps what was before for a rollback.
func (c *call) changeSignal(s *record, kind string, fields Fields) *record {
	before := map[string]any{"type": s.fields["type"], "default": s.fields["default"], "rules": s.fields["rules"]}
	c.add("SignalChange", Fields{
		"signalId": s.id, "kind": kind, "seq": number(s.fields["version"]), "prevState": before, "payload": map[string]any(fields), "authorId": c.caller.user,
	})
	fields["version"] = number(s.fields["version"]) + 1
	c.set(s, fields)
	return s
}

func signalDefaultSet(c *call, a args) (any, error) {
	s, err := c.signal(a.input())
	if err != nil {
		return nil, err
	}
	return c.changeSignal(s, "default_changed", Fields{"default": a.input()["default"]}), nil
}

// signalDelete takes the signal's history with it.
func signalDelete(c *call, a args) (any, error) {
	s, err := c.signal(a.input())
	if err != nil {
		return nil, err
	}
	return s, c.destroy(s)
}

// signalReplace clears all rules.
func signalReplace(c *call, a args) (any, error) {
	s, err := c.signal(a.input())
	if err != nil {
		return nil, err
	}
	return c.changeSignal(s, "replaced", Fields{"type": a.input()["type"], "default": a.input()["default"], "rules": []any{}}), nil
}

// signalRollback puts back what was before a change; rules set since are gone.
func signalRollback(c *call, a args) (any, error) {
	s, err := c.signal(a.input())
	if err != nil {
		return nil, err
	}
	for _, change := range c.st.where("SignalChange", "signalId", s.id) {
		if number(change.fields["seq"]) == number(a.input()["seq"]) {
			return c.changeSignal(s, "rollback", Fields(mergePatch(asMap(change.fields["prevState"]), nil))), nil
		}
	}
	return nil, fmt.Errorf("SignalChange not found")
}

// rulesWithout lists a signal's rules, save the one with an id.
func rulesWithout(s *record, id string) []any {
	rules := []any{}
	all, _ := s.fields["rules"].([]any)
	for _, rule := range all {
		if args(asMap(rule)).text("id") != id {
			rules = append(rules, rule)
		}
	}
	return rules
}

func signalRuleSet(c *call, a args) (any, error) {
	in := a.input()
	s, err := c.signal(in)
	if err != nil {
		return nil, err
	}
	rule := map[string]any{"id": in.text("ruleId"), "expression": in["expression"], "value": in["value"]}
	return c.changeSignal(s, "set", Fields{"rules": append(rulesWithout(s, in.text("ruleId")), rule)}), nil
}

func signalRuleUnset(c *call, a args) (any, error) {
	s, err := c.signal(a.input())
	if err != nil {
		return nil, err
	}
	return c.changeSignal(s, "unset", Fields{"rules": rulesWithout(s, a.input().text("ruleId"))}), nil
}

// dashboardDefault is what a dashboard shows when nobody has arranged it.
func (c *call) dashboardDefault() []any {
	return []any{map[string]any{
		"id": c.s.uuid(), "displayConfig": map[string]any{},
		"dashboardItem": map[string]any{"id": c.s.uuid(), "name": "CPU", "type": "SERVICE_METRICS_ITEM", "config": map[string]any{}},
	}}
}

func dashboardCreate(c *call, a args) (any, error) {
	in := a.input()
	e, err := c.own("Environment", in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	items, given := in["items"].([]any)
	if !given {
		items = c.dashboardDefault()
	}
	c.add("ObservabilityDashboard", Fields{"environmentId": e.id, "items": items})
	return true, nil
}

// dashboardReset throws away how a dashboard was arranged.
func dashboardReset(c *call, a args) (any, error) {
	d, err := c.own("ObservabilityDashboard", a.text("id"))
	if err != nil {
		return nil, err
	}
	c.set(d, Fields{"items": c.dashboardDefault()})
	return true, nil
}

// dashboardUpdate replaces the items by those given.
func dashboardUpdate(c *call, a args) (any, error) {
	d, err := c.own("ObservabilityDashboard", a.text("id"))
	if err != nil {
		return nil, err
	}
	c.set(d, Fields{"items": a["input"]})
	return true, nil
}
