package actions

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// levels maps the access levels of the reference to the letters of the table.
var levels = map[string]string{
	"Read": "R", "List": "L", "Write": "W", "Tagging": "T", "Permissions management": "P",
}

// Extract makes the table from the published list of actions: lines of service, action, access level and resource
// types, separated by tabs, under a line that names the columns. The same list makes the same bytes.
func Extract(source []byte) ([]byte, error) {
	lines := strings.Split(strings.TrimSpace(string(source)), "\n")
	if !strings.HasPrefix(lines[0], "service\taction\taccess_level") {
		return nil, fmt.Errorf("the first line must name the columns: service, action, access_level")
	}
	var all []fact
	services := map[string]bool{}
	for n, line := range lines[1:] {
		field := strings.Split(line, "\t")
		if len(field) < 3 || field[0] == "" || field[1] == "" || levels[field[2]] == "" {
			return nil, fmt.Errorf("line %d is not a service, an action and an access level", n+2)
		}
		all = append(all, fact{service: field[0], name: field[1], level: levels[field[2]]})
		services[field[0]] = true
	}
	slices.SortFunc(all, func(a, b fact) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.level, b.level), cmp.Compare(a.name, b.name))
	})
	head := fmt.Sprintf("# source: aws-actions.tsv\n# sha256: %x\n# counts: %d actions of %d services\n", sha256.Sum256(source), len(all), len(services))
	return []byte(head + printTable(all)), nil
}

// printTable writes one line for each verb of a service, so that a change of the list is a short change of the table.
func printTable(all []fact) string {
	var b strings.Builder
	var last fact
	for _, f := range all {
		switch {
		case f.service != last.service:
			fmt.Fprintf(&b, "\n%s\n%s %s", f.service, f.level, f.name)
		case f.level != last.level || firstWord(f.name) != firstWord(last.name):
			fmt.Fprintf(&b, "\n%s %s", f.level, f.name)
		default:
			b.WriteString(" " + f.name)
		}
		last = f
	}
	return strings.TrimPrefix(b.String(), "\n") + "\n"
}
