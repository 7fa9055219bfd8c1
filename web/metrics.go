package web

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hourkey/hourkey/broker"
)

// newMetrics makes /metrics. What it counts it reads from the event log, from where the log stood at
// the start, each time that somebody asks.
func (s *Server) newMetrics(registry *prometheus.Registry) (http.Handler, error) {
	f := &follower{broker: s.broker, store: s.store, log: s.log}
	f.define()
	if err := s.store.View(context.Background(), func(r broker.Reader) (err error) {
		f.next, err = r.Height()
		return err
	}); err != nil {
		return nil, err
	}
	if err := registry.Register(f); err != nil {
		return nil, err
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: 2}), nil
}

// metricsPage answers only addresses that were named: numbers tell when a broker is watched least.
func (s *Server) metricsPage(c *call) error {
	if !anyContains(s.metricsFrom, c.address) || s.forwarded(c) {
		return broker.Errorf(broker.CodeForbidden, "metrics are not for this address")
	}
	s.metrics.ServeHTTP(c.writer, c.request)
	return nil
}

// forwarded tells whether a proxy that nobody named stands between: its own address would count.
func (s *Server) forwarded(c *call) bool {
	header := c.request.Header
	return len(s.proxies) == 0 && (header.Get("X-Forwarded-For") != "" || header.Get("Forwarded") != "")
}

// follower is a prometheus.Collector that reads on in the event log.
type follower struct {
	broker interface {
		Status(context.Context) (broker.Status, error)
	}
	store broker.Store
	log   logger

	requests, issued, ended *prometheus.CounterVec
	notices                 *prometheus.CounterVec
	secondsToEnd            prometheus.Histogram
	secondsToDecide         *prometheus.HistogramVec
	leases, stuck, pending  *prometheus.Desc
	frozen, events, up      *prometheus.Desc

	mu   sync.Mutex
	next uint64 // event
}

type logger interface {
	ErrorContext(ctx context.Context, msg string, args ...any)
}

const (
	followFor   = 5 * time.Second // one scrape
	followBatch = 5000            // events in one view of the store
)

func (f *follower) define() {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	f.requests = counter("hourkey_requests_total", "Requests, by what was decided at once.", "decision")
	f.issued = counter("hourkey_leases_issued_total", "Leases that became live, by environment.", "environment")
	f.ended = counter("hourkey_leases_ended_total", "Leases that ended, by cause.", "cause")
	f.notices = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hourkey_notices_total", Help: "Messages to people, by channel and whether they were delivered. Alarm on failed.",
	}, []string{"channel", "result"})
	f.secondsToEnd = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "hourkey_lease_end_seconds", Help: "From the order to end a lease to its verified end.", Buckets: []float64{.001, .01, .05, .1, .5, 1, 5, 30, 60, 300, 3600},
	})
	f.secondsToDecide = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "hourkey_decision_seconds", Help: "From a request to what humans, or the clock, made of it, by agent, by the rule that asked for humans, and by verdict. An agent that is approved within seconds is not read.",
		Buckets: []float64{2, 5, 15, 30, 60, 300, 900, 1800, 3600},
	}, []string{"agent", "rule", "verdict"})
	f.leases = prometheus.NewDesc("hourkey_leases", "Open leases now, by state.", []string{"state"}, nil)
	f.stuck = prometheus.NewDesc("hourkey_leases_stuck", "Leases that could not be ended and are being retried, now. Alarm on more than 0.", nil, nil)
	f.pending = prometheus.NewDesc("hourkey_requests_pending", "Requests that wait for humans, now.", nil, nil)
	f.frozen = prometheus.NewDesc("hourkey_freezes", "Freezes in force, now.", nil, nil)
	f.events = prometheus.NewDesc("hourkey_events", "Events in the log, now.", nil, nil)
	f.up = prometheus.NewDesc("hourkey_store_writable", "1 when the store took the last write.", nil, nil)
}

// counters are what grows with the log.
func (f *follower) counters() []prometheus.Collector {
	return []prometheus.Collector{f.requests, f.issued, f.ended, f.notices, f.secondsToEnd, f.secondsToDecide}
}

// Describe is prometheus.Collector's.
func (f *follower) Describe(to chan<- *prometheus.Desc) {
	for _, c := range f.counters() {
		c.Describe(to)
	}
	for _, d := range []*prometheus.Desc{f.leases, f.stuck, f.pending, f.frozen, f.events, f.up} {
		to <- d
	}
}

// Collect is prometheus.Collector's. What cannot be read is missing, never zero.
func (f *follower) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), followFor) // the interface has no context
	defer cancel()
	if err := f.follow(ctx); err != nil {
		f.log.ErrorContext(ctx, "following the event log for metrics", "error", err)
		return
	}
	for _, c := range f.counters() {
		c.Collect(to)
	}
	status, err := f.broker.Status(ctx)
	if err != nil {
		f.log.ErrorContext(ctx, "asking the broker's status for metrics", "error", err)
		return
	}
	f.gauges(to, status)
}

