package system

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// atOnce runs n calls side by side and gives what each came to.
func atOnce[T any](n int, call func(n int) (T, error)) (results []T, errs []error) {
	results, errs = make([]T, n), make([]error, n)
	var wait sync.WaitGroup
	for at := range n {
		wait.Go(func() { results[at], errs[at] = call(at) })
	}
	wait.Wait()
	return results, errs
}

// TestOneApprovalCollectedTwiceAtOnce: what may delete is shown once.
func TestOneApprovalCollectedTwiceAtOnce(t *testing.T) {
	t.Parallel()
	i := install(t)
	for range 3 {
		request, err := i.agent.request(t.Context(), "staging", time.Minute, rwd)
		must(t, err)
		i.approve(request.ID)
		keys, errs := atOnce(4, func(int) (api.Credential, error) { return i.agent.collect(t.Context(), request.ID) })
		got := 0
		for n, err := range errs {
			if err != nil {
				refused(t, "the other collect", err, api.CodeExpired, api.CodeConflict)
				continue
			}
			got++
			must(t, i.agent.release(t.Context(), keys[n].Lease))
		}
		if got != 1 {
			t.Errorf("%d credentials came of one approval", got)
		}
		i.none()
	}
}

// TestOneAllowanceCollectedTwiceAtOnce: what may not delete is shown again, and the first key ended.
func TestOneAllowanceCollectedTwiceAtOnce(t *testing.T) {
	t.Parallel()
	i := install(t)
	request, err := i.agent.request(t.Context(), "staging", time.Minute)
	must(t, err)
	keys, errs := atOnce(4, func(int) (api.Credential, error) { return i.agent.collect(t.Context(), request.ID) })
	working := 0
	for n, err := range errs {
		if err != nil {
			refused(t, "the other collect", err, api.CodeConflict)
			continue
		}
		if run(t.Context(), keys[n], "SELECT 1") == nil {
			working++
		}
	}
	i.settled()
	if open := len(i.leases(false)); open != 1 || working != 1 {
		t.Errorf("%d leases are open and %d keys work, want 1", open, working)
	}
}

func TestSameIdempotencyKeyTwiceAtOnce(t *testing.T) {
	t.Parallel()
	i := install(t)
	ask := api.RequestCreate{Task: task, Environments: []string{"staging"}, TTLSeconds: 60}
	header := http.Header{api.HeaderIdempotencyKey: {api.NewIdempotencyKey()}}
	submit := func(int) (r api.Request, err error) {
		err = i.agent.call(t.Context(), http.MethodPost, api.PathRequests, header, ask, &r)
		return r, err
	}
	requests, errs := atOnce(8, submit)
	for n, err := range errs {
		must(t, err)
		if requests[n].ID != requests[0].ID {
			t.Errorf("two requests came of one key: %s and %s", requests[n].ID, requests[0].ID)
		}
	}
	ask.TTLSeconds = 50
	_, err := submit(0)
	refused(t, "the same key for another ask", err, api.CodeConflict)
	var list api.RequestList
	must(t, i.agent.call(t.Context(), http.MethodGet, api.PathRequests, nil, nil, &list))
	if len(list.Requests) != 1 {
		t.Errorf("%d requests, want 1", len(list.Requests))
	}
}

