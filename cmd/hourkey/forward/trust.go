package forward

import (
	"errors"
	"fmt"
	"os"

	"github.com/hourkey/hourkey/cmd/hourkey/scratch"
)

// maxBundle bounds a file of authorities, in bytes; the system's are about 200 KB.
const maxBundle = 16 << 20

// replacing lists the variables whose file takes the place of a tool's own authorities, so that it must
// hold both: OpenSSL, Go and Rust; Nix; curl; Python; git; AWS; pip; cargo.
func replacing() []string {
	return []string{"SSL_CERT_FILE", "NIX_SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE", "PIP_CERT", "CARGO_HTTP_CAINFO"}
}

// adding lists the variables whose file is trusted beside a tool's own: Node.js and Bun; Deno.
func adding() []string { return []string{"NODE_EXTRA_CA_CERTS", "DENO_CERT"} }

// systemBundles lists where systems keep their authorities: Debian and Alpine, Fedora, openSUSE, RHEL,
// macOS and BSD.
func systemBundles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem", "/usr/local/share/certs/ca-root-nss.crt",
	}
}

// trust writes files of authorities.
type trust struct {
	folder string
	ours   []byte
	files  map[string]string // file that it begins with, "" for none → file with ours in it too
}

// writeTrust writes the gateway's authority into a private folder, alone and joined with what each
// variable named before or, without that, with the system's, and gives variable → file.
func (f *Forwarder) writeTrust() (map[string]string, error) {
	ours, err := authorities(f.config.Targets)
	if err != nil {
		return nil, err
	}
	if f.folder, err = scratch.New(f.config.Now()); err != nil {
		return nil, err
	}
	files := &trust{folder: f.folder.Path, ours: ours, files: map[string]string{}}
	system := firstBundle(append([]string{f.config.Getenv("SSL_CERT_FILE"), f.config.Getenv("NIX_SSL_CERT_FILE")}, systemBundles()...))
	if system == "" {
		f.tell("trust", "no file with the system's authorities was found, so the command trusts the gateway's alone: name one with SSL_CERT_FILE")
	}
	named := map[string]string{} // variable → file
	for _, name := range replacing() {
		if named[name], err = files.with(firstBundle([]string{f.config.Getenv(name), system})); err != nil {
			return nil, err
		}
	}
	for _, name := range adding() {
		if named[name], err = files.with(firstBundle([]string{f.config.Getenv(name)})); err != nil {
			return nil, err
		}
	}
	return named, nil
}

// with gives a file with the authorities of path and ours.
func (t *trust) with(path string) (string, error) {
	if file, done := t.files[path]; done {
		return file, nil
	}
	var text []byte
	if path != "" {
		var err error
		if text, err = os.ReadFile(path); err != nil {
			return "", fmt.Errorf("reading the authorities of this system: %w", err)
		}
		text = append(text, '\n')
	}
	file, err := os.CreateTemp(t.folder, "authorities-*.pem") // mode 0600
	if err != nil {
		return "", fmt.Errorf("writing certificates: %w", err)
	}
	_, err = file.Write(append(text, t.ours...))
	if err := errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("writing certificates: %w", err)
	}
	t.files[path] = file.Name()
	return file.Name(), nil
}

// firstBundle gives the first path that is a file of a sensible size; "" if none is.
func firstBundle(paths []string) string {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && info.Size() > 0 && info.Size() <= maxBundle {
			return path
		}
	}
	return ""
}