func (f *follower) gauges(to chan<- prometheus.Metric, status broker.Status) {
	gauge := func(d *prometheus.Desc, value int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	for _, state := range []broker.LeaseState{broker.LeaseIssuing, broker.LeaseLive, broker.LeaseEnding, broker.LeaseStuck} {
		gauge(f.leases, status.Leases[state], string(state))
	}
	gauge(f.stuck, status.Leases[broker.LeaseStuck])
	gauge(f.pending, status.Pending)
	gauge(f.frozen, len(status.Freezes))
	writable := 0
	if status.Writable {
		writable = 1
	}
	gauge(f.up, writable)
	to <- prometheus.MustNewConstMetric(f.events, prometheus.GaugeValue, float64(status.Events))
}

// follow counts what came into the log since the last time, in views short enough to be in nobody's way.
func (f *follower) follow(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		seen := 0
		err := f.store.View(ctx, func(r broker.Reader) error {
			return r.Events(f.next, func(number uint64, e broker.Event) error {
				if seen == followBatch {
					return broker.ErrStop
				}
				seen++
				f.next = number + 1
				f.count(e)
				return nil
			})
		})
		if err != nil || seen < followBatch {
			return err
		}
	}
}

// count takes one event. An event whose data it cannot read still counts, without its label.
func (f *follower) count(e broker.Event) {
	switch {
	case strings.HasPrefix(string(e.Type), "hourkey.request."):
		var data decided
		_ = json.Unmarshal(e.Data, &data)
		f.countRequest(e.Type, data)
	case strings.HasPrefix(string(e.Type), "hourkey.lease."):
		var data struct {
			Environment string       `json:"environment"`
			Cause       broker.Cause `json:"cause"`
			Seconds     float64      `json:"seconds"`
		}
		_ = json.Unmarshal(e.Data, &data)
		f.countLease(e.Type, data.Environment, string(data.Cause), data.Seconds)
	case strings.HasPrefix(string(e.Type), "hourkey.notice."):
		var data struct {
			Channel string `json:"channel"`
		}
		_ = json.Unmarshal(e.Data, &data)
		f.notices.WithLabelValues(data.Channel, strings.TrimPrefix(string(e.Type), "hourkey.notice.")).Inc()
	}
}

// decided is what the metrics read of a broker.RequestEvent.
type decided struct {
	Agent   string              `json:"agent"`
	Outcome broker.Outcome      `json:"outcome"`
	Reasons []broker.Reason     `json:"reasons"`
	Needs   []broker.Need       `json:"needs"`
	Was     broker.RequestState `json:"was"`
	Seconds float64             `json:"seconds"`
	Count   int                 `json:"count"` // of asks that one event stands for, if more than one
}

// rule is the first that asked for humans.
func (d decided) rule() string {
	for _, reason := range d.Reasons {
		if reason.Outcome == broker.Escalate {
			return reason.Rule
		}
	}
	return ""
}

func (f *follower) countRequest(kind broker.EventType, data decided) {
	verdict := ""
	switch kind { //nolint:exhaustive // the others are steps in between
	case broker.EventRequestSubmitted:
		f.requests.WithLabelValues(string(data.Outcome)).Inc()
	case broker.EventRequestDenied:
		f.requests.WithLabelValues(string(broker.Deny)).Add(float64(max(1, data.Count)))
	case broker.EventRequestApproved:
		verdict = "approved"
	case broker.EventRequestRejected:
		verdict = "denied"
	case broker.EventRequestExpired:
		if data.Was == broker.RequestPending {
			verdict = "expired"
		}
	}
	if verdict != "" && len(data.Needs) > 0 {
		f.secondsToDecide.WithLabelValues(data.Agent, data.rule(), verdict).Observe(data.Seconds)
	}
}

func (f *follower) countLease(kind broker.EventType, environment, cause string, toEnd float64) {
	switch kind { //nolint:exhaustive // the others are no beginning and no end
	case broker.EventLeaseIssued:
		f.issued.WithLabelValues(environment).Inc()
	case broker.EventLeaseEnded:
		f.ended.WithLabelValues(cause).Inc()
		f.secondsToEnd.Observe(toEnd)
	}
}

// MeasureStore is store with the time of every commit in the registry, as hourkey_store_commit_seconds.
// Wire it between the store and the broker.
func MeasureStore(store broker.Store, registry prometheus.Registerer, now func() time.Time) (broker.Store, error) {
	m := &measuredStore{Store: store, now: now, commits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "hourkey_store_commit_seconds", Help: "Updates of the store, from the call to durable.", Buckets: []float64{.0001, .0005, .001, .002, .005, .01, .025, .05, .1, .5, 1, 5},
	}, []string{"result"})}
	m.ok, m.failed = m.commits.WithLabelValues("ok"), m.commits.WithLabelValues("failed")
	return m, registry.Register(m.commits)
}

type measuredStore struct {
	broker.Store
	now        func() time.Time
	commits    *prometheus.HistogramVec
	ok, failed prometheus.Observer
}

// Update is Store's. One that the change itself refused is counted with those that failed.
func (m *measuredStore) Update(ctx context.Context, change func(broker.Tx) error) error {
	began := m.now()
	err := m.Store.Update(ctx, change)
	took := m.now().Sub(began).Seconds()
	if err != nil {
		m.failed.Observe(took)
	} else {
		m.ok.Observe(took)
	}
	return err
}
