package railway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// volumeLives lists the environments in which a volume has an instance.
func (inv *inventory) volumeLives(v *volume) []string {
	return inv.sorted(slices.Collect(maps.Keys(v.instances)))
}

// volumeInstance finds the volume that an instance is of.
func (inv *inventory) volumeInstance(id string) (v *volume, instance volumeInstance, found bool) {
	for _, v := range inv.volumes {
		for _, i := range v.instances {
			if i.ID == id {
				return v, i, true
			}
		}
	}
	return nil, volumeInstance{}, false
}

// volumeKind is a volume: in every environment where it has an instance, unless the call names one.
func volumeKind(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	inv, err := l.homeOf(ctx, "volume", n.ID)
	if err != nil {
		return gateway.Found{}, err
	}
	v := inv.volumes[n.ID]
	in, err := l.within(ctx, inv, n, "volume "+v.name, l.spread(inv.volumeLives(v)))
	if err != nil {
		return gateway.Found{}, err
	}
	return l.volumeFound(ctx, inv, v, in, "")
}

// volumeInstanceKind is a volume in one environment.
func volumeInstanceKind(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	inv, err := l.homeOf(ctx, "volume-instance", n.ID)
	if err != nil {
		return gateway.Found{}, err
	}
	v, i, _ := inv.volumeInstance(n.ID)
	return l.volumeFound(ctx, inv, v, []string{i.EnvironmentID}, "")
}

// backupKind is a backup, by the instance that the call says it lies on: the pair must belong together, because
// Railway may go by the backup's id alone.
func backupKind(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	instance, id := split(n.ID)
	inv, err := l.homeOf(ctx, "volume-instance", instance)
	if err != nil {
		return gateway.Found{}, err
	}
	v, i, _ := inv.volumeInstance(instance)
	var answer struct {
		Backups []struct {
			ID        string `json:"id"`
			Name      string `json:"name"`
			CreatedAt string `json:"createdAt"`
		} `json:"volumeInstanceBackupList"`
	}
	document := `query HourkeyBackups($id: String!) { volumeInstanceBackupList(volumeInstanceId: $id) { id name createdAt } }`
	if err := l.client.ask(ctx, document, map[string]any{"id": instance}, &answer); err != nil {
		return gateway.Found{}, err
	}
	for _, b := range answer.Backups {
		if b.ID == id {
			return l.volumeFound(ctx, inv, v, []string{i.EnvironmentID}, fmt.Sprintf("backup %q of %s on ", b.Name, b.CreatedAt))
		}
	}
	return gateway.Found{}, misfit(n, "volume %s in %s has no such backup on it", v.name, inv.shown(i.EnvironmentID))
}

// volumeFound tells of a volume and of the backups that lie on it; those are counted only afresh, because
// each count is a look-up and a volume that is read loses none.
func (l *look) volumeFound(ctx context.Context, inv *inventory, v *volume, in []string, prefix string) (gateway.Found, error) {
	found := l.found(inv, "volume", v.thing, in, prefix+inv.saysVolume(v))
	if len(in) < len(v.instances) {
		found.Says += "; meant is the one in " + and(inv.shownAll(in))
	}
	for _, id := range in {
		if i, is := v.instances[id]; is {
			found.Facts = append(found.Facts, broker.Fact{About: fmt.Sprintf("volume %s in %s", v.name, inv.shown(id)), Text: i.size(), At: inv.at})
		}
	}
	if !l.fresh {
		return found, nil
	}
	backups, err := l.countBackups(ctx, inv, v, in)
	if err != nil {
		return gateway.Found{}, err
	}
	found.Says += "; " + backups
	return found, nil
}

// saysVolume tells where a volume lives, how large it is and what it is attached to.
func (inv *inventory) saysVolume(v *volume) string {
	var parts []string
	for _, id := range inv.volumeLives(v) {
		i := v.instances[id]
		parts = append(parts, fmt.Sprintf("%s (%s, %s)", inv.shown(id), i.size(), inv.attached(i)))
	}
	if len(parts) == 0 {
		return fmt.Sprintf("volume %s lives in no environment yet", v.name)
	}
	return fmt.Sprintf("volume %s lives in %s", v.name, and(parts))
}

func (inv *inventory) attached(i volumeInstance) string {
	says := "attached to nothing"
	if s := inv.services[i.ServiceID]; s != nil {
		says = fmt.Sprintf("%s of service %s", i.MountPath, s.name)
	}
	if i.Pending {
		says += ", to be deleted"
	}
	return says
}

// size is what an instance holds, and may: "4.1 of 5 GB".
func (i volumeInstance) size() string {
	return fmt.Sprintf("%s of %s GB", gigabytes(i.CurrentSizeMB.String()), gigabytes(i.SizeMB.String()))
}

func gigabytes(megabytes string) string {
	mb, err := strconv.ParseFloat(megabytes, 64)
	if err != nil {
		return "?"
	}
	return strings.TrimSuffix(strconv.FormatFloat(mb/1000, 'f', 1, 64), ".0")
}

// countBackups counts the backups on a volume in one request.
func (l *look) countBackups(ctx context.Context, inv *inventory, v *volume, in []string) (string, error) {
	var many batch
	var where []string
	for _, id := range in {
		if i, is := v.instances[id]; is {
			many.add("volumeInstanceBackupList(volumeInstanceId: %s) { id }", i.ID)
			where = append(where, inv.shown(id))
		}
	}
	var counts []string
	total := 0
	for backups, err := range askEach[[]namedAnswer](ctx, l.client, many) {
		if err != nil {
			return "", err
		}
		if total += len(backups); len(backups) > 0 {
			counts = append(counts, fmt.Sprintf("%d in %s", len(backups), where[0]))
		}
		where = where[1:]
	}
	switch total {
	case 0:
		return "no backups lie on it", nil
	case 1:
		return fmt.Sprintf("1 backup lies on it, and goes with it (%s)", and(counts)), nil
	}
	return fmt.Sprintf("%d backups lie on it, and go with it (%s)", total, and(counts)), nil
}

// thingKind is what lives in all environments of its project, unless the call names one.
func thingKind(kind string) resolver {
	return func(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
		project, id := split(n.ID)
		inv, err := l.homeOf(ctx, kind, id)
		if err != nil {
			return gateway.Found{}, err
		}
		all := inv.of(kind)
		t := all[slices.IndexFunc(all, func(t thing) bool { return t.id == id })]
		what := kind + " " + t.name
		if err := l.fits(ctx, n, project, what, inv); err != nil {
			return gateway.Found{}, err
		}
		in, err := l.within(ctx, inv, n, what, l.spread(inv.everywhere()))
		return l.found(inv, kind, t, in, fmt.Sprintf("%s in %s", what, and(inv.shownAll(in)))), err
	}
}
