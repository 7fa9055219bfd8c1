package railway

import (
	"fmt"
	"time"
)

// call is one request on its way through the server.
type call struct {
	s      *Server
	st     *state
	caller caller
	now    time.Time
	sent   string // the body of the request: a secret that is in it is not revealed by the answer
}

// find looks up a record that the caller may read. An unknown id and one out of reach are told apart, as the
// provider does.
func (c *call) find(kind, id string) (*record, error) {
	r := c.st.get(kind, id)
	if r == nil {
		return nil, fmt.Errorf("%s not found", kind)
	}
	if !c.mayRead(r) {
		return nil, errUnauthorized
	}
	return r, nil
}

// own looks up a record that the caller may change.
func (c *call) own(kind, id string) (*record, error) {
	r, err := c.find(kind, id)
	if err == nil && !c.mayChange(r) {
		return nil, errUnauthorized
	}
	return r, err
}

// instance finds the part of a service in an environment, for a caller that may change it.
func (c *call) instance(service, environment string) (*record, error) {
	if _, err := c.find("Service", service); err != nil {
		return nil, err
	}
	if _, err := c.own("Environment", environment); err != nil {
		return nil, err
	}
	if i := first(c.st.both("ServiceInstance", service, environment)); i != nil {
		return i, nil
	}
	return nil, fmt.Errorf("ServiceInstance not found")
}

// add makes a record with a new id.
func (c *call) add(kind string, fields Fields) *record {
	return c.addAs(kind, c.s.uuid(), fields)
}

func (c *call) addAs(kind, id string, fields Fields) *record {
	r := c.st.add(kind, id, Fields{"createdAt": c.now, "updatedAt": c.now})
	c.st.set(r, fields)
	return r
}

func (c *call) set(r *record, fields Fields) {
	c.st.set(r, fields)
	r.fields["updatedAt"] = c.now
}

// destroy removes records with all that belongs to them, if the caller may.
func (c *call) destroy(all ...*record) error {
	for _, r := range all {
		if !c.mayDestroy(r) {
			return errUnauthorized
		}
	}
	for _, r := range all {
		c.st.destroy(r)
	}
	return nil
}

// args are the coerced arguments of a field, or the fields of an input object. A key is there only if the
// caller gave it or the schema has a default: absent and null are different things.
type args map[string]any

func (a args) text(name string) string { v, _ := a[name].(string); return v }

func (a args) is(name string) bool { v, _ := a[name].(bool); return v }

func (a args) has(name string) bool { _, given := a[name]; return given }

func (a args) input() args { return a.object("input") }

func (a args) object(name string) args { v, _ := a[name].(map[string]any); return v }

func (a args) texts(name string) []string {
	list, _ := a[name].([]any)
	var all []string
	for _, v := range list {
		if s, ok := v.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// flat joins the arguments with the fields of an argument called input.
func (a args) flat() Fields {
	all := Fields{}
	for name, value := range a {
		if name != "input" {
			all[name] = value
		}
	}
	for name, value := range a.input() {
		all[name] = value
	}
	return all
}

// inputOrSelf is the argument called input, or the arguments themselves where there is none.
func (a args) inputOrSelf() args {
	if a.has("input") {
		return a.input()
	}
	return a
}
