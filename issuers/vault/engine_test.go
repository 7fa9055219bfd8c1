package vault_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws/miniotest"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
	"github.com/hourkey/hourkey/issuers/vault"
)

// declaring makes an offer whose powers the environment's file declares.
func declaring(role string, scopes ...string) vault.Offer {
	return vault.Offer{Role: role, Scopes: scopes, Why: "alice looked at it"}
}

// newEngine makes a site with an engine mounted and, where it hands out by a path, the policy of the lease's token.
func newEngine(t *testing.T, engine, mounted string, offer vault.Offer, change func(*vault.Settings)) *site {
	t.Helper()
	needsVault(t)
	mount, policy := fmt.Sprintf("%s-%d", engine, serial+1), fmt.Sprintf("lease-%d", serial+1)
	server.Write(t, "sys/mounts/"+mount, map[string]any{"type": mounted})
	settings := vault.Settings{Engine: engine, Mount: mount, Policies: []string{policy}, Offers: []vault.Offer{offer}}
	if change != nil {
		change(&settings)
	}
	s := newSite(t, server, settings)
	s.policy(t, policy, fmt.Sprintf("path \"%s/+/%s\" { capabilities = [\"read\", \"update\"] }", mount, offer.Role))
	return s
}

// pki: the certificate works over TLS, ends with the lease's time, and is on the revocation list after a revoke.
func TestEnginePKI(t *testing.T) {
	offer := declaring("client", "orders-api:read,write")
	offer.CommonName = "agent.staging.example"
	s := newEngine(t, "pki", "pki", offer, nil)
	mount := s.settings.Mount
	s.Write(t, "sys/mounts/"+mount+"/tune", map[string]any{"max_lease_ttl": "240h"})
	s.Write(t, mount+"/root/generate/internal", map[string]any{"common_name": "staging", "ttl": "240h"})
	s.Write(t, mount+"/roles/client", map[string]any{"allowed_domains": "staging.example", "allow_subdomains": true, "max_ttl": "1h", "generate_lease": false, "server_flag": false})
	issuer := s.issuer(t)
	if _, err := issuer.Describe(t.Context(), wish(t, "orders-api:read")); broker.CodeOf(err) != broker.CodeWall || !strings.Contains(next(err), "generate_lease") {
		t.Errorf("a role without leases: %v; want it refused", err)
	}
	s.Write(t, mount+"/roles/client", map[string]any{"allowed_domains": "staging.example", "allow_subdomains": true, "max_ttl": "1h", "generate_lease": true, "server_flag": false})
	credential, handle := lease(t, issuer, "hk-pki-1", "orders-api:read,write")
	pair, err := tls.X509KeyPair([]byte(credential.Values["TLS_CERTIFICATE"].Reveal()), []byte(credential.Values["TLS_PRIVATE_KEY"].Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil || leaf.Subject.CommonName != offer.CommonName || leaf.NotAfter.After(time.Now().Add(10*time.Minute+2*time.Second)) {
		t.Errorf("the certificate is for %q until %s, %v", leaf.Subject.CommonName, leaf.NotAfter, err)
	}
	if credential.Expires.After(leaf.NotAfter) {
		t.Errorf("the credential says %s, the certificate %s", credential.Expires, leaf.NotAfter)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(credential.Values["TLS_CA"].Reveal()))
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("the certificate does not verify: %v", err)
	}
	if revoked(t, mount, leaf) {
		t.Error("the certificate is on the revocation list before the end")
	}
	if err := issuer.Revoke(t.Context(), "hk-pki-1", handle); err != nil {
		t.Fatal(err)
	}
	if !revoked(t, mount, leaf) {
		t.Error("the certificate is not on the revocation list after the end")
	}
	if !hasWall(describe(t, issuer, wish(t, "orders-api:read")), "after a revoke", broker.WallWeak) {
		t.Error("that a server must read the list is not said")
	}
}

func certificateOf(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no certificate")
	}
	read, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func revoked(t *testing.T, mount string, leaf *x509.Certificate) bool {
	t.Helper()
	answer := server.Read(t, mount+"/cert/crl")["data"].(map[string]any)
	block, _ := pem.Decode([]byte(answer["certificate"].(string)))
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(leaf.SerialNumber) == 0 })
}

