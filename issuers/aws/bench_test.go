package aws_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/aws/miniotest"
)

// BenchmarkIssue compares what a request costs at the issuer, Describe and then Issue, with the same calls made bare by
// the SDK: AssumeRole with the same policy, and GetBucketVersioning before it where the request is for writing. Rounds
// alternate, so that both meet the same machine. ×p50 and ×total are the ratios.
func BenchmarkIssue(b *testing.B) {
	s := newSite(b)
	issuer := s.issuer(b)
	for _, actions := range []string{"read", "read,write"} {
		w := wish(b, "s3/"+s.bucket+"/app/*:"+actions)
		floor := newFloor(b, s, issuer, w)
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/clients=%d", actions, clients), func(b *testing.B) {
				var ours, bare round
				request := func(ctx context.Context) error { return issueOnce(ctx, issuer, w) }
				ours.play(b, clients, request) // warm: connections, the session that looks
				bare.play(b, clients, floor.request)
				ours, bare = round{}, round{}
				for range b.N {
					ours.play(b, clients, request)
					bare.play(b, clients, floor.request)
				}
				b.ReportMetric(ours.percentile(50), "ms-p50")
				b.ReportMetric(ours.percentile(99), "ms-p99")
				b.ReportMetric(bare.percentile(50), "bare-ms-p50")
				b.ReportMetric(bare.percentile(99), "bare-ms-p99")
				b.ReportMetric(ours.percentile(50)/bare.percentile(50), "×p50")
				b.ReportMetric(float64(ours.total)/float64(bare.total), "×total")
			})
		}
	}
}

// BenchmarkOwnWork is what the issuer does by itself: the calls are answered from memory.
func BenchmarkOwnWork(b *testing.B) {
	issuer := newCloud().issuer(b)
	w := wish(b, "s3/acme-staging/app/*:read", "sqs/orders:write")
	for b.Loop() {
		if err := issueOnce(b.Context(), issuer, w); err != nil {
			b.Fatal(err)
		}
	}
}

func issueOnce(ctx context.Context, issuer *aws.Issuer, w broker.Wish) error {
	d, err := issuer.Describe(ctx, w)
	if err != nil {
		return err
	}
	_, _, err = issuer.Issue(ctx, orderFor(d, "hk-bench-1"))
	return err
}

// round collects the times of many requests.
type round struct {
	each  []time.Duration
	total time.Duration
}

func (r *round) percentile(p int) float64 {
	slices.Sort(r.each)
	return r.each[len(r.each)*p/101].Seconds() * 1000
}

// play runs one request for each client at once.
func (r *round) play(b *testing.B, clients int, request func(context.Context) error) {
	b.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for range clients {
		all.Go(func() {
			start := time.Now()
			err := request(b.Context())
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			if r.each = append(r.each, took); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	r.total += time.Since(began)
}

// floor is the bare SDK, with a pool of connections like the issuer's.
type floor struct {
	sts    *sts.Client
	s3     *s3.Client
	bucket string
	input  sts.AssumeRoleInput
	looks  bool
}

func newFloor(b *testing.B, s *site, issuer *aws.Issuer, w broker.Wish) *floor {
	b.Helper()
	policy, err := issuer.SessionPolicy(describe(b, issuer, w), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	if err != nil {
		b.Fatal(err)
	}
	looking, err := issuer.Looking(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	own := credentials.NewStaticCredentialsProvider(miniotest.RootKey, miniotest.RootSecret, "")
	client := &http.Client{Transport: transport}
	return &floor{
		sts:    sts.New(sts.Options{Region: miniotest.Region, BaseEndpoint: &s.URL, Credentials: own, HTTPClient: client}),
		s3:     looking, // the same session: the server works more for one than for its root
		bucket: s.bucket, looks: broker.AllActions(w.Scopes).Has(broker.Write),
		input: sts.AssumeRoleInput{RoleArn: ptr("arn:aws:iam::000000000000:role/none"), RoleSessionName: ptr("hk-bench-1"), Policy: &policy, DurationSeconds: ptr(int32(900))},
	}
}

func (f *floor) request(ctx context.Context) error {
	if f.looks {
		if _, err := f.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &f.bucket}); err != nil {
			return err
		}
	}
	_, err := f.sts.AssumeRole(ctx, &f.input)
	return err
}
