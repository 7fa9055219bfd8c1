package doctor

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// kubernetes looks at the files of $KUBECONFIG, at every kubeconfig in ~/.kube, which --kubeconfig leads to, and at the account
// of the pod that this may be.
func (x *examination) kubernetes() {
	list := filepath.SplitList(x.getenv("KUBECONFIG"))
	folder := filepath.Join(x.Home, ".kube")
	for _, f := range x.openAll(folder, "") {
		if f.path == filepath.Join(folder, "config") || bytes.Contains(f.data, []byte("clusters:")) && bytes.Contains(f.data, []byte("users:")) {
			list = append(list, f.path)
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	for _, path := range list {
		if !filepath.IsAbs(path) {
			continue // relative to wherever kubectl is called; in the tree it is found there
		}
		if f := x.open(path); f != nil {
			x.kubeconfig(f)
		}
	}
}

// pod looks for the token of a pod's service account, which the machine's agent renews as long as the pod runs.
func (x *examination) pod() {
	if x.Pod == "" {
		return
	}
	if f := x.open(filepath.Join(x.Pod, "token")); f != nil && usable(strings.TrimSpace(string(f.data))) {
		x.add(strings.TrimSpace(string(f.data)), found{kind: kubernetesPod, place: f.at(1), reaches: said("the cluster that this runs in, with all that the pod's service account may do; renewed as long as the pod runs")})
	}
}

// looksLikeKubeconfig tells a kubeconfig in the tree, whatever it is called, but no source code.
func looksLikeKubeconfig(base string, data []byte) bool {
	return slices.Contains([]string{"", ".yaml", ".yml", ".conf", ".config", ".kubeconfig"}, filepath.Ext(base)) && bytes.Contains(data, []byte("kind: Config")) && bytes.Contains(data, []byte("users:")) && bytes.Contains(data, []byte("clusters:"))
}

// kubeconfig reports the users of one file (kubernetes.io, kubeconfig v1) that have something of their own
// to show: a token, a key, a password. What an exec plugin fetches does not lie here.
func (x *examination) kubeconfig(f *file) {
	entries, err := readYAML(f.data)
	if err != nil {
		x.unreadable(f, "a kubeconfig")
		x.examineText(f)
		return
	}
	reported := map[string]bool{} // index of the user
	for _, e := range entries {
		if len(e.path) < 4 || e.path[0] != "users" || e.path[2] != "user" || !usable(e.value) {
			continue
		}
		way, secret := kubeWay(e)
		x.keepOut(secret)
		if way != "" && !reported[e.path[1]] {
			reported[e.path[1]] = x.kubeUser(f, entries, e, way)
		}
	}
}

// kubeWay says by what a user logs in, and gives the secret if it stands there itself.
func kubeWay(e entry) (way, secret string) {
	switch e.path[3] {
	case "token":
		return "a token", e.value
	case "tokenFile":
		return "a token in a file", ""
	case "client-key-data":
		return "a client certificate", e.value
	case "client-key":
		return "a client certificate", ""
	case "password":
		return "a password", e.value
	case "auth-provider":
		if key := e.path[len(e.path)-1]; key == "refresh-token" || key == "id-token" || key == "access-token" {
			return "a token of a login", e.value
		}
	}
	return "", ""
}

// kubeUser reports one user, unless what it has is over. It tells whether that is settled.
func (x *examination) kubeUser(f *file, entries []entry, e entry, way string) bool {
	name := valueOf(entries, "users", e.path[1], "name")
	end := kubeEnd(entries, e)
	if !end.IsZero() {
		switch left := end.Sub(x.Now()); {
		case left <= 0:
			return false
		case left < 24*time.Hour:
			x.note("%s: the Kubernetes user %s has "+way+" until "+clock(end), f.shown, name)
			return true
		}
		way += " until " + end.Format("2006-01-02")
	}
	clusters, local := kubeClusters(entries, name)
	reported := found{kind: kubernetesUser, place: f.at(e.line), reaches: said("no context names the user %s; what it may do cannot be told offline ("+way+")", name)}
	if len(clusters) > 0 {
		reported.reaches = said("cluster %s as %s, with all its roles allow in every namespace, which cannot be told offline ("+way+")", several(clusters), name)
	}
	if local {
		x.local("", reported)
		return true
	}
	x.add("", reported)
	return true
}

// kubeEnd is when a token or certificate ends, as it says itself; zero if it does not say.
func kubeEnd(entries []entry, e entry) time.Time {
	if e.path[3] == "token" {
		c, _ := readJWT(e.value)
		return c.end()
	}
	text, err := base64.StdEncoding.DecodeString(valueOf(entries, "users", e.path[1], "user", "client-certificate-data"))
	if err != nil || !strings.HasPrefix(e.path[3], "client-key") {
		return time.Time{}
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return time.Time{}
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}
	}
	return certificate.NotAfter.UTC()
}

// kubeClusters names the clusters that contexts lead this user to, and tells whether all are local.
func kubeClusters(entries []entry, user string) (names []string, local bool) {
	local = true
	for _, e := range entries {
		if !e.is("contexts", "*", "context", "user") || e.value != user {
			continue
		}
		cluster := valueOf(entries, "contexts", e.path[1], "context", "cluster")
		server := kubeServer(entries, cluster)
		if u, err := url.Parse(server); err != nil || !isLocalHost(u.Hostname()) || u.Hostname() == "" {
			local = false
		}
		if name := cluster + " (" + server + ")"; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, local && len(names) > 0
}

// kubeServer gives the address of a cluster, without anything that a URL could hide in it.
func kubeServer(entries []entry, cluster string) string {
	for _, e := range entries {
		if e.is("clusters", "*", "name") && e.value == cluster {
			u, err := url.Parse(valueOf(entries, "clusters", e.path[1], "cluster", "server"))
			if err != nil {
				return "unknown address"
			}
			return u.Scheme + "://" + u.Host + u.Path
		}
	}
	return "unknown address"
}
