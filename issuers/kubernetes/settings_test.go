package kubernetes_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/kubernetes"
)

const secretToken = "a-very-secret-token"

// newCertificate makes a certificate and its key, in PEM.
func newCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

// opens opens an issuer with settings whose references are the secrets themselves, by name.
func opens(settings kubernetes.Settings, secrets map[string]string) error {
	_, err := kubernetes.New(kubernetes.Config{
		Ref: broker.TargetRef{Environment: "staging", Target: "shop"}, Settings: settings, Now: time.Now,
		Resolve: func(_, reference string) (broker.Secret, error) {
			secret, known := secrets[reference]
			if !known {
				return broker.Secret{}, errors.New("no such reference")
			}
			return broker.NewSecret(secret), nil
		},
	})
	return err
}

func TestSettingsThatAreWrongAreRefusedByField(t *testing.T) {
	t.Parallel()
	certificate, _ := newCertificate(t)
	secrets := map[string]string{"file:token": secretToken + "\n", "file:ca": certificate, "file:bad": "not\x00a token", "file:two": "two lines\nof it", "file:empty": " \n"}
	good := kubernetes.Settings{Server: "https://10.0.0.1:6443", CA: "file:ca", Token: "file:token", Namespace: "shop-staging"}
	if err := opens(good, secrets); err != nil {
		t.Fatal(err)
	}
	for name, one := range map[string]struct {
		change func(*kubernetes.Settings)
		field  string
	}{
		"no namespace":             {func(s *kubernetes.Settings) { s.Namespace = "" }, "namespace"},
		"a namespace with a slash": {func(s *kubernetes.Settings) { s.Namespace = "a/../kube-system" }, "namespace"},
		"the cluster's own":        {func(s *kubernetes.Settings) { s.Namespace = "kube-system" }, "namespace"},
		"no server":                {func(s *kubernetes.Settings) { s.Server = "" }, "server"},
		"no TLS":                   {func(s *kubernetes.Settings) { s.Server = "http://10.0.0.1:6443" }, "server"},
		"a user in the URL":        {func(s *kubernetes.Settings) { s.Server = "https://u:p@10.0.0.1" }, "server"},
		"a query in the URL":       {func(s *kubernetes.Settings) { s.Server = "https://10.0.0.1?as=x" }, "server"},
		"both":                     {func(s *kubernetes.Settings) { s.Kubeconfig = "file:token" }, "server"},
		"a kubeconfig and a token": {func(s *kubernetes.Settings) { s.Server, s.Kubeconfig = "", "file:token" }, "kubeconfig"},
		"no token":                 {func(s *kubernetes.Settings) { s.Token = "" }, "token"},
		"a token of two lines":     {func(s *kubernetes.Settings) { s.Token = "file:two" }, "token"},
		"a token no header has":    {func(s *kubernetes.Settings) { s.Token = "file:bad" }, "token"},
		"an empty token":           {func(s *kubernetes.Settings) { s.Token = "file:empty" }, "token"},
		"a CA that is none":        {func(s *kubernetes.Settings) { s.CA = "file:token" }, "ca"},
		"a built-in as plain":      {func(s *kubernetes.Settings) { s.Plain = []string{"deployments.apps"} }, "plain"},
		"secrets as plain":         {func(s *kubernetes.Settings) { s.Plain = []string{"secrets"} }, "plain"},
		"an exec as plain":         {func(s *kubernetes.Settings) { s.Plain = []string{"pods+exec"} }, "plain"},
		"a core group as plain":    {func(s *kubernetes.Settings) { s.Plain = []string{"gateways.gateway.networking.k8s.io"} }, "plain"},
		"a star as plain":          {func(s *kubernetes.Settings) { s.Plain = []string{"*.example.com"} }, "plain"},
		"nothing accepted":         {func(s *kubernetes.Settings) { s.Accept = []kubernetes.Accept{{Object: "", Why: "x"}} }, "accept"},
		"accepted without why":     {func(s *kubernetes.Settings) { s.Accept = []kubernetes.Accept{{Object: "open streams"}} }, "accept"},
		"what nobody can accept":   {func(s *kubernetes.Settings) { s.Accept = []kubernetes.Accept{{Object: "authorization", Why: "x"}} }, "accept"},
		"what the account lacks":   {func(s *kubernetes.Settings) { s.Accept = []kubernetes.Accept{{Object: "admin roles", Why: "x"}} }, "accept"},
		"accepted twice": {func(s *kubernetes.Settings) {
			s.Accept = []kubernetes.Accept{{Object: "open streams", Why: "x"}, {Object: "open streams", Why: "y"}}
		}, "accept"},
	} {
		settings := good
		one.change(&settings)
		err := opens(settings, secrets)
		known, ok := errors.AsType[*broker.Error](err)
		if !ok || known.Code != broker.CodeInvalid || known.Field != one.field {
			t.Errorf("%s: %v; want it refused, by field %s", name, err, one.field)
		}
		if err != nil && strings.Contains(err.Error(), secretToken) {
			t.Errorf("%s: the token stands in the error", name)
		}
	}
}

