package railway

import (
	"errors"
	"io"
	"net/http"
	"strings"
)

// serveUpload takes the code of a service, as a tar archive, and deploys it. The service is named in the
// query, or is the environment's only one. Nothing is deployed of an upload that breaks off.
func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	part := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(part) != 5 || part[0] != "project" || part[2] != "environment" {
		http.NotFound(w, r)
		return
	}
	code, err := io.ReadAll(http.MaxBytesReader(w, r.Body, uploadLimit))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, failure("upload broke off", "BAD_REQUEST"))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.admit(w, r.Header) {
		return
	}
	d, err := s.call(r.Header).upload(part[1], part[3], r.URL.Query().Get("serviceId"), code)
	switch {
	case errors.Is(err, errUnauthorized):
		writeJSON(w, http.StatusUnauthorized, map[string]any{"message": err.Error()})
	case err != nil:
		writeJSON(w, http.StatusNotFound, map[string]any{"message": err.Error()})
	default:
		writeJSON(w, http.StatusOK, map[string]any{
			"deploymentId": d.id, "deploymentDomain": d.text("staticUrl"), "url": "https://railway.com/project/" + part[1], "logsUrl": "",
		})
	}
}

func (c *call) upload(project, environment, service string, code []byte) (*record, error) {
	if _, err := c.find("Project", project); err != nil {
		return nil, err
	}
	e, err := c.own("Environment", environment)
	if err != nil {
		return nil, err
	}
	all := c.st.where("ServiceInstance", "environmentId", e.id)
	if service == "" && len(all) == 1 {
		service = all[0].text("serviceId")
	}
	i, err := c.instance(service, e.id)
	if err != nil {
		return nil, err
	}
	d := c.deploy(i, map[string]any{"upload": len(code)})
	c.set(d, Fields{"code": string(code)})
	return d, nil
}
