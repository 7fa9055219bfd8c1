package railway

import (
	"encoding/json"
	"maps"
	"strings"
)

// Snapshot is a picture of everything, to be compared with another.
type Snapshot struct {
	Records map[string]Record // id → record
	Served  map[string]int    // text of a secret → how many answers told it to somebody who did not send it
	Origin  map[string]string // text of a secret → id of the record it is, or was, in
}

// Record is one thing in a Snapshot, with where it lives.
type Record struct {
	Kind         string // the schema's type, or a word of ours
	ID           string
	Name         string
	Workspace    string            // id; empty if it belongs to none
	Project      string            // id; empty if it belongs to none
	Environments []string          // ids, sorted: where it, or a part of it, lives
	Fields       map[string]string // name → value as JSON
}

// Snapshot pictures the state.
func (s *Server) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(s.now().UTC())
	shot := Snapshot{Records: map[string]Record{}, Served: maps.Clone(s.st.served), Origin: maps.Clone(s.st.secrets)}
	c := &call{s: s, st: s.st}
	for _, r := range s.st.records {
		if !r.is("removed") {
			shot.Records[r.id] = c.picture(r)
		}
	}
	return shot
}

func (c *call) picture(r *record) Record {
	p := c.st.place(r)
	out := Record{
		Kind: r.kind, ID: r.id, Name: c.label(r), Workspace: p.workspace, Project: p.project, Environments: p.environments,
		Fields: map[string]string{},
	}
	for name, value := range r.fields {
		if value != nil && name != "updatedAt" {
			out.Fields[name] = string(must(json.Marshal(value)))
		}
	}
	if r.kind == "ServiceInstance" {
		out.Fields["running"] = string(must(json.Marshal(len(c.running(r)) > 0)))
	}
	return out
}

// label is what people call a record.
func (c *call) label(r *record) string {
	for _, field := range []string{"name", "domain", "domainName", "email", "dnsName", "kind", "role"} {
		if text := r.text(field); text != "" {
			return text
		}
	}
	if v := c.st.get("Volume", r.text("volumeId")); v != nil {
		return v.text("name")
	}
	if s := c.st.get("Service", r.text("serviceId")); s != nil {
		return s.text("name")
	}
	return ""
}

// Revealed lists the secrets that a text carries, whatever this server knows of who sent them.
func (s *Server) Revealed(text string) []string {
	var found []string
	for _, known := range s.Secrets() {
		if strings.Contains(text, known) {
			found = append(found, known)
		}
	}
	return found
}
