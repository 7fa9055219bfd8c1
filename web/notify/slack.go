package notify

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
)

// slack posts to an incoming webhook (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
type slack struct {
	letter
	*poster
}

// slackMessage is the payload: the line in a block of plain text, in which Slack looks for no mark-up, no
// mention and no address, and the link in a block of its own. Text is what a phone shows beside the lock.
type slackMessage struct {
	Text        string       `json:"text"`
	Blocks      []slackBlock `json:"blocks"`
	UnfurlLinks bool         `json:"unfurl_links"` // false: nobody fetches our page for a preview
	UnfurlMedia bool         `json:"unfurl_media"`
}

type slackBlock struct {
	Type string    `json:"type"`
	Text slackText `json:"text"`
}

type slackText struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim,omitempty"` // mrkdwn alone: what is not marked up stays as it is
}

func (s *slack) send(ctx context.Context, d *delivery) *trouble {
	line := strings.NewReplacer("<", "‹", ">", "›").Replace(d.wide())
	body, err := json.Marshal(slackMessage{
		Text: slackEscape(line),
		Blocks: []slackBlock{
			{"section", slackText{Type: "plain_text", Text: line}},
			{"section", slackText{Type: "mrkdwn", Text: "<" + slackEscape(s.link(d)) + "|Look at it in Hourkey>", Verbatim: true}},
		},
	})
	if err != nil {
		return &trouble{says: "the message could not be encoded", final: true}
	}
	answer, problem := s.post(ctx, s.url.Reveal(), map[string]string{"Content-Type": "application/json; charset=utf-8"}, body)
	if problem != nil && slices.Contains(slackSays(), answer) {
		problem.says += " (" + answer + ")"
	}
	return problem
}

// slackEscape takes the meaning from the characters that Slack gives one: with them begin mentions (<!channel>,
// <@U…>) and links. In the line the brackets are others already, so that no reading of it can bring them back.
func slackEscape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// slackSays lists the answers that help an operator. Any other is not repeated.
func slackSays() []string {
	return []string{
		"invalid_payload", "user_not_found", "channel_not_found", "channel_is_archived", "action_prohibited",
		"posting_to_general_channel_denied", "too_many_attachments", "no_service", "no_service_id", "no_team", "team_disabled", "invalid_token", "no_text", "rollup_error",
	}
}
