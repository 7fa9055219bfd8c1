package vault

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// papers is what Vault said when it was looked at: each path was read once.
type papers struct {
	cluster string
	mount   mount
	read    map[string]paper // path → answer
}

type paper struct {
	data map[string]any
	err  error
}

// mount is what Vault says of the target's mount.
type mount struct {
	kind     string
	accessor string
	options  map[string]string
	lease    time.Duration // of a credential whose role says nothing; 0: Vault's own default
	longest  time.Duration // of any credential; 0: Vault's own default
}

// at gives the answer of a path that was read.
func (p papers) at(path string) (map[string]any, error) {
	one, read := p.read[path]
	if !read {
		return nil, fmt.Errorf("%s was not read", path)
	}
	return one.data, one.err
}

// forbidden tells whether Vault refused to have something read.
func (p papers) forbidden() bool {
	for _, one := range p.read {
		if session.StatusOf(one.err) == http.StatusForbidden {
			return true
		}
	}
	return false
}

// look reads paths, and who answers and at which mount, all at once.
func (i *Issuer) look(ctx context.Context, paths []string) (papers, error) {
	p := papers{read: map[string]paper{}}
	paths = slices.Compact(slices.Sorted(slices.Values(append([]string{i.mountPath()}, paths...))))
	answers := make([]paper, len(paths))
	var clusterErr error
	var all sync.WaitGroup
	all.Go(func() { p.cluster, clusterErr = i.session.ClusterID(ctx) })
	for at, path := range paths {
		all.Go(func() { answers[at] = i.paper(ctx, path) })
	}
	all.Wait()
	if clusterErr != nil {
		return papers{}, i.fault("asking Vault who it is", clusterErr)
	}
	for at, path := range paths {
		p.read[path] = answers[at]
	}
	return p, i.findMount(&p)
}

// paper reads one path, with not too many others at once.
func (i *Issuer) paper(ctx context.Context, path string) paper {
	select {
	case i.reading <- struct{}{}:
	case <-ctx.Done():
		return paper{err: ctx.Err()}
	}
	defer func() { <-i.reading }()
	answer, err := i.session.Read(ctx, path)
	if err != nil {
		return paper{err: err}
	}
	return paper{data: answer.Data}
}

func (i *Issuer) mountPath() string { return "sys/mounts/" + i.config.Settings.Mount }

// findMount takes the mount out of what was read, and refuses one of another type.
func (i *Issuer) findMount(p *papers) error {
	s := i.config.Settings
	data, err := p.at(i.mountPath())
	if session.StatusOf(err) == http.StatusBadRequest {
		return broker.Errorf(broker.CodeWall, "%s: Vault has no mount %s", i.config.Ref, s.Mount).WithNext("enable the engine there, or correct mount")
	}
	if err != nil {
		return i.fault("reading the mount "+s.Mount, err)
	}
	p.mount.kind, _ = data["type"].(string)
	p.mount.accessor, _ = data["accessor"].(string)
	if tuned, ok := data["config"].(map[string]any); ok {
		p.mount.lease, p.mount.longest = seconds(tuned["default_lease_ttl"]), seconds(tuned["max_lease_ttl"])
	}
	p.mount.options = map[string]string{}
	options, _ := data["options"].(map[string]any)
	for name, value := range options {
		p.mount.options[name], _ = value.(string)
	}
	if want := i.engine.traits().mounted; p.mount.accessor == "" || want != "" && p.mount.kind != want {
		return broker.Errorf(broker.CodeWall, "%s: the mount %s is of type %q, not of engine %s", i.config.Ref, s.Mount, p.mount.kind, s.Engine).WithNext("correct mount or engine")
	}
	return nil
}

// identityPaths are what an identity rests on, beside cluster and mount.
func (i *Issuer) identityPaths() []string {
	switch s := i.config.Settings; s.Engine {
	case engineDatabase:
		return []string{connectionPath(s)}
	case engineKubernetes:
		return []string{clusterPath(s)}
	case enginePKI, engineSSH:
		return []string{authorityPath(s)}
	}
	return nil
}

