package railway

import (
	"fmt"
	"time"
)

// builder runs one step of building a world, as nobody in particular.
func builder[T any](s *Server, step func(*call) T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := step(&call{s: s, st: s.st, now: s.now().UTC()})
	if s.disk != nil {
		must(out, s.disk.sync(s.st))
	}
	return out
}

// Add makes a record of one of the schema's types and gives its id. What the schema has no word for is in
// the documentation of the kinds in this package.
func (s *Server) Add(kind string, fields Fields) string {
	return builder(s, func(c *call) string { return c.add(kind, fields).id })
}

// AddUser makes a user.
func (s *Server) AddUser(name string) string {
	return s.Add("User", Fields{"name": name, "email": name + "@example.com", "username": name, "featureFlags": []any{}, "flags": []any{}, "registrationStatus": "REGISTERED"})
}

// AddWorkspace makes a workspace that a user administers.
func (s *Server) AddWorkspace(name, admin string) string {
	return builder(s, func(c *call) string {
		w := c.add("Workspace", Fields{"name": name, "plan": "PRO", "has2FAEnforcement": true})
		c.add("WorkspaceMember", Fields{"workspaceId": w.id, "userId": admin, "role": "ADMIN"})
		c.add("Customer", Fields{"workspaceId": w.id, "state": "ACTIVE", "currentUsage": 12.5, "stripeCustomerId": "cus_faithful"})
		return w.id
	})
}

// AddProject makes a project without environments.
func (s *Server) AddProject(workspace, name string) string {
	return builder(s, func(c *call) string { return c.addProject(workspace, name).id })
}

// AddEnvironment makes an empty environment.
func (s *Server) AddEnvironment(project, name string) string {
	return s.Add("Environment", Fields{"projectId": project, "name": name, "isEphemeral": false, "canAccess": true})
}

// AddFork makes an environment with what its source has, as a pull request's is made.
func (s *Server) AddFork(source, name string) string {
	return builder(s, func(c *call) string {
		from := c.st.get("Environment", source)
		e := c.add("Environment", Fields{
			"projectId": from.text("projectId"), "name": name, "isEphemeral": true, "canAccess": true, "sourceEnvironmentId": source,
		})
		c.fork(from, e, false)
		return e.id
	})
}

// AddService makes a service that runs an image in the environments named.
func (s *Server) AddService(project, name, image string, environments ...string) string {
	return builder(s, func(c *call) string {
		service := c.add("Service", Fields{"projectId": project, "name": name, "featureFlags": []any{}})
		for _, id := range environments {
			i := c.addInstance(service, c.st.get("Environment", id), Fields{"source": map[string]any{"image": image}})
			c.deploy(i, nil)
		}
		return service.id
	})
}

// AddVolume makes a volume with an instance in each of the environments named, attached to a service; an empty
// service attaches it to none. Each instance holds some bytes of its own.
func (s *Server) AddVolume(project, name, mount, service string, sizeMB float64, environments ...string) string {
	return builder(s, func(c *call) string {
		v := c.add("Volume", Fields{"projectId": project, "name": name})
		for _, id := range environments {
			e := c.st.get("Environment", id)
			i := c.addVolumeInstance(v, e, service, mount, "")
			c.set(i, Fields{"currentSizeMB": sizeMB, "data": fmt.Sprintf("the rows of %s in %s\n", name, e.text("name"))})
		}
		return v.id
	})
}

// Instance is the id of the instance that a volume, or a service, has in an environment; empty if none.
func (s *Server) Instance(of, environment string) string {
	return builder(s, func(c *call) string {
		for kind, field := range map[string]string{"VolumeInstance": "volumeId", "ServiceInstance": "serviceId", "BucketInstance": "bucketId"} {
			for _, i := range c.st.where(kind, field, of) {
				if i.text("environmentId") == environment {
					return i.id
				}
			}
		}
		return ""
	})
}

// AddBackup makes a backup of a volume instance as it is, of a given age, that never expires.
func (s *Server) AddBackup(volumeInstance, name string, age time.Duration) string {
	return builder(s, func(c *call) string {
		i := c.st.get("VolumeInstance", volumeInstance)
		b := c.addBackup(i, name, c.now.Add(-age))
		c.set(b, Fields{"data": fmt.Sprintf("%s(as they were %s before)\n", i.text("data"), age)})
		return b.id
	})
}

// SetData replaces the bytes of a volume instance.
func (s *Server) SetData(volumeInstance, data string) {
	builder(s, func(c *call) bool {
		c.set(c.st.get("VolumeInstance", volumeInstance), Fields{"data": data})
		return true
	})
}

// Data is what a volume instance holds; not ok if it is gone.
func (s *Server) Data(volumeInstance string) (data string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.st.get("VolumeInstance", volumeInstance)
	if v == nil {
		return "", false
	}
	return v.text("data"), true
}

// SetVariable sets a variable of a service in an environment, or a shared one if the service is empty.
func (s *Server) SetVariable(environment, service, name, value string) {
	builder(s, func(c *call) bool { c.setVariable(environment, service, name, value); return true })
}

// AddAccountToken makes a token that reaches all that a user has.
func (s *Server) AddAccountToken(user, name string) string {
	return s.addToken("ApiToken", "api-token", Fields{"userId": user, "name": name})
}

// AddWorkspaceToken makes a token that reaches one workspace.
func (s *Server) AddWorkspaceToken(workspace, name string) string {
	return s.addToken("ApiToken", "api-token", Fields{"workspaceId": workspace, "name": name})
}

// AddProjectToken makes a token that reaches one environment.
func (s *Server) AddProjectToken(project, environment, name string) string {
	return s.addToken("ProjectToken", "project-token", Fields{"projectId": project, "environmentId": environment, "name": name})
}

func (s *Server) addToken(kind, what string, fields Fields) string {
	return builder(s, func(c *call) string {
		t := c.add(kind, fields)
		c.set(t, Fields{"token": c.s.secret(what)})
		return t.text("token")
	})
}
