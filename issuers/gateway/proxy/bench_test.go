package proxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// passing lets every call pass and keeps nothing: what is measured is the proxy alone.
type passing struct{ *keeper }

func (passing) Use(context.Context, *broker.Presented, broker.Call) (broker.Pass, error) {
	return broker.Pass{}, nil
}

func (passing) Used(context.Context, *broker.Presented, broker.Pass, broker.Call, string) {}

// answer is about what a REST API says of one thing.
var benchAnswer = []byte(`{"id":7,"name":"` + strings.Repeat("x", 1000) + `"}`)

func benchBackend(b *testing.B) *backend {
	back := newBackend(b)
	back.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(benchAnswer)))
		_, _ = w.Write(benchAnswer)
	})
	return back
}

// The floor: a reverse proxy that judges nothing.
func BenchmarkBareReverseProxy(b *testing.B) {
	back := benchBackend(b)
	to, err := url.Parse(back.URL)
	if err != nil {
		b.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 128
	bare := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) }, Transport: transport})
	b.Cleanup(bare.Close)
	b.Cleanup(transport.CloseIdleConnections)
	direct := &http.Transport{MaxIdleConnsPerHost: 128}
	b.Cleanup(direct.CloseIdleConnections)
	for _, clients := range []int{1, 64} {
		b.Run(strconv.Itoa(clients), func(b *testing.B) { load(b, clients, &http.Client{Transport: direct}, bare.URL) })
	}
}

func BenchmarkJudgedRead(b *testing.B) {
	back := benchBackend(b)
	r := newRig(b, func(c *Config) { c.Broker, c.Log = passing{c.Broker.(*keeper)}, nil })
	r.provider.base = back.URL
	r.broker.presented.Target.Issuer = &issuer{pack: newPack(b), provider: r.provider}
	client := r.client()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 128
	for _, clients := range []int{1, 64} {
		b.Run(strconv.Itoa(clients), func(b *testing.B) {
			r.provider.asked = nil
			load(b, clients, client, "http://base.local")
		})
	}
}

// load reads one thing b.N times by as many clients, and reports quantiles.
func load(b *testing.B, clients int, client *http.Client, base string) {
	b.ReportAllocs()
	left := make(chan struct{}, clients)
	times := make([][]time.Duration, clients)
	var all sync.WaitGroup
	b.ResetTimer()
	for at := range clients {
		all.Go(func() {
			for range left {
				began := time.Now()
				response, err := client.Get(base + "/things/7")
				if err != nil {
					b.Error(err)
					continue
				}
				if n, err := io.Copy(io.Discard, response.Body); err != nil || n != int64(len(benchAnswer)) || response.StatusCode != 200 {
					b.Errorf("%d: %d bytes, %v", response.StatusCode, n, err)
				}
				response.Body.Close()
				times[at] = append(times[at], time.Since(began))
			}
		})
	}
	for range b.N {
		left <- struct{}{}
	}
	close(left)
	all.Wait()
	b.StopTimer()
	taken := slices.Concat(times...)
	slices.Sort(taken)
	b.ReportMetric(float64(taken[len(taken)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(taken[len(taken)*99/100].Microseconds()), "p99-µs")
}