const kubeconfigText = `
apiVersion: v1
kind: Config
current-context: here
contexts:
  - {name: there, context: {cluster: other, user: other}}
  - {name: here, context: {cluster: c, user: u, namespace: ignored}}
clusters:
  - {name: c, cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: CA}}
users:
  - {name: u, user: {token: ` + secretToken + `}}
`

func TestAKubeconfigIsReadStrictly(t *testing.T) {
	t.Parallel()
	certificate, key := newCertificate(t)
	encoded := base64.StdEncoding.EncodeToString
	good := strings.ReplaceAll(kubeconfigText, "CA}", encoded([]byte(certificate))+"}")
	user := "token: " + secretToken
	for name, one := range map[string]struct{ text, says string }{
		"a token":                   {good, ""},
		"JSON":                      {`{"current-context":"h","contexts":[{"name":"h","context":{"cluster":"c","user":"u"}}],"clusters":[{"name":"c","cluster":{"server":"https://h"}}],"users":[{"name":"u","user":{"token":"x"}}]}`, ""},
		"a client certificate":      {strings.Replace(good, user, "client-certificate-data: "+encoded([]byte(certificate))+", client-key-data: "+encoded([]byte(key)), 1), ""},
		"nothing":                   {"", "current-context"},
		"no YAML":                   {"{" + secretToken, "no kubeconfig"},
		"another context":           {strings.Replace(good, "current-context: here", "current-context: gone", 1), "current-context"},
		"no user":                   {strings.Replace(good, "name: u,", "name: x,", 1), "current-context"},
		"no check":                  {strings.Replace(good, "server:", "insecure-skip-tls-verify: true, server:", 1), "switches the check"},
		"a CA file":                 {strings.Replace(good, "server:", "certificate-authority: /etc/ca.pem, server:", 1), "names files"},
		"a token file":              {strings.Replace(good, user, "tokenFile: /etc/token", 1), "names files"},
		"a certificate file":        {strings.Replace(good, user, "client-certificate: /a, client-key: /b", 1), "names files"},
		"a program":                 {strings.Replace(good, user, user+", exec: {command: /bin/sh, args: [-c, evil]}", 1), "exec"},
		"an old plugin":             {strings.Replace(good, user, "auth-provider: {name: gcp}", 1), "auth-provider"},
		"a password":                {strings.Replace(good, user, "username: admin, password: "+secretToken, 1), "username"},
		"an impersonation":          {strings.Replace(good, user, user+", as: superuser", 1), "as"},
		"a proxy":                   {strings.Replace(good, "server:", "proxy-url: http://evil, server:", 1), "proxy-url"},
		"another name":              {strings.Replace(good, "server:", "tls-server-name: evil, server:", 1), "tls-server-name"},
		"no TLS":                    {strings.Replace(good, "https://10", "http://10", 1), "https://"},
		"a CA that is no base64":    {kubeconfigText, "certificate-authority-data"},
		"no credential":             {strings.Replace(good, user, "", 1), "neither a token"},
		"a certificate without key": {strings.Replace(good, user, "client-certificate-data: "+encoded([]byte(certificate)), 1), "neither a token"},
	} {
		err := opens(kubernetes.Settings{Kubeconfig: "file:kubeconfig", Namespace: "shop"}, map[string]string{"file:kubeconfig": one.text})
		switch {
		case one.says == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case one.says != "" && (broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), one.says)):
			t.Errorf("%s: %v; want %q in it", name, err, one.says)
		case err != nil && strings.Contains(err.Error(), secretToken):
			t.Errorf("%s: the token stands in the error", name)
		}
	}
}

// The broker may use a kubeconfig as well as a server, a CA and a token: on the real server.
func TestAKubeconfigLeadsToTheCluster(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	text := strings.NewReplacer("https://10.0.0.1:6443", s.URL, "CA}", base64.StdEncoding.EncodeToString(s.CA)+"}", secretToken, s.token).Replace(kubeconfigText)
	config := s.config()
	config.Settings = kubernetes.Settings{Kubeconfig: "file:kubeconfig", Namespace: s.staging}
	config.Resolve = func(string, string) (broker.Secret, error) { return broker.NewSecret(text), nil }
	one, two := s.issuer(t), open(t, config)
	c := lease(t, two, "configmaps/*:read")
	if err := s.use(t.Context(), c, broker.Read); err != nil {
		t.Error(err)
	}
	first, _ := one.Identify(t.Context())
	if second, err := two.Identify(t.Context()); err != nil || second != first {
		t.Errorf("%+v, %v; want %+v", second, err, first)
	}
}

// FuzzKubeconfig: what a file holds never crashes the broker, and never stands in an error.
func FuzzKubeconfig(f *testing.F) {
	f.Add(kubeconfigText)
	f.Add("{}")
	f.Add("contexts: [{name: '', context: {}}]\nclusters: [{name: ''}]\nusers: [{name: ''}]")
	f.Fuzz(func(t *testing.T, text string) {
		err := opens(kubernetes.Settings{Kubeconfig: "file:kubeconfig", Namespace: "shop"}, map[string]string{"file:kubeconfig": text + "\n# " + secretToken})
		if err != nil && strings.Contains(err.Error(), secretToken) {
			t.Error("what is in the file stands in the error")
		}
	})
}
