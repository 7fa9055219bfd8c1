package bolt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/hourkey/hourkey/store"
)

// Each operation makes these bytes durable: two records and an event, as one issued lease does.
var (
	benchKeys  = []string{"rlease", "rrequest", "le"}
	benchValue = make([]byte, 700)
)

// BenchmarkCommit measures one durable operation, by 1 and by 64 clients, beside its floors: appending the same
// bytes to a file with an fsync each, bbolt's own Update, and bbolt's own Batch as it comes.
func BenchmarkCommit(b *testing.B) {
	for _, clients := range []int{1, 64} {
		for _, floor := range []struct {
			name string
			open func(b *testing.B) func(key string) error
		}{{"hourkey", benchEngine}, {"append-fsync", benchFile}, {"bbolt-update", benchUpdate}, {"bbolt-batch", benchBatch}} {
			b.Run(fmt.Sprintf("clients=%d/%s", clients, floor.name), func(b *testing.B) {
				measure(b, clients, floor.open(b))
			})
		}
	}
}

// measure shares b.N operations among the clients and reports rate and latencies.
func measure(b *testing.B, clients int, operation func(key string) error) {
	var next atomic.Int64
	took := make([][]time.Duration, clients)
	var wait sync.WaitGroup
	b.ResetTimer()
	for client := range clients {
		wait.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				start := time.Now()
				if err := operation(fmt.Sprintf("%d-%09d", client, i)); err != nil {
					b.Error(err)
					return
				}
				took[client] = append(took[client], time.Since(start))
			}
		})
	}
	wait.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(0, "ns/op")
}

func benchEngine(b *testing.B) func(string) error {
	e := fresh(b)
	return func(key string) error {
		return e.Update(context.Background(), func(c store.Change) error {
			for _, prefix := range benchKeys {
				if err := c.Put([]byte(prefix+key), benchValue); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func benchFile(b *testing.B) func(string) error {
	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = file.Close() })
	var mu sync.Mutex
	return func(key string) error {
		mu.Lock()
		defer mu.Unlock()
		for _, prefix := range benchKeys {
			if _, err := file.Write(append([]byte(prefix+key), benchValue...)); err != nil {
				return err
			}
		}
		return file.Sync()
	}
}

func benchDB(b *testing.B) *bbolt.DB {
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "db"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(pairs)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return db
}

func benchPut(key string) func(tx *bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		for _, prefix := range benchKeys {
			if err := tx.Bucket(pairs).Put([]byte(prefix+key), benchValue); err != nil {
				return err
			}
		}
		return nil
	}
}

func benchUpdate(b *testing.B) func(string) error {
	db := benchDB(b)
	return func(key string) error { return db.Update(benchPut(key)) }
}

func benchBatch(b *testing.B) func(string) error {
	db := benchDB(b)
	return func(key string) error { return db.Batch(benchPut(key)) }
}
