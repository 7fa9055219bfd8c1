package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

// What -o takes.
const (
	outputText = "text"
	outputJSON = "json"
)

// show writes a command's result: the JSON of value, or what text prints.
func (a *app) show(value any, text func(io.Writer)) error {
	if a.output == outputJSON {
		encoder := json.NewEncoder(a.stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(value)
	}
	var out strings.Builder
	text(&out)
	_, err := io.WriteString(a.stdout, out.String())
	return err
}

// table writes aligned columns; nothing where there are no rows.
func table(out io.Writer, head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	columns := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, strings.Join(head, "\t"))
	for _, row := range rows {
		for i := range row {
			row[i] = visible(row[i])
		}
		fmt.Fprintln(columns, strings.Join(row, "\t"))
	}
	_ = columns.Flush() // the writer below keeps everything in memory
}

// clock shows a time of today to a human: local, with the zone, since broker and agent may differ.
func clock(t time.Time) string { return t.Local().Format("15:04:05 MST") }

// span shows a number of seconds: "30m", "1h", "45s".
func span(seconds int64) string { return short(time.Duration(seconds) * time.Second) }

// short shows a duration without the zeros: "1h", "10m", "1m30s".
func short(d time.Duration) string {
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// covers says what leases allow, by environment: "orders-db:public.orders:read,write in staging".
func covers(credentials []api.Credential) string {
	var parts []string
	for _, c := range credentials {
		parts = append(parts, strings.Join(c.Scopes, " ")+" in "+c.Environment)
	}
	return strings.Join(parts, "; ")
}
