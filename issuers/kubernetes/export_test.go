package kubernetes

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
