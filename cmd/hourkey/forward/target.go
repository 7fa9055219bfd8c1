package forward

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// hostsOf checks the targets and gives host → index. A host that two targets lead to would send a call
// to whichever came last, so that is refused.
func hostsOf(targets []Target) (map[string]int, error) {
	hosts := map[string]int{}
	for n, target := range targets {
		if target.Gateway.Token.IsZero() || len(target.Gateway.Hosts) == 0 {
			return nil, fmt.Errorf("the credential for %s has no token, or leads to no host", target.Name)
		}
		for _, host := range target.Gateway.Hosts {
			if !isHost(host) {
				return nil, fmt.Errorf("the credential for %s names a host %q, which is none", target.Name, host)
			}
			if other, taken := hosts[host]; taken {
				return nil, fmt.Errorf("%s and %s both lead to %s", targets[other].Name, target.Name, host)
			}
			hosts[host] = n
		}
	}
	if len(hosts) == 0 {
		return nil, errors.New("no target is behind the gateway")
	}
	return hosts, nil
}

// isHost takes DNS names as a certificate has them: lower case, with a dot, no port.
func isHost(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return len(name) <= 253 && isBelowTop(name)
}

// isBelowTop tells whether a name has at least two labels, none of them empty.
func isBelowTop(name string) bool {
	labels := strings.Split(name, ".")
	return len(labels) >= 2 && !slices.Contains(labels, "")
}

// authorities gives the targets' certificates as PEM, each once.
func authorities(targets []Target) ([]byte, error) {
	var all []byte
	for _, target := range targets {
		certificates, err := parseAuthorities(target.Gateway.CA)
		if err != nil {
			return nil, fmt.Errorf("the gateway's authority for %s: %w", target.Name, err)
		}
		for _, one := range certificates {
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one.Raw})
			if !bytes.Contains(all, text) {
				all = append(all, text...)
			}
		}
	}
	return all, nil
}

// parseAuthorities reads PEM, and takes only authorities with limits: the child is about to trust them
// for everything that they may sign (RFC 5280 section 4.2.1.10).
func parseAuthorities(text string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it holds a %s: expected certificates alone", block.Type)
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading it: %w", err)
		}
		if !one.BasicConstraintsValid || !one.IsCA || !one.PermittedDNSDomainsCritical || len(one.PermittedDNSDomains) == 0 {
			return nil, errors.New("it is not limited to certain hosts by a critical constraint, so it is not handed to the command")
		}
		for _, domain := range one.PermittedDNSDomains {
			if !isBelowTop(strings.TrimPrefix(domain, ".")) {
				return nil, fmt.Errorf("it may sign for all of %q, so it is not handed to the command", domain)
			}
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, errors.New("it holds no certificate")
	}
	return all, nil
}
