package railway

import (
	"fmt"
	"slices"
	"time"
)

// newVolumeSize is how large a new volume may grow, in MB.
const newVolumeSize = 5000

// volumeCreate follows the words of environmentId: left out it is every environment, null none.
func volumeCreate(c *call, a args) (any, error) {
	in := a.input()
	project, err := c.find("Project", in.text("projectId"))
	if err != nil {
		return nil, err
	}
	into, err := c.environmentsFor(project, in)
	if err != nil {
		return nil, err
	}
	if s := in.text("serviceId"); s != "" {
		if _, err := c.find("Service", s); err != nil {
			return nil, err
		}
	}
	v := c.add("Volume", Fields{"projectId": project.id, "name": "volume-" + c.s.uuid()[:8]})
	for _, e := range into {
		c.addVolumeInstance(v, e, in.text("serviceId"), in.text("mountPath"), in.text("region"))
	}
	return v, nil
}

// environmentsFor reads an environmentId for which null and absence mean different things.
func (c *call) environmentsFor(project *record, in args) ([]*record, error) {
	if id := in.text("environmentId"); id != "" {
		e, err := c.own("Environment", id)
		if err == nil && e.text("projectId") != project.id {
			err = fmt.Errorf("Environment not found in project")
		}
		return []*record{e}, err
	}
	if !c.mayChange(project) {
		return nil, errUnauthorized
	}
	if in.has("environmentId") {
		return nil, nil
	}
	return c.st.where("Environment", "projectId", project.id), nil
}

func (c *call) addVolumeInstance(volume, environment *record, service, mount, region string) *record {
	fields := Fields{
		"volumeId": volume.id, "environmentId": environment.id, "mountPath": mount, "state": "READY",
		"region": firstText(region, "us-west2"), "sizeMB": newVolumeSize, "currentSizeMB": 0.0,
		"isPendingDeletion": false, "externalId": "vol_" + c.s.uuid()[:8], "data": "", "serviceId": nil,
	}
	if service != "" && len(c.st.both("ServiceInstance", service, environment.id)) > 0 {
		fields["serviceId"] = service
	}
	return c.add("VolumeInstance", fields)
}

// volumeInstanceUpdate changes the instances of all environments if none is named, and detaches the volume if
// no service is: so the schema says.
func volumeInstanceUpdate(c *call, a args) (any, error) {
	v, err := c.find("Volume", a.text("volumeId"))
	if err != nil {
		return nil, err
	}
	instances := c.st.where("VolumeInstance", "volumeId", v.id)
	if e := a.text("environmentId"); e != "" {
		instances = slices.DeleteFunc(instances, func(i *record) bool { return i.text("environmentId") != e })
	}
	if len(instances) == 0 {
		return nil, fmt.Errorf("VolumeInstance not found")
	}
	for _, i := range instances {
		if !c.mayChange(i) {
			return nil, errUnauthorized
		}
	}
	for _, i := range instances {
		if err := c.updateVolumeInstance(i, a.input()); err != nil {
			return nil, err
		}
	}
	return true, nil
}

func (c *call) updateVolumeInstance(i *record, in args) error {
	change := Fields{"serviceId": nil}
	if s := in.text("serviceId"); s != "" {
		if _, err := c.instance(s, i.text("environmentId")); err != nil {
			return err
		}
		change["serviceId"] = s
	}
	if m := in.text("mountPath"); m != "" {
		change["mountPath"] = m
	}
	if state := in.text("state"); state != "" {
		change["state"] = state
	}
	c.set(i, change)
	if s := i.text("state"); s == "DELETED" || s == "DELETING" {
		return c.dropVolumeInstance(i)
	}
	return nil
}

// dropVolumeInstance destroys what a volume keeps in one environment, and the volume with its last instance.
func (c *call) dropVolumeInstance(i *record) error {
	if err := c.destroy(i); err != nil {
		return err
	}
	if v := c.st.get("Volume", i.text("volumeId")); v != nil && len(c.st.where("VolumeInstance", "volumeId", v.id)) == 0 {
		c.st.destroy(v)
	}
	return nil
}

func backupCreate(c *call, a args) (any, error) {
	i, err := c.own("VolumeInstance", a.text("volumeInstanceId"))
	if err != nil {
		return nil, err
	}
	c.addBackup(i, firstText(a.text("name"), "Manual"), c.now)
	return c.workflow(), nil
}

func (c *call) addBackup(i *record, name string, made time.Time) *record {
	return c.add("VolumeInstanceBackup", Fields{
		"volumeInstanceId": i.id, "name": name, "createdAt": made, "externalId": "bak_" + c.s.uuid()[:8], "expiresAt": nil,
		"data": i.fields["data"], "usedMB": i.fields["currentSizeMB"], "referencedMB": i.fields["currentSizeMB"],
		"volumeInstanceSizeMB": i.fields["sizeMB"],
	})
}

