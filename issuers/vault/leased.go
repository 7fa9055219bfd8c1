package vault

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// The engines whose credentials work at a third party. What they may do there stands in the environment's file; what
// of it is plain to see in the role counts in any case.

// rolePaths are the offers' roles.
func rolePaths(s Settings) []string {
	var list []string
	for _, offer := range s.Offers {
		list = append(list, rolePath(s, offer))
	}
	return list
}

// believe makes an offer out of what the file declares, what is plain to see, and the role line by line.
func (i *Issuer) believe(offer Offer, data map[string]any, plain broker.Actions, walls ...broker.WallFact) offered {
	found := offered{Offer: offer, native: lines(data), walls: append(walls, believed(offer))}
	found.reach, found.gives, found.exceptions = declared(i.config.Ref.Target, offer, plain)
	return found
}

// lines writes a role, a field in each line.
func lines(data map[string]any) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(data)) {
		value, err := json.Marshal(data[name])
		if err != nil || string(value) == `""` || string(value) == "null" || string(value) == "[]" || string(value) == "{}" {
			continue
		}
		list = append(list, name+" = "+string(value))
	}
	return list
}

// taken gives the fields of an answer under the names of variables; each must be there.
func taken(got issued, names map[string]string) (credentialValues, error) {
	values := map[string]broker.Secret{}
	for field, variable := range names {
		text, _ := got.answer.Data[field].(string)
		if text == "" {
			return credentialValues{}, errors.New("the answer lacks the field " + field)
		}
		values[variable] = broker.NewSecret(text)
	}
	return credentialValues{values: values}, nil
}

// otherEngine is any engine whose roles hand out leased credentials at creds.
type otherEngine struct{}

func (otherEngine) traits() traits {
	return traits{
		leases: true, early: true, floor: ttlFloor,
		ends: "At the TTL Vault ends what it handed out, in the engine's own way, whether or not a broker runs; earlier, when the broker revokes the lease.",
	}
}

func (otherEngine) paths(s Settings) []string { return rolePaths(s) }

func (otherEngine) judge(i *Issuer, read papers, offer Offer) (offered, error) {
	for name, known := range engines() {
		if known.traits().mounted == read.mount.kind {
			return offered{}, broker.Errorf(broker.CodeWall, "%s: the mount %s is of type %s, which Hourkey knows: as other, nobody would look at its roles", i.config.Ref, i.config.Settings.Mount, read.mount.kind).
				WithNext("write engine: %s", name)
		}
	}
	data, err := read.at(rolePath(i.config.Settings, offer))
	if err != nil && session.StatusOf(err) != http.StatusNotFound { // not every engine shows its roles there
		return offered{}, i.fault("reading the role "+offer.Role, err)
	}
	return i.believe(offer, data, 0, broker.WallFact{Stops: "use after the end", Wall: broker.WallWeak, How: "as the engine " + read.mount.kind + " ends it: Hourkey does not know it"}), nil
}

func (otherEngine) path(s Settings, offer Offer) string { return s.Mount + "/creds/" + offer.Role }

func (otherEngine) ask(Settings, Offer, broker.Order, int64) (request, error) { return request{}, nil }

// values are all texts of the answer.
func (otherEngine) values(_ Settings, got issued) (credentialValues, error) {
	values := map[string]broker.Secret{}
	for field, value := range got.answer.Data {
		if text, ok := value.(string); ok && text != "" {
			values["SECRET_"+strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(field))] = broker.NewSecret(text)
		}
	}
	if len(values) == 0 {
		return credentialValues{}, errors.New("the answer holds no text")
	}
	return credentialValues{values: values}, nil
}
