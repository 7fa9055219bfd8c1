package railway

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// stagedAnswer is what waits to be committed in an environment.
type stagedAnswer struct {
	ID        string         `json:"id"`
	UpdatedAt string         `json:"updatedAt"`
	Patch     map[string]any `json:"patch"`
}

// staged is what environmentPatchCommitStaged would commit. The call does not say it, so it is asked for, judged
// as environmentPatchCommit would be, and named by a digest of its content: what a human approved for one
// content does not let another pass. What would give power is refused here, because the call itself is
// judged as one that destroys at worst.
func staged(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	found, err := environmentKind(ctx, l, n)
	if err != nil {
		return found, err
	}
	waits, err := l.askStaged(ctx, n.ID)
	if err != nil {
		return gateway.Found{}, err
	}
	if len(waits.Patch) == 0 {
		return gateway.Found{}, broker.Errorf(broker.CodeDenied, "nothing is staged in %s: there is nothing to commit", l.shownAnywhere(ctx, n.ID)).WithField(n.At)
	}
	touches, err := l.judgeStaged(n, waits.Patch)
	if err != nil {
		return gateway.Found{}, err
	}
	for _, touch := range touches {
		also, err := l.resolve(ctx, touch)
		if err != nil {
			return gateway.Found{}, err
		}
		for _, place := range also.Places {
			if !slices.Contains(found.Places, place) {
				found.Places = append(found.Places, place)
			}
		}
		found.Facts = append(found.Facts, also.Facts...)
	}
	digest := l.digest(waits)
	found.Names = append([]broker.Resource{broker.Resource("staged/" + digest)}, found.Names...)
	found.Says = fmt.Sprintf("what is staged in %s (digest %s): %s", l.shownAnywhere(ctx, n.ID), digest, strings.Join(l.changes(waits.Patch), "; "))
	return found, nil
}

func (l *look) askStaged(ctx context.Context, environment string) (stagedAnswer, error) {
	var answer struct {
		Staged stagedAnswer `json:"environmentStagedChanges"`
	}
	document := `query HourkeyStaged($id: String!) { environmentStagedChanges(environmentId: $id) { id updatedAt patch(decryptVariables: true) } }`
	err := l.client.ask(ctx, document, map[string]any{"id": environment}, &answer)
	return answer.Staged, err
}

func (l *look) shownAnywhere(ctx context.Context, environment string) string {
	inv, err := l.homeOf(ctx, "environment", environment)
	if err != nil {
		return environment
	}
	return inv.shown(environment)
}

// judgeStaged judges the patch as if it were committed by name.
func (l *look) judgeStaged(n judge.Named, patch map[string]any) ([]judge.Named, error) {
	body, err := json.Marshal(map[string]any{
		"query":     "mutation ($e: String!, $p: EnvironmentConfig) { environmentPatchCommit(environmentId: $e, patch: $p) }",
		"variables": map[string]any{"e": n.ID, "p": patch},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding what is staged: %w", err)
	}
	verdict := l.pack.Judge(judge.Call{Method: "POST", Path: endpoint, ContentType: "application/json", Body: body}, false)
	if verdict.Class == judge.Refused {
		return nil, broker.Errorf(broker.CodeDenied, "what is staged cannot be committed through the gateway: %s", verdict.Refusal).
			WithField(n.At).WithNext("a human can commit it in Railway's dashboard")
	}
	if verdict.Class == judge.Admin {
		return nil, broker.Errorf(broker.CodeDenied, "what is staged also gives power: %s", verdict.Operations[0].Why).
			WithField(n.At).WithNext("commit it with environmentPatchCommit, which names what it does")
	}
	return verdict.Operations[0].Touches, nil
}

// digest identifies what is staged, values of variables as well. It is keyed, so that nobody who reads it can try
// values; updatedAt is in it because Railway does not tell the values of sealed variables.
func (l *look) digest(waits stagedAnswer) string {
	text, err := json.Marshal(waits)
	if err != nil {
		text = []byte(fmt.Sprint(waits)) // it was decoded from JSON: this cannot happen, and would still be apart
	}
	key := sha256.Sum256([]byte("hourkey/railway/staged/1\x00" + l.token.Reveal()))
	mac := hmac.New(sha256.New, key[:])
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil)[:12])
}

// changes lists what a patch does, with names for ids, and without the values of variables.
func (l *look) changes(patch map[string]any) []string {
	var all []string
	var walk func(path []string, value any)
	walk = func(path []string, value any) {
		if object, is := value.(map[string]any); is && len(object) > 0 {
			for _, key := range slices.Sorted(maps.Keys(object)) {
				walk(append(slices.Clone(path), key), object[key])
			}
			return
		}
		all = append(all, l.change(path, value))
	}
	walk(nil, patch)
	return all
}

func (l *look) change(path []string, value any) string {
	hidden := slices.Contains(path, "variables") || slices.Contains(path, "sharedVariables") || slices.Contains(path, "registryCredentials")
	if len(path) > 1 {
		path[1] = l.called(path[0], path[1])
	}
	where := strings.Join(path, ".")
	switch {
	case value == nil:
		return where + " is taken away"
	case hidden:
		return where + " is set"
	}
	text, err := json.Marshal(value)
	if err != nil {
		return where + " is set"
	}
	return where + " = " + string(text)
}

// called gives the name of what a section of a patch calls by its id.
func (l *look) called(section, id string) string {
	kind, known := map[string]string{"services": "service", "volumes": "volume", "buckets": "bucket", "groups": "group"}[section]
	if known {
		for _, t := range l.inv.of(kind) {
			if t.id == id {
				return t.name
			}
		}
	}
	return id
}
