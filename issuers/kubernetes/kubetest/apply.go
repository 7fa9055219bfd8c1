package kubetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// TryApply applies each document of a YAML text, in their order, with a token.
func (s *Server) TryApply(ctx context.Context, token, text string) error {
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var object map[string]any
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(object) == 0 {
			continue
		}
		if err := s.applyOne(ctx, token, object); err != nil {
			return err
		}
	}
}

func (s *Server) applyOne(ctx context.Context, token string, object map[string]any) error {
	path, err := pathOf(object)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return err
	}
	err = s.Do(ctx, token, "PATCH", path+"?fieldManager=kubetest&force=true", string(raw), nil, "Content-Type", "application/apply-patch+yaml")
	if err != nil {
		return fmt.Errorf("applying %s: %w: %s", path, err, bytes.TrimSpace(raw))
	}
	return nil
}

// pathOf gives an object's URL path.
func pathOf(object map[string]any) (string, error) {
	version, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	metadata, _ := object["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	namespace, _ := metadata["namespace"].(string)
	if version == "" || kind == "" || name == "" {
		return "", fmt.Errorf("an object lacks apiVersion, kind or name: %v", object)
	}
	root := "/apis/" + version
	if !strings.Contains(version, "/") {
		root = "/api/" + version
	}
	if namespace != "" {
		root += "/namespaces/" + namespace
	}
	return root + "/" + plural(kind) + "/" + name, nil
}

// plural is the name of a kind's resource.
func plural(kind string) string {
	word := strings.ToLower(kind)
	switch {
	case strings.HasSuffix(word, "y"):
		return strings.TrimSuffix(word, "y") + "ies"
	case strings.HasSuffix(word, "s"):
		return word + "es"
	}
	return word + "s"
}
