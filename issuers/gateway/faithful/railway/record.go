package railway

import (
	"maps"
	"slices"
	"time"
)

// Fields are the values of a record by the schema's names of them. What the schema has no name for (the
// bytes of a volume, the secret of a token) has a name of ours.
type Fields map[string]any

// record is one thing in the state. Its values are never changed in place: a new one is set.
type record struct {
	kind   string // the schema's type, or a word of ours where the schema has none
	id     string
	fields Fields
}

// secret is a value that gives whoever reads it something that they did not have: a variable, a token.
type secret string

// used marks what works once, as done.
func used() Fields { return Fields{"used": true} }

func (r *record) text(field string) string {
	switch v := r.fields[field].(type) {
	case string:
		return v
	case secret:
		return string(v)
	default:
		return ""
	}
}

func (r *record) is(field string) bool { v, _ := r.fields[field].(bool); return v }

// when reads a time; the zero time if there is none.
func (r *record) when(field string) time.Time { v, _ := r.fields[field].(time.Time); return v }

// state is everything the provider keeps. It is not safe for use by several goroutines: Server locks.
type state struct {
	records map[string]*record   // id → record
	kinds   map[string][]*record // kind → its records, in the order they were made
	secrets map[string]string    // text of every secret there ever was → id of the record it was in
	served  map[string]int       // text of a secret → how many answers told it to somebody who did not send it
	owners  map[string][]string  // kind → the fields that name what it belongs to; never changed
}

func newState() *state {
	return &state{
		records: map[string]*record{}, kinds: map[string][]*record{},
		secrets: map[string]string{}, served: map[string]int{}, owners: owners(),
	}
}

// clone copies the state. Values are shared, because they are never changed in place.
func (st *state) clone() *state {
	c := newState()
	maps.Copy(c.secrets, st.secrets)
	maps.Copy(c.served, st.served)
	for kind, all := range st.kinds {
		for _, r := range all {
			twin := &record{kind: r.kind, id: r.id, fields: maps.Clone(r.fields)}
			c.records[r.id] = twin
			c.kinds[kind] = append(c.kinds[kind], twin)
		}
	}
	return c
}

func (st *state) add(kind, id string, fields Fields) *record {
	r := &record{kind: kind, id: id, fields: Fields{}}
	st.records[id] = r
	st.kinds[kind] = append(st.kinds[kind], r)
	st.set(r, fields)
	return r
}

func (st *state) set(r *record, fields Fields) {
	for name, value := range fields {
		r.fields[name] = value
		walkSecrets(value, func(text string) {
			if st.records[st.secrets[text]] == nil { // where it was first is where it is from
				st.secrets[text] = r.id
			}
		})
	}
}

// walkSecrets calls each for every secret inside a value.
func walkSecrets(value any, each func(string)) {
	switch v := value.(type) {
	case secret:
		if v != "" {
			each(string(v))
		}
	case map[string]any:
		for _, inner := range v {
			walkSecrets(inner, each)
		}
	case []any:
		for _, inner := range v {
			walkSecrets(inner, each)
		}
	}
}

// get finds a record of a kind, nil if there is none.
func (st *state) get(kind, id string) *record {
	if r := st.records[id]; r != nil && r.kind == kind {
		return r
	}
	return nil
}

// all lists the records of a kind.
func (st *state) all(kind string) []*record { return slices.Clone(st.kinds[kind]) }

// where lists the records of a kind that have a text in a field.
func (st *state) where(kind, field, value string) []*record {
	var found []*record
	for _, r := range st.kinds[kind] {
		if value != "" && r.text(field) == value {
			found = append(found, r)
		}
	}
	return found
}

// first is the oldest of some records, nil if there are none.
func first(all []*record) *record {
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// both lists the records of a kind that belong to a service in an environment.
func (st *state) both(kind, service, environment string) []*record {
	return slices.DeleteFunc(st.where(kind, "serviceId", service), func(r *record) bool {
		return r.text("environmentId") != environment
	})
}

// destroy removes a record and everything that belongs to it.
func (st *state) destroy(r *record) {
	if st.records[r.id] == nil {
		return
	}
	delete(st.records, r.id)
	st.kinds[r.kind] = slices.DeleteFunc(st.kinds[r.kind], func(o *record) bool { return o == r })
	for kind, of := range st.owners {
		for _, owner := range of {
			for _, child := range st.where(kind, owner, r.id) {
				st.destroy(child)
			}
		}
	}
	if r.kind == "ServiceInstance" { // its volume stays, attached to nothing
		for _, v := range st.both("VolumeInstance", r.text("serviceId"), r.text("environmentId")) {
			v.fields["serviceId"] = nil
		}
	}
}