// ssh: the key never goes to Vault, the certificate is for one principal and ends with the lease's time.
func TestEngineSSH(t *testing.T) {
	offer := declaring("web", "web-host:read,write")
	offer.Principal = "deploy"
	s := newEngine(t, "ssh", "ssh", offer, nil)
	mount := s.settings.Mount
	ca := s.Write(t, mount+"/config/ca", map[string]any{"generate_signing_key": true, "key_type": "ed25519"})["data"].(map[string]any)
	s.Write(t, mount+"/roles/web", map[string]any{"key_type": "ca", "allow_user_certificates": true, "allowed_users": "deploy", "max_ttl": "1h", "default_extensions": map[string]string{"permit-pty": ""}})
	b := newBetween(t, server.Address)
	s.settings.Address = b.URL
	var sent string
	b.on("/sign/", func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		body := new(strings.Builder)
		r.Body = tee(r.Body, body)
		forward.ServeHTTP(w, r)
		sent = body.String()
	})
	issuer := s.issuer(t)
	credential, _ := lease(t, issuer, "hk-ssh-1", "web-host:read,write")
	key, err := ssh.ParsePrivateKey([]byte(credential.Values["SSH_PRIVATE_KEY"].Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	if sent == "" || strings.Contains(sent, "PRIVATE") {
		t.Errorf("sent to Vault: %q", sent)
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(credential.Values["SSH_CERTIFICATE"].Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	certificate := parsed.(*ssh.Certificate)
	authority, _, _, _, err := ssh.ParseAuthorizedKey([]byte(ca["public_key"].(string)))
	if err != nil {
		t.Fatal(err)
	}
	checker := ssh.CertChecker{IsUserAuthority: func(auth ssh.PublicKey) bool { return string(auth.Marshal()) == string(authority.Marshal()) }}
	if err := checker.CheckCert("deploy", certificate); err != nil || string(certificate.Key.Marshal()) != string(key.PublicKey().Marshal()) {
		t.Errorf("the certificate is not good for the key: %v", err)
	}
	if err := checker.CheckCert("root", certificate); err == nil {
		t.Error("the certificate is good for root")
	}
	if ends := time.Unix(int64(certificate.ValidBefore), 0); ends.After(time.Now().Add(10*time.Minute+time.Second)) || credential.Expires.After(ends) {
		t.Errorf("the certificate ends %s, the credential %s", ends, credential.Expires)
	}
	if c := issuer.Capabilities(); c.EndsEarly {
		t.Error("a certificate of ssh is said to end early")
	}
}

// kubernetes, at a real API server: what the role allows works, another namespace does not, and the end deletes the account.
func TestEngineKubernetes(t *testing.T) {
	issuertest.OnlyWhole(t, "starts an API server")
	needsVault(t)
	kube := kubetest.Start(t)
	kube.Apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: staging}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: production}\n")
	s := newEngine(t, "kubernetes", "kubernetes", declaring("deploy", "staging:read,write"), func(s *vault.Settings) { s.Cluster = kube.URL })
	mount := s.settings.Mount
	s.Write(t, mount+"/config", map[string]any{"kubernetes_host": kube.URL, "kubernetes_ca_cert": string(kube.CA), "service_account_jwt": kube.Token(), "disable_local_ca_jwt": true})
	role := func(rules string, change map[string]any) {
		data := map[string]any{"allowed_kubernetes_namespaces": "staging", "token_default_ttl": "1h", "token_max_ttl": "1h", "kubernetes_role_type": "Role", "generated_role_rules": rules}
		for name, value := range change {
			data[name] = value
		}
		server.Delete(t, mount+"/roles/deploy")
		s.Write(t, mount+"/roles/deploy", data)
	}
	issuer := s.issuer(t)
	t.Parallel()
	for name, change := range map[string]map[string]any{
		"any namespace":                    {"allowed_kubernetes_namespaces": "*"},
		"two namespaces":                   {"allowed_kubernetes_namespaces": "staging,production"},
		"a cluster role":                   {"kubernetes_role_type": "ClusterRole"},
		"an account that is there already": {"generated_role_rules": "", "service_account_name": "default"},
		"rules of which a part is unknown": {"generated_role_rules": `{"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get"],"also":[]}]}`},
	} {
		role(`{"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get"]}]}`, change)
		if _, err := issuer.Describe(t.Context(), wish(t, "staging:read")); broker.CodeOf(err) != broker.CodeWall || next(err) == "" {
			t.Errorf("%s: %v; want it refused", name, err)
		}
	}
	role(`{"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get","list","create","delete"]}]}`, nil)
	if all := broker.AllActions(describe(t, issuer, wish(t, "staging:read")).Scopes); all != broker.Read|broker.Write|broker.Delete {
		t.Errorf("rules with delete are %s", all)
	}
	role("", map[string]any{"kubernetes_role_name": "theirs"})
	if all := broker.AllActions(describe(t, issuer, wish(t, "staging:read")).Scopes); all != broker.Read|broker.Write|broker.Delete|broker.Admin {
		t.Errorf("a role of the cluster, which Vault does not show, is %s", all)
	}
	role("rules:\n- apiGroups: [\"\"]\n  resources: [configmaps]\n  verbs: [get, list, create]\n", nil)
	if means := broker.AllActions(describe(t, issuer, wish(t, "staging:read,write")).Means()); means != broker.Read|broker.Write {
		t.Errorf("rules that read and create mean %s", means)
	}
	credential, handle := lease(t, issuer, "hk-kube-1", "staging:read,write")
	token := credential.Values["KUBE_TOKEN"].Reveal()
	get := func(namespace string) error {
		return kube.Do(t.Context(), token, http.MethodGet, "/api/v1/namespaces/"+namespace+"/configmaps", nil, nil)
	}
	if err := get("staging"); err != nil {
		t.Errorf("list at home: %v", err)
	}
	var refusal *kubetest.Refusal
	if err := get("production"); !errors.As(err, &refusal) || refusal.Status != http.StatusForbidden {
		t.Errorf("list in production: %v; want it refused", err)
	}
	if err := issuer.Revoke(t.Context(), "hk-kube-1", handle); err != nil {
		t.Fatal(err)
	}
	who, err := issuer.Identify(t.Context())
	if err != nil || !strings.Contains(who.Shown, kube.URL) {
		t.Errorf("%+v, %v; want the cluster shown", who, err)
	}
	defer func() { // the mount is led to another cluster: another identity, which nobody has confirmed
		s.Write(t, mount+"/config", map[string]any{"kubernetes_host": "https://production.example", "kubernetes_ca_cert": string(kube.CA), "service_account_jwt": kube.Token(), "disable_local_ca_jwt": true})
		if after, err := issuer.Identify(t.Context()); err != nil || after.ID == who.ID {
			t.Errorf("after the mount was led elsewhere: %+v, %v; was %+v", after, err, who)
		}
	}()
	began := time.Now()
	issuertest.Until(t, func() bool { return get("staging") != nil })
	t.Logf("the token of a deleted account worked for %s more", time.Since(began).Round(100*time.Millisecond))
	role(`{"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get","list","watch","create","update","patch"]}]}`, nil)
	bypassesOfKubernetes(t, kube, issuer)
}

// aws-sts, with MinIO's STS: the session works, and ends when it was ordered to.
func TestEngineAWSSTS(t *testing.T) {
	issuertest.OnlyWhole(t, "starts MinIO")
	needsVault(t)
	minio, err := miniotest.New()
	issuertest.Needs(t, err, miniotest.ErrAbsent)
	t.Cleanup(minio.Stop)
	sts := newBetween(t, minio.URL)
	sts.on("/", func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		body := new(strings.Builder)
		_, _ = io.Copy(body, r.Body)
		if strings.Contains(body.String(), "Action=GetCallerIdentity") { // Vault asks that first, and MinIO does not know it
			_, _ = io.WriteString(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
			return
		}
		r.Body = io.NopCloser(strings.NewReader(body.String()))
		forward.ServeHTTP(w, r)
	})
	s := newEngine(t, "aws-sts", "aws", declaring("deploy", "bucket/*:read,write"), nil)
	mount := s.settings.Mount
	s.Write(t, mount+"/config/root", map[string]any{"access_key": miniotest.RootKey, "secret_key": miniotest.RootSecret, "region": miniotest.Region, "sts_endpoint": sts.URL, "sts_region": miniotest.Region})
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::orders/*"}]}`
	s.Write(t, mount+"/roles/deploy", map[string]any{"credential_type": "assumed_role", "role_arns": "arn:aws:iam::123456789012:role/staging", "policy_document": document})
	issuer := s.issuer(t)
	short := wish(t, "bucket/*:read")
	short.TTL = 15 * time.Minute
	if _, err := issuer.Describe(t.Context(), short); err == nil {
		t.Error("a session shorter than AWS makes them was described")
	}
	w := wish(t, "bucket/*:read,write")
	w.TTL = 20 * time.Minute
	d := describe(t, issuer, w)
	if all := broker.AllActions(d.Scopes); all != broker.Read|broker.Write {
		t.Errorf("described as %s", all)
	}
	credential, _ := issuertest.Lease(t, issuer, orderFor(d, "hk-sts-1"))
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		if credential.Values[name].IsZero() {
			t.Errorf("the credential lacks %s", name)
		}
	}
	if left := time.Until(credential.Expires); left > 20*time.Minute || left < 19*time.Minute {
		t.Errorf("it ends in %s", left)
	}
	if issuer.Capabilities().EndsEarly {
		t.Error("a session of STS is said to end early")
	}
	bypassesOfSTS(t, minio, issuer)
	s.Delete(t, mount+"/roles/deploy")
	s.Write(t, mount+"/roles/deploy", map[string]any{"credential_type": "iam_user", "policy_document": document})
	if _, err := issuer.Describe(t.Context(), w); broker.CodeOf(err) != broker.CodeWall || !strings.Contains(next(err), "engine: aws ") {
		t.Errorf("a role for IAM users: %v; want it refused", err)
	}
	s.Write(t, mount+"/roles/deploy", map[string]any{"credential_type": "assumed_role", "role_arns": "arn:aws:iam::123456789012:role/staging", "policy_document": strings.Replace(document, "s3:PutObject", "s3:Delete*", 1)})
	if all := broker.AllActions(describe(t, issuer, w).Scopes); !all.Has(broker.Delete) {
		t.Errorf("a document with s3:Delete* is %s", all)
	}
}

// Any other engine that leases: here a database engine, taken as if nothing of it were known.
func TestEngineOther(t *testing.T) {
	s := newShop(t)
	s.settings.Engine, s.settings.Connection, s.settings.Accept = "other", "", nil
	s.settings.Offers = []vault.Offer{declaring("orders-rw", "orders:read,write")}
	s.policy(t, s.loginPolicy(), s.issuer(t).Policy())
	if _, err := s.issuer(t).Describe(t.Context(), wish(t, "orders:read")); broker.CodeOf(err) != broker.CodeWall || !strings.Contains(next(err), "engine: database") {
		t.Errorf("an engine that is known, as other: %v; want it refused", err)
	}
	b := newBetween(t, server.Address) // which says that the engine is one that nobody knows
	b.on("sys/mounts/", rewrite(func(answer map[string]any) { answer["data"].(map[string]any)["type"] = "rabbitmq" }))
	s.settings.Address = b.URL
	issuer := s.issuer(t)
	d := describe(t, issuer, wish(t, "orders:read,write"))
	if len(d.Exceptions) != 1 || !hasWall(d, "not declared", broker.WallWeak) {
		t.Errorf("that it is only declared is not said: %+v", d)
	}
	credential, handle := lease(t, issuer, "hk-other-1", "orders:read,write")
	if credential.Values["SECRET_USERNAME"].Reveal() != "hk-other-1" || credential.Values["SECRET_PASSWORD"].IsZero() {
		t.Errorf("the credential has %d values", len(credential.Values))
	}
	if err := issuer.Revoke(t.Context(), "hk-other-1", handle); err != nil {
		t.Error(err)
	}
	s.nothingLeft(t, issuer, "hk-other-1")
	if _, err := issuer.Describe(t.Context(), wish(t, "orders:delete")); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("delete, which is not declared: %v", err)
	}
}

// tee copies what is read of a body.
func tee(body io.ReadCloser, into io.Writer) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(body, into), body}
}
