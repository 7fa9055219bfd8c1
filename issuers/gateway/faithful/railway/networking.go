package railway

import (
	"fmt"
	"slices"
	"strconv"
)

// addDoor makes a way in from outside: a domain of a kind, or a TCP proxy.
func (c *call) addDoor(kind string, i *record, key string, port any) *record {
	fields := Fields{
		"projectId": c.st.place(i).project, "environmentId": i.text("environmentId"), "serviceId": i.text("serviceId"),
		"syncStatus": "ACTIVE",
	}
	switch kind {
	case "TCPProxy":
		n, _ := strconv.Atoi(key)
		fields["applicationPort"], fields["proxyPort"] = n, 10000+len(c.st.all(kind))
		fields["domain"] = "proxy.rlwy.net"
	default:
		fields["domain"], fields["targetPort"] = key, port
	}
	return c.add(kind, fields)
}

func customDomainCreate(c *call, a args) (any, error) {
	in := a.input()
	i, err := c.instance(in.text("serviceId"), in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	if len(c.st.where("CustomDomain", "domain", in.text("domain"))) > 0 {
		return nil, fmt.Errorf("Domain already taken")
	}
	return c.addDoor("CustomDomain", i, in.text("domain"), in["targetPort"]), nil
}

func serviceDomainCreate(c *call, a args) (any, error) {
	in := a.input()
	i, err := c.instance(in.text("serviceId"), in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	return c.addDoor("ServiceDomain", i, i.text("serviceName")+"-"+c.s.uuid()[:6]+".up.railway.app", in["targetPort"]), nil
}

func tcpProxyCreate(c *call, a args) (any, error) {
	in := a.input()
	i, err := c.instance(in.text("serviceId"), in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	return c.addDoor("TCPProxy", i, strconv.Itoa(number(in["applicationPort"])), nil), nil
}

func domains(c *call, a args) (any, error) {
	if err := c.within(a); err != nil {
		return nil, err
	}
	return c.domainsOf(a.text("serviceId"), a.text("environmentId")), nil
}

func (c *call) domainsOf(service, environment string) any {
	return map[string]any{
		"customDomains": c.st.both("CustomDomain", service, environment), "serviceDomains": c.st.both("ServiceDomain", service, environment),
	}
}

func privateNetworkCreateOrGet(c *call, a args) (any, error) {
	in := a.input()
	e, err := c.own("Environment", in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	for _, n := range c.st.where("PrivateNetwork", "environmentId", e.id) {
		if n.text("name") == in.text("name") {
			return n, nil
		}
	}
	return c.add("PrivateNetwork", Fields{
		"projectId": e.text("projectId"), "environmentId": e.id, "name": in["name"], "dnsName": in["name"], "tags": in["tags"],
		"networkId": len(c.st.all("PrivateNetwork")) + 1,
	}), nil
}

func endpointCreateOrGet(c *call, a args) (any, error) {
	in := a.input()
	i, err := c.instance(in.text("serviceId"), in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	n, err := c.own("PrivateNetwork", in.text("privateNetworkId"))
	if err != nil {
		return nil, err
	}
	for _, e := range c.st.where("PrivateNetworkEndpoint", "serviceInstanceId", i.id) {
		if e.text("privateNetworkId") == n.id {
			return e, nil
		}
	}
	return c.add("PrivateNetworkEndpoint", Fields{
		"privateNetworkId": n.id, "serviceInstanceId": i.id, "dnsName": in["serviceName"], "tags": in["tags"], "syncStatus": "ACTIVE",
		"privateIps": []any{"fd12::1"},
	}), nil
}

func privateNetworkEndpoint(c *call, a args) (any, error) {
	if err := c.within(a); err != nil {
		return nil, err
	}
	i := first(c.st.both("ServiceInstance", a.text("serviceId"), a.text("environmentId")))
	if i == nil {
		return nil, nil
	}
	if e := first(c.st.where("PrivateNetworkEndpoint", "serviceInstanceId", i.id)); e != nil {
		return e, nil
	}
	return nil, nil
}

func privateNetworksDelete(c *call, a args) (any, error) {
	e, err := c.own("Environment", a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	return true, c.destroy(c.st.where("PrivateNetwork", "environmentId", e.id)...)
}

// targets lists the instances whose static addresses an operation is about: of one environment, or of all
// that the service is in.
func (c *call) targets(in args) ([]*record, error) {
	i, err := c.instance(in.text("serviceId"), in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	if !in.is("allEnvironments") {
		return []*record{i}, nil
	}
	return c.changeable(c.st.where("ServiceInstance", "serviceId", i.text("serviceId")), nil)
}

func (c *call) addEgress(i *record, region string, zones ...string) []*record {
	var all []*record
	for _, zone := range zones {
		all = append(all, c.add("EgressGateway", Fields{
			"serviceId": i.text("serviceId"), "environmentId": i.text("environmentId"), "region": firstText(region, "us-west2"),
			"zone": zone, "ipv4": fmt.Sprintf("192.0.2.%d", 1+len(c.st.all("EgressGateway"))%250),
		}))
	}
	return all
}

func egressCreate(c *call, a args) (any, error) {
	in := a.input()
	i, err := c.instance(in.text("serviceId"), in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	return c.addEgress(i, in.text("region"), ""), nil
}

func egressClear(c *call, a args) (any, error) {
	all, err := c.targets(a.input())
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if err := c.destroy(c.st.both("EgressGateway", i.text("serviceId"), i.text("environmentId"))...); err != nil {
			return nil, err
		}
	}
	return true, nil
}

// egressUpgrade and egressRollback give a service other addresses: those it had, which others may have let
// through their walls, are gone.
func egressUpgrade(c *call, a args) (any, error)  { return c.egressReplace(a, "a", "b", "c") }
func egressRollback(c *call, a args) (any, error) { return c.egressReplace(a, "") }

func (c *call) egressReplace(a args, zones ...string) (any, error) {
	all, err := c.targets(a.input())
	if err != nil {
		return nil, err
	}
	var made []*record
	for _, i := range all {
		old := c.st.both("EgressGateway", i.text("serviceId"), i.text("environmentId"))
		made = append(made, c.addEgress(i, "", zones...)...)
		if err := c.destroy(old...); err != nil {
			return nil, err
		}
	}
	return made, nil
}

func egressPreview(c *call, a args) (any, error) {
	all, err := c.targets(a.input())
	if err != nil {
		return nil, err
	}
	results := []any{}
	for _, i := range all {
		e := c.st.get("Environment", i.text("environmentId"))
		results = append(results, map[string]any{"environmentId": e.id, "environmentName": e.text("name"), "success": true, "gateways": []any{}})
	}
	return map[string]any{"environments": results, "ips": []any{}}, nil
}

func egressQuery(c *call, a args) (any, error) {
	if _, err := serviceInstance(c, a); err != nil {
		return nil, err
	}
	return []any{map[string]any{"ipv4": "192.0.2.251", "region": "us-west2"}}, nil
}

// edge finds, or makes, how the edge treats a service in an environment.
func (c *call) edge(in args) (*record, error) {
	i, err := c.instance(in.text("serviceId"), in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	if e := c.edgeOf(i); e != nil {
		return e, nil
	}
	return c.add("EdgeConfig", Fields{
		"serviceId": i.text("serviceId"), "environmentId": i.text("environmentId"), "enabled": false, "purgeEpoch": 0, "edgeRules": []any{},
	}), nil
}

func (c *call) edgeOf(i *record) *record {
	return first(c.st.both("EdgeConfig", i.text("serviceId"), i.text("environmentId")))
}

func (c *call) edgeSet(a args, fields Fields) (any, error) {
	e, err := c.edge(a.input())
	if err != nil {
		return nil, err
	}
	c.set(e, fields)
	return e, nil
}

func cdnEnable(c *call, a args) (any, error) {
	e, err := c.edge(a.input())
	if err != nil {
		return nil, err
	}
	c.set(e, Fields{"enabled": true})
	c.setCaching(e, a.input().object("config"))
	return e, nil
}

func (c *call) setCaching(e *record, config args) {
	if given := config.object("caching"); given != nil {
		c.set(e, Fields{"caching": mergePatch(asMap(e.fields["caching"]), given)})
	}
}

func cdnDisable(c *call, a args) (any, error) { return c.edgeSet(a, Fields{"enabled": false}) }

func cdnPurge(c *call, a args) (any, error) {
	e, err := c.edge(a.input())
	if err != nil {
		return nil, err
	}
	c.set(e, Fields{"purgeEpoch": number(e.fields["purgeEpoch"]) + 1})
	return true, nil
}

func edgeConfigUpdate(c *call, a args) (any, error) {
	e, err := c.edge(a.input())
	if err != nil {
		return nil, err
	}
	c.setCaching(e, a.input().object("config"))
	return e, nil
}

// edgeRulesUpdate replaces all rules by those given; null leaves none.
func edgeRulesUpdate(c *call, a args) (any, error) {
	in := a.input()
	if !in.has("edgeRules") {
		return c.edge(in)
	}
	rules, isList := in["edgeRules"].([]any)
	if !isList && in["edgeRules"] != nil {
		return nil, fmt.Errorf("edgeRules must be a list")
	}
	numbered := make([]any, 0, len(rules))
	for _, rule := range rules {
		r := mergePatch(asMap(rule), nil)
		if r["id"] == nil {
			r["id"] = "rul_" + c.s.uuid()[:8]
		}
		numbered = append(numbered, r)
	}
	return c.edgeSet(a, Fields{"edgeRules": numbered})
}

func underAttackMode(c *call, a args) (any, error) {
	until := any(nil)
	if a.input().is("enabled") {
		until = int(c.now.Unix()) + max(3600, number(a.input()["durationSeconds"]))
	}
	return c.edgeSet(a, Fields{"underAttackModeUntil": until})
}

// railwayDomain finds a bought domain by its name in a workspace.
func (c *call) railwayDomain(in args) (*record, error) {
	if _, err := c.find("Workspace", in.text("workspaceId")); err != nil {
		return nil, err
	}
	for _, d := range c.st.where("RailwayDomain", "workspaceId", in.text("workspaceId")) {
		if d.text("domain") == in.text("domain") {
			return d, nil
		}
	}
	return nil, fmt.Errorf("RailwayDomain not found")
}

func railwayDomainByName(c *call, a args) (any, error) { return c.railwayDomain(a) }

func railwayDomainDNSRecords(c *call, a args) (any, error) {
	d, err := c.railwayDomain(a)
	if err != nil {
		return nil, err
	}
	return c.st.where("RailwayDomainDnsRecord", "railwayDomainId", d.id), nil
}

func dnsRecordCreate(c *call, a args) (any, error) {
	in := a.input()
	d, err := c.railwayDomain(in)
	if err != nil {
		return nil, err
	}
	return c.addDNSRecord(d, in), nil
}

func (c *call) addDNSRecord(d *record, in args) *record {
	fields := Fields{
		"railwayDomainId": d.id, "recordId": 1 + len(c.st.all("RailwayDomainDnsRecord")), "domainName": d.text("domain"),
		"fqdn": in.text("host") + "." + d.text("domain"), "ttl": 300,
	}
	for _, name := range []string{"answer", "host", "priority", "ttl", "type"} {
		if in[name] != nil {
			fields[name] = in[name]
		}
	}
	return c.add("RailwayDomainDnsRecord", fields)
}

func (c *call) dnsRecord(in args) (*record, error) {
	d, err := c.railwayDomain(in)
	if err != nil {
		return nil, err
	}
	all := c.st.where("RailwayDomainDnsRecord", "railwayDomainId", d.id)
	i := slices.IndexFunc(all, func(r *record) bool { return number(r.fields["recordId"]) == number(in["recordId"]) })
	if i < 0 {
		return nil, fmt.Errorf("DNS record not found")
	}
	return all[i], nil
}

func dnsRecordUpdate(c *call, a args) (any, error) {
	r, err := c.dnsRecord(a.input())
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"answer", "host", "priority", "ttl", "type"} {
		if a.input()[name] != nil {
			c.set(r, Fields{name: a.input()[name]})
		}
	}
	return r, nil
}

func dnsRecordDelete(c *call, a args) (any, error) {
	r, err := c.dnsRecord(a.input())
	if err != nil {
		return nil, err
	}
	return true, c.destroy(r)
}

// nameserversSet hands a domain to other nameservers; an empty list takes it back.
func nameserversSet(c *call, a args) (any, error) {
	in := a.input()
	d, err := c.own("RailwayDomain", in.text("id"))
	if err != nil {
		return nil, err
	}
	set := map[string]any{"isDefault": len(in.texts("nameservers")) == 0, "nameservers": in["nameservers"]}
	c.set(d, Fields{"nameservers": set})
	return set, nil
}
