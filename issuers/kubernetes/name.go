package kubernetes

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// RBAC takes every name without "/" and "%" (API reference, path segment names): line ends, escape sequences of terminals, words for a shell and
// for whoever reads a page. Whoever owns any namespace of the cluster can make such a binding, so its name is never shown or pasted as it is.

const (
	mostName   = 80  // bytes of a name that others gave, as texts have it
	mostPasted = 253 // bytes of a name in a line to paste, the most that other objects have
	mostNamed  = 10  // names in one sentence
	mostEach   = 3   // names for each of those
)

// plainName is a name that means nothing to a shell, a terminal or YAML.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_.:]*$`)

// nameShown is a name in a text: quoted if it is odd, and cut if it is long, with what tells it from every other.
func nameShown(name string) string {
	switch {
	case len(name) > mostName:
		sum := sha256.Sum256([]byte(name))
		return fmt.Sprintf("%s… (%d bytes, sha256 %x)", strconv.QuoteToASCII(name[:mostName]), len(name), sum[:16])
	case !plainName.MatchString(name):
		return strconv.QuoteToASCII(name)
	}
	return name
}

// some joins the first names of a list. How many more there are is said, and so that it is seen when they change, their hash.
func some(names []string, most int, separator string) string {
	if len(names) <= most {
		return strings.Join(names, separator)
	}
	rest := names[most:]
	sum := sha256.Sum256([]byte(strings.Join(rest, "\n")))
	return fmt.Sprintf("%s%sand %d more (sha256 %x)", strings.Join(names[:most], separator), separator, len(rest), sum[:8])
}

// deleting is a line for a shell that deletes an object of RBAC. What is odd is deleted by its path, in which nothing is special to
// a shell but the quotes around it.
func deleting(kind, namespace, name, uid string) string {
	in, path := "", rbacPath
	if namespace != "" {
		in, path = " --namespace "+namespace, path+"/namespaces/"+namespace
	}
	switch {
	case len(name) > mostPasted:
		return "# delete the " + kind + in + " whose UID is " + strconv.QuoteToASCII(uid) + ": its name is too long to print"
	case plainName.MatchString(name):
		return "kubectl delete " + kind + " " + name + in
	}
	return "kubectl delete --raw '" + path + "/" + kind + "s/" + url.PathEscape(name) + "'"
}

// accountPattern is what an account can be called (RFC 1123 subdomain). A subject with another name is nobody.
var accountPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// named are resources of scopes, each "pods/web-1" or "pods/web-*". A name that no scope can hold stands for all of its kind.
func named(kind string, names ...string) []string {
	all := make([]string, len(names))
	for at, name := range names {
		all[at] = kind + "/" + name
		if !namePattern.MatchString(strings.TrimSuffix(name, "*")) {
			all[at] = kind + "/*"
		}
	}
	return all
}

// sorted gives each once.
func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