// backup finds a backup by its own id; whose instance was named beside it is not compared.
func (c *call) backup(a args) (backup, instance *record, err error) {
	b, err := c.own("VolumeInstanceBackup", a.text("volumeInstanceBackupId"))
	if err != nil {
		return nil, nil, err
	}
	i, err := c.own("VolumeInstance", a.text("volumeInstanceId"))
	return b, i, err
}

func backupDelete(c *call, a args) (any, error) {
	b, _, err := c.backup(a)
	if err != nil {
		return nil, err
	}
	return c.workflow(), c.destroy(b)
}

func backupLock(c *call, a args) (any, error) {
	b, _, err := c.backup(a)
	if err != nil {
		return nil, err
	}
	c.set(b, Fields{"expiresAt": nil})
	return true, nil
}

// backupRestore puts a backup's bytes in the place of what the instance, and those of the replicas, held.
// Backups newer than the one restored go; so does everything on the volumes of the services to wipe.
func backupRestore(c *call, a args) (any, error) {
	b, i, err := c.backup(a)
	if err != nil {
		return nil, err
	}
	environment := i.text("environmentId")
	replicas, err := c.mounted(a.texts("replicaServiceIds"), environment)
	if err != nil {
		return nil, err
	}
	wiped, err := c.mounted(a.texts("wipeServiceIds"), environment)
	if err != nil {
		return nil, err
	}
	for _, target := range append(replicas, i) {
		c.set(target, Fields{"data": b.fields["data"]})
	}
	for _, other := range c.st.where("VolumeInstanceBackup", "volumeInstanceId", i.id) {
		if other.when("createdAt").After(b.when("createdAt")) {
			c.st.destroy(other)
		}
	}
	for _, w := range wiped {
		c.st.destroy(w)
		fresh := c.addVolumeInstance(c.st.get("Volume", w.text("volumeId")), c.st.get("Environment", environment),
			w.text("serviceId"), w.text("mountPath"), w.text("region"))
		c.set(fresh, Fields{"sizeMB": w.fields["sizeMB"]})
	}
	return c.workflow(), nil
}

// mounted finds the volume instances that services have in an environment.
func (c *call) mounted(services []string, environment string) ([]*record, error) {
	var all []*record
	for _, s := range services {
		if _, err := c.instance(s, environment); err != nil {
			return nil, err
		}
		all = append(all, c.st.both("VolumeInstance", s, environment)...)
	}
	return all, nil
}

// backupScheduleUpdate makes the schedules exactly those named: an empty list ends all backups.
func backupScheduleUpdate(c *call, a args) (any, error) {
	i, err := c.own("VolumeInstance", a.text("volumeInstanceId"))
	if err != nil {
		return nil, err
	}
	wanted := a.texts("kinds")
	for _, s := range c.st.where("VolumeInstanceBackupSchedule", "volumeInstanceId", i.id) {
		if !slices.Contains(wanted, s.text("kind")) {
			c.st.destroy(s)
		}
		wanted = slices.DeleteFunc(wanted, func(kind string) bool { return kind == s.text("kind") })
	}
	for _, kind := range wanted {
		c.addSchedule(i, kind)
	}
	return true, nil
}

func (c *call) addSchedule(i *record, kind string) {
	type plan struct {
		cron string
		keep time.Duration
	}
	const day = 24 * time.Hour
	p := map[string]plan{"DAILY": {"0 0 * * *", 6 * day}, "WEEKLY": {"0 0 * * 0", 30 * day}, "MONTHLY": {"0 0 1 * *", 90 * day}}[kind]
	c.add("VolumeInstanceBackupSchedule", Fields{
		"volumeInstanceId": i.id, "kind": kind, "name": kind, "cron": p.cron, "retentionSeconds": int(p.keep.Seconds()),
	})
}

// pitrRestore makes a new service with the old bytes; the source stays as it is.
func pitrRestore(c *call, a args) (any, error) {
	i, err := c.own("VolumeInstance", a.text("volumeInstanceId"))
	if err != nil {
		return nil, err
	}
	v, e := c.st.get("Volume", i.text("volumeId")), c.st.get("Environment", i.text("environmentId"))
	name := firstText(a.text("newServiceName"), "postgres-restored-"+c.now.Format("20060102-1504"))
	s := c.add("Service", Fields{"projectId": v.text("projectId"), "name": name})
	c.addInstance(s, e, Fields{"source": map[string]any{"image": "postgres:17"}})
	twin := c.add("Volume", Fields{"projectId": v.text("projectId"), "name": name + "-volume"})
	restored := c.addVolumeInstance(twin, e, s.id, i.text("mountPath"), i.text("region"))
	c.set(restored, Fields{"data": i.fields["data"], "currentSizeMB": i.fields["currentSizeMB"]})
	return c.workflow(), nil
}
