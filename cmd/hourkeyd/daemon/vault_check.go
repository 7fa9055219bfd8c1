package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
)

// Check tells, permission by permission, what the broker's own login at the Vault of hourkey.yaml lacks or has too much, and tries
// its key-encryption key. An error is one of Vault, or of logging in.
func (r *References) Check(ctx context.Context, set *config.Set) ([]broker.Finding, error) {
	if r.session == nil {
		return nil, nil
	}
	needs := r.needs(set)
	paths := []string{"sys/capabilities-self"} // the login is tried though it need nothing
	for _, n := range needs {
		paths = append(paths, n.path)
	}
	can, err := r.session.Capabilities(ctx, paths)
	if err != nil {
		return nil, r.session.Fault("vault", "asking what the broker's own login may do", err)
	}
	var found []broker.Finding
	for _, n := range needs {
		found = append(found, n.lacking(can[n.path])...)
	}
	if len(found) == 0 {
		found, err = r.checkKey(ctx)
	}
	for _, n := range needs {
		found = append(found, n.tooMuch(can[n.path])...)
	}
	return found, err
}

// Policy is what the broker's own login needs, to paste: that and Vault's policy default.
func (r *References) Policy(set *config.Set) string {
	var text strings.Builder
	for _, n := range r.needs(set) {
		text.WriteString(n.rule() + " # " + n.why + "\n")
	}
	return text.String()
}

// need is one permission of the broker's own login.
type need struct{ path, capability, why string }

// needs lists them: those of the key-encryption key first.
func (r *References) needs(set *config.Set) []need {
	var list []need
	if key := r.transit; key != (config.Transit{}) {
		list = []need{
			{key.Mount + "/keys/" + key.Key, "read", "see that the key cannot leave Vault"},
			{key.Mount + "/encrypt/" + key.Key, "update", "seal the keys of the store"},
			{key.Mount + "/decrypt/" + key.Key, "update", "open the store"},
		}
	}
	wanted := map[string][]string{} // path → what refers to it
	for _, one := range vaultReferences(set) {
		if !slices.Contains(wanted[one.path], one.where) {
			wanted[one.path] = append(wanted[one.path], one.where)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(wanted)) {
		list = append(list, need{path, "read", "read what " + strings.Join(wanted[path], " and ") + " refers to"})
	}
	return list
}

func (n need) rule() string {
	return fmt.Sprintf("path %q { capabilities = [%q] }", n.path, n.capability)
}

func (n need) lacking(has []string) []broker.Finding {
	if slices.Contains(has, n.capability) {
		return nil
	}
	return []broker.Finding{{
		Refuses: true, Object: "login " + n.path, Mend: n.rule(),
		Problem: fmt.Sprintf("the broker's login lacks %s on %s, to %s", n.capability, n.path, n.why),
	}}
}

// tooMuch: whoever has the broker's login, and may change what is referred to, leads the broker elsewhere.
func (n need) tooMuch(has []string) []broker.Finding {
	more := slices.DeleteFunc(slices.Clone(has), func(c string) bool {
		return c == n.capability || !slices.Contains([]string{"create", "update", "patch", "delete", "sudo"}, c)
	})
	if len(more) == 0 {
		return nil
	}
	return []broker.Finding{{
		Object: "login " + n.path, Mend: "take it out of the login's policies",
		Problem: fmt.Sprintf("the broker's login has %s on %s and does not need it", strings.Join(more, ", "), n.path),
	}}
}

// checkKey tries the key-encryption key, if Vault has it: whether it is fit, and whether it opens what it sealed.
func (r *References) checkKey(ctx context.Context) ([]broker.Finding, error) {
	if r.transit == (config.Transit{}) {
		return nil, nil
	}
	kek, err := r.kek(ctx, "")
	known, ours := errors.AsType[*broker.Error](err)
	if ours && (known.Code == broker.CodeWall || known.Code == broker.CodeNotFound) {
		return []broker.Finding{{Refuses: true, Object: "key " + r.transit.Key, Problem: known.Message, Mend: known.Next}}, nil
	}
	if err != nil {
		return nil, err
	}
	sealed, err := kek.Wrap(ctx, []byte("check"), "check")
	if err != nil {
		return nil, err
	}
	plain, err := kek.Unwrap(ctx, sealed, "check")
	if err == nil && !bytes.Equal(plain, []byte("check")) {
		err = broker.Errorf(broker.CodeWall, "transit: the key %s opens what it sealed to something else", r.transit.Key)
	}
	return nil, err
}
