package auditlog

import (
	"encoding/json"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Restored is the least that the data of a hourkey.broker.restored event must say. A restored store
// goes on where its backup ended, in a new epoch: events that came after the backup are lost, and the
// new ones take their numbers. So that both stories can be told apart, the first event of the new epoch
// names the checkpoint of what was restored, and every later checkpoint bears the new epoch.
type Restored struct {
	Checkpoint string `json:"checkpoint"` // signed, over exactly the events before this one
}

// restored begins a new epoch, if the event names the log as it stands. The signature was made by the
// caller a moment ago; Verify checks it.
func (h *head) restored(event broker.Event) error {
	c, err := namedCheckpoint(event.Data)
	if err != nil {
		return err
	}
	if c.Origin != h.origin() || c.Tree != h.tree() || c.Epoch != h.epoch || c.Of != 0 {
		return broker.Errorf(broker.CodeConflict, "the restored event names a checkpoint of %s at %d, but the log %s stands at %d", c.Origin, c.Tree.N, h.origin(), h.size).
			WithNext("sign a checkpoint of the restored store and append the event before any other")
	}
	h.epoch++
	return nil
}

// namedCheckpoint reads the checkpoint in the data of a restored event, without its signature.
func namedCheckpoint(data json.RawMessage) (Checkpoint, error) {
	var r Restored
	if err := json.Unmarshal(data, &r); err != nil {
		return Checkpoint{}, notNamed(err)
	}
	at := strings.LastIndex(r.Checkpoint, "\n\n")
	if at < 0 {
		return Checkpoint{}, notNamed(errCheckpoint)
	}
	c, err := parseCheckpoint(r.Checkpoint[:at+1])
	if err != nil {
		return Checkpoint{}, notNamed(err)
	}
	return c, nil
}

func notNamed(err error) error {
	return broker.Errorf(broker.CodeInvalid, "a restored event wants the signed checkpoint of what was restored in data.checkpoint").WithField("data.checkpoint").Because(err)
}