// identity makes the target's identity: cluster, mount, and what within the mount belongs to this environment.
func (i *Issuer) identity(p papers) (broker.Identity, error) {
	s := i.config.Settings
	at := "vault:" + p.cluster + "/" + p.mount.accessor
	shown := fmt.Sprintf("Vault at %s, cluster %s, mount %s (%s)", s.Address, p.cluster, s.Mount, p.mount.accessor)
	if s.Namespace != "" {
		shown += ", namespace " + s.Namespace
	}
	switch {
	case s.Engine == engineDatabase:
		through, err := i.connection(p)
		if err != nil {
			return broker.Identity{}, err
		}
		id := at + "/" + s.Connection
		parts := []string{id}
		if through.place != nil { // the same database by another connection, or another Vault, is the same thing
			parts = append(parts, "vault-database:"+through.id())
		}
		return broker.Identity{ID: id + "=" + through.id(), Shown: shown + ", connection " + s.Connection + " to " + through.id(), Parts: strings.Join(parts, " ")}, nil
	case s.isKV():
		who := within(at, shown, "folders", s.Folders)
		if s.Engine == engineKV {
			who.Parts = at // its folders are no wall between environments: see dots
		}
		return who, nil
	}
	var roles []string
	for _, offer := range s.Offers {
		roles = append(roles, offer.Role)
	}
	who := within(at, shown, "roles", roles)
	switch s.Engine {
	case engineKubernetes:
		host, err := i.apiServer(p)
		if err != nil {
			return broker.Identity{}, err
		}
		who.ID, who.Shown = who.ID+"="+host, who.Shown+" of "+host
	case enginePKI, engineSSH:
		signs, err := i.authority(p)
		if err != nil {
			return broker.Identity{}, err
		}
		who.ID, who.Shown, who.Parts = who.ID+"="+signs, who.Shown+", signed by "+signs, at+" "+signs // roles are no wall: see authority
	}
	return who, nil
}

// within is an identity of some names of a mount, none of which may be in another environment as well.
func within(at, shown, what string, names []string) broker.Identity {
	names = slices.Sorted(slices.Values(names))
	parts := make([]string, len(names))
	for n, name := range names {
		parts[n] = at + "/" + name
	}
	return broker.Identity{ID: at + "/" + strings.Join(names, ","), Shown: shown + ", " + what + " " + strings.Join(names, ", "), Parts: strings.Join(parts, " ")}
}

// tokenRole reads the role that makes the leases' tokens, and refuses one whose tokens could outlive or outgrow their lease.
func (i *Issuer) tokenRole(p papers) error {
	name := i.config.Settings.TokenRole
	data, err := p.at(tokenRolePath(name))
	if err != nil {
		return i.fault("reading the token role "+name, err)
	}
	if wrong := tokenRoleFaults(data); len(wrong) > 0 {
		return broker.Errorf(broker.CodeWall, "%s: the token role %s %s", i.config.Ref, name, wrong[0]).WithNext("%s", i.tokenRoleMend())
	}
	return nil
}

func tokenRolePath(name string) string { return "auth/token/roles/" + name }

// tokenRoleFaults lists what is wrong with a token role (developer.hashicorp.com/vault/api-docs/auth/token).
func tokenRoleFaults(data map[string]any) []string {
	is := func(name string) bool { value, _ := data[name].(bool); return value }
	longest := lowest(seconds(data["token_explicit_max_ttl"]), seconds(data["explicit_max_ttl"]))
	kind, _ := data["token_type"].(string)
	var list []string
	add := func(wrong bool, what string) {
		if wrong {
			list = append(list, what)
		}
	}
	add(!is("orphan"), "makes no orphans: its tokens would end with the broker's own, and inherit the powers of its identity")
	add(longest == 0 || longest > broker.Hour, "has no token_explicit_max_ttl of at most an hour")
	add(is("renewable"), "makes tokens that can be renewed")
	add(seconds(data["token_period"]) > 0 || seconds(data["period"]) > 0, "makes periodic tokens, which can be renewed for ever")
	add(!is("token_no_default_policy"), "adds the policy default to its tokens")
	add(kind != "service", "must make tokens of type service: no other can be revoked")
	add(len(session.Texts(data["allowed_policies"])) == 0, "has no allowed_policies")
	add(len(session.Texts(data["allowed_policies_glob"])) > 0, "has allowed_policies_glob: policies that somebody makes later would be allowed too")
	add(slices.Contains(session.Texts(data["allowed_policies"]), "root"), "allows the policy root")
	add(len(session.Texts(data["allowed_entity_aliases"])) > 0, "allows entity aliases: its tokens could inherit the powers of an identity")
	suffix, _ := data["path_suffix"].(string)
	add(suffix != "", "has a path_suffix: its tokens could not be found again after a crash")
	add(session.Number(data["token_num_uses"]) > 0, "has token_num_uses: a token that is used up takes with it what was handed out by it")
	return list
}

// allowedPolicies are all policies that the target's tokens may be asked for.
func (i *Issuer) allowedPolicies() []string {
	all := slices.Clone(i.config.Settings.Policies)
	for _, offer := range i.config.Settings.Offers {
		all = append(all, offer.Policies...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (i *Issuer) tokenRoleMend() string {
	return fmt.Sprintf("vault write auth/token/roles/%s allowed_policies=%s orphan=true renewable=false token_explicit_max_ttl=1h token_no_default_policy=true token_type=service",
		i.config.Settings.TokenRole, strings.Join(i.allowedPolicies(), ","))
}
