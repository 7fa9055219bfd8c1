package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/hourkey/hourkey/broker"
)

// Check audits the whole database and the admin login: what refuses every request first, then what refuses
// requests for one table, then warnings. What the configuration accepts is left out; an acceptance of
// nothing is a warning.
func (i *Issuer) Check(ctx context.Context) ([]broker.Finding, error) {
	conn, err := i.pool.acquire(ctx)
	if err != nil {
		return nil, i.fault("connecting", err)
	}
	defer i.pool.release(conn)
	everything := []broker.Scope{{Target: i.config.Ref.Target, Resource: "*", Actions: broker.Read}}
	seen, err := look(ctx, conn, everything, i.config.Settings.Owner)
	if err != nil {
		return nil, i.fault("auditing the walls", err)
	}
	var found []broker.Finding
	p, err := i.probe(ctx, seen, true)
	if err != nil {
		finding, wall := asFinding(err)
		if !wall {
			return nil, i.fault("probing", err)
		}
		found = append(found, finding)
	}
	found = append(found, i.judge(seen, p, nil)...)
	found = append(found, i.byTable(seen, found)...)
	found = append(i.unaccepted(found), i.useless(seen, found)...)
	slices.SortStableFunc(found, func(a, b broker.Finding) int { return cmp.Compare(rank(a), rank(b)) })
	return found, nil
}

func rank(f broker.Finding) int {
	if f.Refuses {
		return 0
	}
	return 1
}

func asFinding(err error) (broker.Finding, bool) {
	e, ok := errors.AsType[*broker.Error](err)
	if !ok || e.Code != broker.CodeWall {
		return broker.Finding{}, false
	}
	return broker.Finding{Refuses: true, Object: objectTrust, Problem: e.Message, Mend: e.Next}, true
}

// byTable gives what would refuse a request for read, write and delete on one table alone, for each table.
// It does not stop other requests.
func (i *Issuer) byTable(seen *snapshot, known []broker.Finding) []broker.Finding {
	var found []broker.Finding
	for _, r := range seen.Relations {
		if !r.Wanted || !r.isTable() {
			continue
		}
		alone := []grant{{relation: r, actions: broker.Read | broker.Write | broker.Delete}}
		for _, f := range slices.Concat(seen.definers([]string{r.Schema}), follow(seen, alone).holes(), seen.missing(alone)) {
			if slices.ContainsFunc(slices.Concat(known, found), func(other broker.Finding) bool { return other.Object == f.Object }) {
				continue
			}
			f.Refuses, f.Problem = false, "requests that need it are refused: "+f.Problem
			found = append(found, f)
		}
	}
	return found
}

func (i *Issuer) unaccepted(found []broker.Finding) []broker.Finding {
	return slices.DeleteFunc(slices.Clone(found), func(f broker.Finding) bool {
		return isAcceptable(f.Object) && slices.ContainsFunc(i.config.Settings.Accept, func(a Accept) bool { return a.Object == f.Object })
	})
}

// useless: what is accepted and is not there. It would open a hole that comes up later, unseen.
func (i *Issuer) useless(seen *snapshot, found []broker.Finding) []broker.Finding {
	var list []broker.Finding
	var views []grant
	for _, r := range seen.Relations {
		views = append(views, grant{relation: r, actions: broker.Read})
	}
	found = slices.Concat(found, named(views))
	for _, a := range i.config.Settings.Accept {
		if !slices.ContainsFunc(found, func(f broker.Finding) bool { return f.Object == a.Object }) {
			list = append(list, broker.Finding{
				Object: a.Object, Problem: "accept names " + a.Object + ", and there is no such hole",
				Mend: "remove the entry from accept",
			})
		}
	}
	return list
}
