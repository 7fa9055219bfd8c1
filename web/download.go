package web

import (
	"context"
	"io"
	"net/http"
	"time"
)

// stalledFor is how long a download may wait for whoever reads it.
const stalledFor = 30 * time.Second

// download sends a file while it is written. It may take longer than other answers: only a reader that stops
// reading is cut off. When writing fails in the middle the connection breaks, so that nobody takes a part for
// the whole.
func (p *pages) download(v *visit, name string, write func(context.Context, io.Writer) error) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(v.ctx())) // a page's time is too short
	defer cancel()
	go func() { // ends with this call
		select {
		case <-p.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	to := &downloading{visit: v, name: name, control: http.NewResponseController(bare(v.writer))}
	err := write(ctx, to)
	if err != nil && to.begun {
		p.log.WarnContext(ctx, "a download broke off", "call", v.id, "error", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

// bare gives the writer below gin's, which is the one that reaches the connection.
func bare(w http.ResponseWriter) http.ResponseWriter {
	if wrapped, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		return wrapped.Unwrap()
	}
	return w
}

// downloading is an answer that begins with its first byte.
type downloading struct {
	*visit
	name    string
	control *http.ResponseController
	begun   bool
}

// Write sends, and gives the reader stalledFor to take it.
func (d *downloading) Write(raw []byte) (int, error) {
	if !d.begun {
		d.begin()
	}
	cut := time.AfterFunc(stalledFor, func() { _ = d.control.SetWriteDeadline(time.Unix(1, 0)) }) // long past
	defer cut.Stop()
	return d.writer.Write(raw)
}

func (d *downloading) begin() {
	d.begun = true
	_ = d.control.SetWriteDeadline(time.Time{}) // the server's is for answers that are ready
	header := d.writer.Header()
	header.Set("Content-Type", "application/x-ndjson")
	header.Set("Content-Disposition", `attachment; filename="`+d.name+`"`)
	d.writer.WriteHeader(http.StatusOK)
}
