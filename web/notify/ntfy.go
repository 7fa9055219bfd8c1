package notify

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// ntfy publishes to a topic as JSON (docs.ntfy.sh/publish, "Publish as JSON"). It never sends `actions`:
// those are the buttons.
type ntfy struct {
	letter
	*poster
	token broker.Secret
}

// ntfyMessage is what is published. A message of more than 4,096 bytes would become an attachment.
type ntfyMessage struct {
	Topic    string `json:"topic"`
	Title    string `json:"title"` // at most 1 KB
	Message  string `json:"message"`
	Click    string `json:"click"`    // opens when the notification is tapped
	Priority int    `json:"priority"` // 1 to 5; 3 is the default
}

func (n *ntfy) send(ctx context.Context, d *delivery) *trouble {
	server, err := url.Parse(n.url.Reveal())
	if err != nil {
		return &trouble{says: "the address is no URL", final: true}
	}
	message := ntfyMessage{
		Topic: strings.TrimPrefix(server.Path, "/"), Title: d.title, Message: d.wide(), Click: n.link(d), Priority: 3,
	}
	if d.about == AboutRequests || d.about == AboutAlarms {
		message.Priority = 4
	}
	body, err := json.Marshal(message)
	if err != nil {
		return &trouble{says: "the message could not be encoded", final: true}
	}
	header := map[string]string{"Content-Type": "application/json"}
	if !n.token.IsZero() {
		header["Authorization"] = "Bearer " + n.token.Reveal()
	}
	server.Path = "/"
	_, problem := n.post(ctx, server.String(), header, body)
	return problem
}