// collectAndHangUp sends a collect and closes the connection a moment later, unread.
func (i *installation) collectAndHangUp(request string, after time.Duration) {
	i.Helper()
	at, err := url.Parse(i.origin)
	must(i, err)
	token, err := i.agent.bearer()
	must(i, err)
	conn, err := net.Dial("tcp", "127.0.0.1:"+at.Port())
	must(i, err)
	path := strings.Replace(api.PathCredentials, "{id}", request, 1)
	out := bufio.NewWriter(conn)
	fmt.Fprintf(out, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n", path, at.Host, token)
	must(i, out.Flush())
	time.Sleep(after)
	must(i, conn.Close())
}

// collectAfterHangUp collects what was collected before, unread. The first one may reach the broker after the second; then it ends what
// the second was given, once, and who asks again gets what lasts.
func (i *installation) collectAfterHangUp(request string) api.Credential {
	i.Helper()
	for try := 0; ; try++ {
		key, err := i.agent.collect(i.Context(), request)
		if err == nil {
			i.settled()
			if open := i.leases(false); len(open) == 1 && open[0].ID == key.Lease {
				return key
			}
			err = errors.New("another was issued instead")
		} else {
			refused(i, "collecting again", err, api.CodeConflict)
		}
		if try == 2 {
			i.Fatalf("three times: %v", err)
		}
	}
}

// TestLostAnswerThenCollectAgain: whatever became of the first one, it does not live on.
func TestLostAnswerThenCollectAgain(t *testing.T) {
	t.Parallel()
	i := install(t)
	for _, after := range []time.Duration{0, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond} {
		request, err := i.agent.request(t.Context(), "staging", time.Minute)
		must(t, err)
		i.collectAndHangUp(request.ID, after)
		key := i.collectAfterHangUp(request.ID)
		must(t, run(t.Context(), key, "SELECT 1"))
		i.settled()
		if open := i.leases(false); len(open) != 1 || open[0].ID != key.Lease {
			t.Errorf("hung up after %s: %d leases are open, want the last one", after, len(open))
		}
		must(t, i.agent.release(t.Context(), key.Lease))
	}
	i.none()
}

// TestLostAnswerOfAnApprovedDelete: the answer is gone, the approval is used up, and the key nobody holds ends.
func TestLostAnswerOfAnApprovedDelete(t *testing.T) {
	t.Parallel()
	i := install(t)
	request, err := i.agent.request(t.Context(), "staging", 3*time.Second, rwd)
	must(t, err)
	i.approve(request.ID)
	i.collectAndHangUp(request.ID, 0)
	if _, err := i.agent.collect(t.Context(), request.ID); err != nil { // else the first never reached the broker
		refused(t, "collecting again", err, api.CodeExpired, api.CodeConflict)
	}
	i.none()
}

// TestFreezeDuringIssue holds the provider so that the freeze comes between the two transactions.
func TestFreezeDuringIssue(t *testing.T) {
	t.Parallel()
	i := install(t)
	frozen := func(broker.Lease) bool { return len(i.status().Freezes) > 0 }
	i.duringIssue(4, func(broker.Lease) error { return i.freeze(broker.FreezeAll, "") }, frozen, api.CodeFrozen, api.CodeConflict)
	i.lift("all")
	i.key(time.Minute)
}

func TestRevokeDuringCollect(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.duringIssue(1, func(lease broker.Lease) error { return i.revoke(lease.ID) }, i.ending, api.CodeConflict)
}

func TestAgentRemovedDuringCollect(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.duringIssue(2, func(broker.Lease) error {
		var done struct{}
		return i.ask(http.MethodDelete, "/agents/"+agentName, nil, &done)
	}, i.ending, "unauthorized_client", "invalid_client", api.CodeUnauthenticated, api.CodeConflict)
}

// TestStopDuringIssue: a broker that is asked to end while the provider is slow leaves nothing behind.
func TestStopDuringIssue(t *testing.T) {
	t.Parallel()
	i := install(t)
	request, err := i.agent.request(t.Context(), "staging", time.Minute)
	must(t, err)
	release := i.staging.hold(t)
	defer release()
	go func() { _, _ = i.agent.collect(t.Context(), request.ID) }()
	i.waiting(1)
	must(t, i.broker.command.Process.Signal(syscall.SIGTERM))
	time.Sleep(300 * time.Millisecond)
	release()
	if !i.broker.died(patience) {
		t.Fatal("the broker does not stop")
	}
	i.serve()
	i.settled()
}

// waiting waits until so many collects wait at the provider.
func (i *installation) waiting(n int) {
	i.Helper()
	eventually(i, func() error {
		// One waits for the lock; the others wait their turn behind it, within the broker or in a transaction.
		const locks = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
			AND application_name = 'hourkey' AND (wait_event_type = 'Lock' OR state = 'idle in transaction')`
		if waiting := i.staging.number(i, locks); waiting != n {
			return fmt.Errorf("%d collects wait at the provider, want %d", waiting, n)
		}
		return nil
	})
}

// ending tells whether the end of a lease is ordered.
func (i *installation) ending(of broker.Lease) bool {
	i.Helper()
	return slices.ContainsFunc(i.leases(true), func(l broker.Lease) bool { return l.ID == of.ID && !l.Ordered.IsZero() })
}

// duringIssue has n collects wait at PostgreSQL, does something, and lets them go on when it is under way: each is refused, and
// nothing is left of any.
func (i *installation) duringIssue(n int, do func(broker.Lease) error, underWay func(broker.Lease) bool, codes ...string) {
	i.Helper()
	var requests []string
	for range n {
		request, err := i.agent.request(i.Context(), "staging", time.Minute)
		must(i, err)
		requests = append(requests, request.ID)
	}
	prefix := i.prefix()
	release := i.staging.hold(i)
	defer release()
	collected := make(chan []error, 1)
	go func() {
		_, errs := atOnce(n, func(at int) (api.Credential, error) { return i.agent.collect(i.Context(), requests[at]) })
		collected <- errs
	}()
	i.waiting(n)
	done := make(chan error, 1)
	lease := i.leases(false)[0]
	go func() { done <- do(lease) }()
	eventually(i, func() error { // it must wait for the provider, not miss it
		if !underWay(lease) {
			return errors.New("it is not under way")
		}
		return nil
	})
	release()
	for _, err := range <-collected {
		refused(i, "a collect that was overtaken", err, codes...)
	}
	if err := <-done; err != nil {
		i.Errorf("what overtook it: %v", err)
	}
	eventually(i, func() error {
		if roles := i.staging.roles(i, prefix); len(roles) > 0 {
			return fmt.Errorf("still there: %v", roles)
		}
		return i.accounted(prefix)
	})
}
