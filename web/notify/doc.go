// Package notify tells people what waits for them, what came of it, and what should alarm them: by Slack,
// ntfy, mail, and signed webhooks.
//
// It owns: one cursor in the event log per channel, the words of a message and who hears it, and the delivery
// with its retries. A message is one line and a link to a page. It decides nothing and lets nobody decide:
// there is no button in it, and the link is worth nothing to whoever has no session.
//
// It does not know: how a decision is made, and what an agent says for itself. The words of an agent stand on
// the page alone, after everything else and marked as such. In a message they would come first and without
// the page around them, and could talk a tired person into anything.
//
// It trusts: the log, the names that the configuration allows, and its operators' choice of channels. It
// trusts nothing that comes back from a receiver: an answer is read for its status, and never repeated.
package notify
