package ui

import (
	"net/url"
	"strings"
)

// RequestPath is where a request's page is.
func RequestPath(id string) string { return "/requests/" + escape(id) }

// AgentPath is where an agent's page is.
func AgentPath(name string) string { return "/agents/" + escape(name) }

// TargetPath is where the page of environment/target is.
func TargetPath(subject string) string { return "/targets/" + escape(subject) }

// HumanPath is where the page of an invited human is.
func HumanPath(name string) string { return "/humans/" + escape(name) }

// FreezePath is where a freeze's page is.
func FreezePath(id string) string { return "/freezes/" + escape(id) }

// escape keeps the slashes of agent names and environment/target.
func escape(text string) string {
	parts := strings.Split(text, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}
