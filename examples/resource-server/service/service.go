package service

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
)

const maxValue = 64 << 10 // bytes

// Service keeps values by name. A value's path is its resource's name: GET /orders/42 reads orders/42.
//
//	GET, HEAD  /orders/42  read
//	PUT        /orders/42  write: creates, or sets this one value
//	DELETE     /orders/42  delete
//	GET        /orders/    read on orders/*: lists the names
//
// Every other method is refused. It is safe for concurrent use.
type Service struct {
	verifier *Verifier
	mu       sync.Mutex
	values   map[string][]byte // resource → value
}

// New makes an empty service.
func New(verifier *Verifier) *Service {
	return &Service{verifier: verifier, values: map[string][]byte{}}
}

// ServeHTTP checks the token first, then whether it gives this action on this resource, then acts.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, err := s.authenticate(r)
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`) // RFC 6750 section 3
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	action, known := actionOf(r.Method)
	if !known {
		http.Error(w, "this method is not served", http.StatusMethodNotAllowed)
		return
	}
	resource, ok := resourceOf(r)
	if !ok {
		http.Error(w, "this path names nothing here", http.StatusBadRequest)
		return
	}
	if !token.Allows(action, resource) {
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope"`)
		http.Error(w, "the token does not give "+action+" on this resource", http.StatusForbidden)
		return
	}
	s.act(w, r, resource)
}

// authenticate takes the token from the one place where it may be: never a query, never two headers.
func (s *Service) authenticate(r *http.Request) (Token, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return Token{}, errNoToken
	}
	compact, isBearer := strings.CutPrefix(headers[0], "Bearer ")
	if !isBearer {
		return Token{}, errNoToken
	}
	token, err := s.verifier.Verify(compact)
	if err != nil || s.verifier.Ask == nil {
		return token, err
	}
	active, err := s.verifier.Ask(r.Context(), compact)
	switch {
	case err != nil:
		return Token{}, errNotAsked
	case !active:
		return Token{}, errNotActive
	}
	return token, nil
}

const (
	errNotAsked  = constError("whether the token still holds cannot be asked: it is refused")
	errNotActive = constError("the token was taken back")
)

const errNoToken = constError("expected one header Authorization: Bearer TOKEN")

type constError string

func (e constError) Error() string { return string(e) }

// actionOf is the class of a method. What is not listed is not served.
func actionOf(method string) (action string, known bool) {
	switch method {
	case http.MethodGet, http.MethodHead:
		return "read", true
	case http.MethodPut:
		return "write", true
	case http.MethodDelete:
		return "delete", true
	default:
		return "", false
	}
}

// resourceOf names what a path stands for; a folder, for GET alone, stands for all in it. A path that
// is not in its one plain form is refused: a scope compares bytes, so orders/../payments must not pass
// for something below orders/, nor a star for a name.
func resourceOf(r *http.Request) (resource string, ok bool) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	folder := strings.HasSuffix(name, "/")
	if name == "" || strings.Contains(name, "*") || path.Clean("/"+name) != "/"+strings.TrimSuffix(name, "/") {
		return "", false
	}
	if folder {
		return name + "*", r.Method == http.MethodGet
	}
	return name, true
}

func (s *Service) act(w http.ResponseWriter, r *http.Request, resource string) {
	switch {
	case strings.HasSuffix(resource, "*"):
		s.list(w, strings.TrimSuffix(resource, "*"))
	case r.Method == http.MethodPut:
		s.put(w, r, resource)
	case r.Method == http.MethodDelete:
		s.mu.Lock()
		delete(s.values, resource)
		s.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	default:
		s.read(w, resource)
	}
}

func (s *Service) read(w http.ResponseWriter, resource string) {
	s.mu.Lock()
	value, found := s.values[resource]
	s.mu.Unlock()
	if !found {
		http.Error(w, "there is no such value", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(value) // the caller is gone
}

func (s *Service) put(w http.ResponseWriter, r *http.Request, resource string) {
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxValue))
	if err != nil {
		http.Error(w, "the value is longer than 64 KiB, or did not arrive whole", http.StatusRequestEntityTooLarge)
		return
	}
	s.mu.Lock()
	s.values[resource] = value
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (s *Service) list(w http.ResponseWriter, folder string) {
	s.mu.Lock()
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(s.values)), func(name string) bool { return !strings.HasPrefix(name, folder) })
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(names) // the caller is gone
}
