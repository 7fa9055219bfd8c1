package broker

import (
	"encoding/json"
	"time"
)

// EventType is the CloudEvents type of an audit record.
type EventType string

// The events, by what they are about.
const (
	EventRequestSubmitted EventType = "hourkey.request.submitted" // data: RequestEvent
	EventRequestRepeated  EventType = "hourkey.request.repeated"  // the same came again while it was pending; data: RequestEvent
	EventRequestDenied    EventType = "hourkey.request.denied"    // by policy, before anything was stored as pending
	EventRequestApproved  EventType = "hourkey.request.approved"  // the last approval came
	EventRequestReviewed  EventType = "hourkey.request.reviewed"  // one approval, not yet the last
	EventRequestRejected  EventType = "hourkey.request.rejected"  // a human said no
	EventRequestExpired   EventType = "hourkey.request.expired"
	EventRequestCancelled EventType = "hourkey.request.cancelled"
	EventReviewRefused    EventType = "hourkey.review.refused"  // an attempt to sign that was refused
	EventCollectRefused   EventType = "hourkey.collect.refused" // decided, and yet nothing was issued
	EventLeaseIssuing     EventType = "hourkey.lease.issuing"
	EventLeaseIssued      EventType = "hourkey.lease.issued"
	EventLeaseEnding      EventType = "hourkey.lease.ending"
	EventLeaseEnded       EventType = "hourkey.lease.ended"
	EventLeaseStuck       EventType = "hourkey.lease.stuck"
	EventCallPassed       EventType = "hourkey.call.passed"   // through the gateway; data: CallEvent
	EventCallRefused      EventType = "hourkey.call.refused"  // by the gateway
	EventCallAnswered     EventType = "hourkey.call.answered" // how a call that passed came out
	EventOrphanEnded      EventType = "hourkey.orphan.ended"  // found at a provider without a lease
	EventFrozen           EventType = "hourkey.freeze.set"
	EventLifted           EventType = "hourkey.freeze.lifted"
	EventAgentAdded       EventType = "hourkey.agent.added"
	EventAgentEnrolled    EventType = "hourkey.agent.enrolled"
	EventAgentActivated   EventType = "hourkey.agent.activated"
	EventAgentRemoved     EventType = "hourkey.agent.removed"
	EventHumanInvited     EventType = "hourkey.human.invited"
	EventHumanAdmitted    EventType = "hourkey.human.admitted" // an inert invite was signed
	EventHumanReset       EventType = "hourkey.human.reset"
	EventSignedOn         EventType = "hourkey.human.signed_on"       // by single sign-on; data: Login
	EventSignOnRefused    EventType = "hourkey.human.sign_on_refused" // the account is verified, and may not enter
	EventPasskeyOffered   EventType = "hourkey.passkey.offered"       // a new one waits for a signature
	EventPasskeyAdded     EventType = "hourkey.passkey.added"
	EventPasskeyRenamed   EventType = "hourkey.passkey.renamed"
	EventPasskeyRemoved   EventType = "hourkey.passkey.removed"
	EventTargetLearned    EventType = "hourkey.target.learned"
	EventTargetConfirmed  EventType = "hourkey.target.confirmed"
	EventTargetChanged    EventType = "hourkey.target.changed"
	EventReloaded         EventType = "hourkey.configuration.reloaded"
	EventReloadRefused    EventType = "hourkey.configuration.refused"
	EventStarted          EventType = "hourkey.broker.started"
	EventRestored         EventType = "hourkey.broker.restored"
	EventSameUser         EventType = "hourkey.broker.same_user" // a local peer had the broker's uid
	EventNoticeDelivered  EventType = "hourkey.notice.delivered" // somebody was told
	EventNoticeFailed     EventType = "hourkey.notice.failed"    // nobody could be told, and it is not tried again
)

// Event is one audit record. The log numbers it. Its JSON follows CloudEvents 1.0 attribute names.
type Event struct {
	Type    EventType       `json:"type"`
	Time    time.Time       `json:"time"`
	Actor   string          `json:"actor"`   // "agent:claude-code", "human:alice", "socket", "broker"
	Subject string          `json:"subject"` // the id of the request, lease, … that it is about
	Data    json.RawMessage `json:"data,omitempty"`
}
