package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
)

// webhook posts a CloudEvent in structured mode (CloudEvents 1.0.2, HTTP binding section 3.2), signed as
// Standard Webhooks 1.0 describes:
//
//	webhook-id         the CloudEvent's id: the same at every try
//	webhook-timestamp  seconds since 1970, of this try
//	webhook-signature  "v1," base64( HMAC-SHA256( key, id "." timestamp "." body ) )
type webhook struct {
	letter
	*poster
	key []byte
}

// cloudEvent is the JSON form of CloudEvents 1.0.2.
type cloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject,omitempty"`
	Time        time.Time `json:"time"`
	DataType    string    `json:"datacontenttype"`
	Data        Told      `json:"data"`
}

// Told is what a webhook is told. The log has all of an event, for those who may read it.
type Told struct {
	About        About    `json:"about"`
	Title        string   `json:"title"`
	Summary      string   `json:"summary"`      // one line
	Link         string   `json:"link"`         // to the page; it gives no right
	Environments []string `json:"environments"` // empty: it concerns all
	Number       uint64   `json:"number"`       // of the event in the log
}

func (w *webhook) send(ctx context.Context, d *delivery) *trouble {
	told := Told{About: d.about, Title: d.title, Summary: d.wide(), Link: w.link(d), Environments: d.environments, Number: d.number}
	if told.Environments == nil {
		told.Environments = []string{}
	}
	body, err := json.Marshal(cloudEvent{
		SpecVersion: "1.0", ID: w.id(d), Source: w.origin, Type: string(d.event.Type), Subject: harmless(d.event.Subject, maxName),
		Time: d.event.Time.UTC(), DataType: "application/json", Data: told,
	})
	if err != nil {
		return &trouble{says: "the message could not be encoded", final: true}
	}
	at := strconv.FormatInt(w.now().Unix(), 10)
	_, problem := w.post(ctx, w.url.Reveal(), map[string]string{
		"Content-Type": "application/cloudevents+json; charset=utf-8",
		"Webhook-Id":   w.id(d), "Webhook-Timestamp": at, "Webhook-Signature": sign(w.key, w.id(d), at, body),
	}, body)
	return problem
}

func sign(key []byte, id, at string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
