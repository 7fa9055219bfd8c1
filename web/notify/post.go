package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// maxAnswer is how much of an answer is read, so that the connection can be used again.
const maxAnswer = 16 << 10

// poster sends JSON to one address. It follows no redirect, for the address may be the secret and the text is
// for its receiver alone, and uses no proxy that the environment names.
type poster struct {
	url    broker.Secret
	client *http.Client
}

func newPoster(url broker.Secret, roots *x509.CertPool) *poster {
	return &poster{url, &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: maxAnswer,
			MaxIdleConns:           1,
			IdleConnTimeout:        90 * time.Second,
		},
	}}
}

// post sends body and gives the trouble there was. answer is the beginning of what came back.
func (p *poster) post(ctx context.Context, to string, header map[string]string, body []byte) (answer string, problem *trouble) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return "", &trouble{says: "the address is no URL", final: true} // err repeats it
	}
	request.Header.Set("User-Agent", "hourkey")
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return "", unreachable(err)
	}
	defer response.Body.Close()
	read, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer)) // the status has said it already
	return string(read), statusTrouble(response)
}

// statusTrouble tells what a status means: RFC 9110 section 15, RFC 6585 section 4.
func statusTrouble(response *http.Response) *trouble {
	code := response.StatusCode
	t := &trouble{says: fmt.Sprintf("the receiver answered %d", code)}
	switch {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		t.says += ", which sends us elsewhere: that is not followed"
		t.final = true
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		t.after = retryAfter(response.Header.Get("Retry-After"))
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code >= 500:
	default:
		t.final = true
	}
	return t
}

// retryAfter reads seconds. The other form, a date, is by somebody else's clock: our own pause does.
func retryAfter(text string) time.Duration {
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, 1<<20)) * time.Second
}

// unreachable says in our own words why nobody answered: errors of net/http repeat the URL.
func unreachable(err error) *trouble {
	var (
		name        *net.DNSError
		certificate *tls.CertificateVerificationError
		timedOut    net.Error
	)
	switch {
	case errors.As(err, &name):
		return &trouble{says: "the receiver's name cannot be resolved"}
	case errors.As(err, &certificate):
		return &trouble{says: "the receiver's certificate is not one that is trusted here"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &trouble{says: "the receiver refuses connections"}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timedOut) && timedOut.Timeout():
		return &trouble{says: "the receiver did not answer in time"}
	}
	return &trouble{says: "the connection to the receiver failed"}
}
