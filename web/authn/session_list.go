package authn

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/hourkey/hourkey/broker"
)

// List gives a human's sessions that are good now, newest first.
func (s *Sessions) List(ctx context.Context, human string) (good []Session, err error) {
	err = s.store.View(ctx, func(r broker.Reader) error {
		all, err := sessionsOf(r, human)
		for _, session := range all {
			holds, failed := s.holds(r, session)
			if failed != nil {
				return failed
			}
			if holds {
				good = append(good, session)
			}
		}
		return err
	})
	slices.Reverse(good)
	return good, err
}

// EndByID forgets the session of that human with that ID; CodeNotFound if there is none.
func (s *Sessions) EndByID(ctx context.Context, human, id string) error {
	ended, err := s.endAll(ctx, human, func(session Session) bool { return id != "" && session.ID == id })
	if err == nil && ended == 0 {
		return broker.Errorf(broker.CodeNotFound, "there is no such session, or it is over already")
	}
	return err
}

// EndOthers forgets all sessions of the human but this one, and tells how many.
func (s *Sessions) EndOthers(ctx context.Context, session Session) (ended int, err error) {
	return s.endAll(ctx, session.Human, func(other Session) bool { return other.Hash != session.Hash })
}

func (s *Sessions) endAll(ctx context.Context, human string, which func(Session) bool) (ended int, err error) {
	err = s.store.Update(ctx, func(tx broker.Tx) error {
		all, err := sessionsOf(tx, human)
		if err != nil {
			return err
		}
		for _, session := range all {
			if !which(session) {
				continue
			}
			if err := tx.Delete(&session); err != nil {
				return err
			}
			ended++
		}
		return nil
	})
	return ended, err
}

// sessionsOf gives a human's sessions, good or not, oldest first.
func sessionsOf(r broker.Reader, human string) (all []Session, err error) {
	err = r.Scan("session", "human/"+human, func(raw []byte) error {
		var session Session
		if err := json.Unmarshal(raw, &session); err != nil {
			return err
		}
		all = append(all, session)
		return nil
	})
	return all, err
}
