package kubernetes

import "context"

// Together does everything at the same time.
func Together(ctx context.Context, all ...func(context.Context) error) error {
	return together(ctx, all...)
}

// PodKinds are the kinds that run pods, as the admission policy writes them: "apps/deployments".
func PodKinds() ([]string, error) {
	table, err := builtIn()
	names := []string{"/pods"}
	for _, k := range table.makers() {
		names = append(names, k.group+"/"+k.resource)
	}
	return names, err
}

// Row is a line of kinds.txt, for the test that holds it to a real server.
type Row struct {
	Cluster             bool
	Read, Write, Delete bool // there is such a thing
}

// Rows maps a kind's name to its line.
func Rows() (map[string]Row, error) {
	table, err := builtIn()
	rows := map[string]Row{}
	for name, k := range table {
		rows[name] = Row{k.cluster, k.read&impossible == 0, k.write&impossible == 0, k.remove&impossible == 0}
	}
	return rows, err
}

// ParseKinds reads a text like kinds.txt.
func ParseKinds(text string) error {
	_, err := parseKinds(text)
	return err
}
