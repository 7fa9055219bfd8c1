package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
)

// Notify is `notify:` of hourkey.yaml: the channels to people, sorted by name.
//
//	notify:
//	  oncall: {slack: file:secrets/slack-url, about: [requests, outcomes], environments: [production]}
//	  phone:  {ntfy: https://ntfy.example/hourkey, token: env:NTFY_TOKEN}
//	  mail:   {smtp: mail.example:587, from: hourkey@example.com, user: hourkey, password: env:SMTP_PASSWORD, to: {alice: alice@example.com}}
//	  siem:   {webhook: https://siem.example/hook, secret: file:secrets/hook}
type Notify []NotifyChannel

// NotifyChannel is one of them. What its settings may be beyond their form is for the channel itself to say.
type NotifyChannel struct {
	Where string // file:line
	Name  string
	Kind  string // slack, ntfy, smtp, webhook

	URL      string // slack: a reference; ntfy and webhook: a reference, or the URL itself
	Token    string // ntfy: a reference
	Secret   string // webhook: a reference
	Server   string // smtp: host:port
	From     string
	User     string
	Password string            // a reference
	To       map[string]string // human → address

	About        []string
	Environments []string
}

// NotifySecrets are those of a channel, resolved. What it has not is zero.
type NotifySecrets struct{ URL, Token, Secret, Password broker.Secret }

// notifyAbouts is what a channel can be limited to.
var notifyAbouts = []string{"requests", "outcomes", "people", "alarms"}

// notify takes `notify:`.
func (d document) notify(into *Notify) field {
	return func(node *yaml.Node) error {
		err := d.each(node, "notify", func(key, value *yaml.Node) error {
			if !broker.IsName(key.Value) {
				return d.errorf(key, "notify", "notify: %q is not a name: expected a-z, 0-9 and dashes", clip(key.Value))
			}
			c := NotifyChannel{Where: d.at(key), Name: key.Value}
			*into = append(*into, c)
			return d.channel(key, value, &(*into)[len(*into)-1])
		})
		slices.SortFunc(*into, func(a, b NotifyChannel) int { return strings.Compare(a.Name, b.Name) })
		return err
	}
}

// channel takes one. The field that says where it leads is also its kind, and decides what may stand beside it.
func (d document) channel(key, node *yaml.Node, c *NotifyChannel) error {
	name := "notify." + c.Name
	kinds := map[string]map[string]field{ // kind → its fields
		"slack":   {"slack": d.hidden(&c.URL, name+".slack")},
		"ntfy":    {"ntfy": d.text(&c.URL, name+".ntfy"), "token": d.hidden(&c.Token, name+".token")},
		"webhook": {"webhook": d.text(&c.URL, name+".webhook"), "secret": d.hidden(&c.Secret, name+".secret")},
		"smtp": {
			"smtp": d.text(&c.Server, name+".smtp"), "from": d.text(&c.From, name+".from"), "to": d.addresses(&c.To, name+".to"),
			"user": d.text(&c.User, name+".user"), "password": d.hidden(&c.Password, name+".password"),
		},
	}
	if node.Kind != yaml.MappingNode {
		return d.errorf(key, name, "%s: expected where it leads, like \"slack: file:PATH\"", name)
	}
	for i := 0; i < len(node.Content) && c.Kind == ""; i += 2 {
		if _, is := kinds[node.Content[i].Value]; is {
			c.Kind = node.Content[i].Value
		}
	}
	if c.Kind == "" {
		return d.errorf(key, name, "%s: says not where it leads: expected one of %s", name, join(slices.Sorted(maps.Keys(kinds))))
	}
	known := kinds[c.Kind]
	known["about"], known["environments"] = d.abouts(&c.About, name+".about"), d.names(&c.Environments, name+".environments")
	return d.fields(node, known)
}

func (d document) abouts(into *[]string, name string) field {
	return func(node *yaml.Node) error {
		if err := d.names(into, name)(node); err != nil {
			return err
		}
		for i, text := range *into {
			if !slices.Contains(notifyAbouts, text) {
				return d.errorf(node.Content[i], name, "%s: unknown %q: %s", name, clip(text), didYouMean(clip(text), notifyAbouts))
			}
		}
		return nil
	}
}

// addresses takes human: address.
func (d document) addresses(into *map[string]string, name string) field {
	return func(node *yaml.Node) error {
		*into = map[string]string{}
		return d.each(node, name, func(key, value *yaml.Node) error {
			if !broker.IsName(key.Value) {
				return d.errorf(key, name, "%s: %q is not the name of a human: expected a-z, 0-9 and dashes", name, clip(key.Value))
			}
			var address string
			err := d.text(&address, name+"."+key.Value)(value)
			(*into)[key.Value] = address
			return err
		})
	}
}

// hidden takes the reference to a secret. What is none may be the secret itself: it is not repeated.
func (d document) hidden(into *string, name string) field {
	return func(node *yaml.Node) error {
		if err := d.text(into, name)(node); err != nil {
			return err
		}
		if !IsReference(*into) {
			return d.errorf(node, name, "%s: expected a reference to a secret, not the secret itself: env:NAME or file:PATH", name)
		}
		return nil
	}
}

// check refuses an environment that there is not: with a typing error in it, a channel would be silent.
func (n Notify) check(environments map[string]broker.Environment) error {
	for _, c := range n {
		for _, name := range c.Environments {
			if _, known := environments[name]; !known {
				return broker.Errorf(broker.CodeInvalid, "%s: notify.%s.environments: no environment %q: %s", c.Where, c.Name, name,
					didYouMean(name, slices.Collect(maps.Keys(environments)))).WithField("environments")
			}
		}
	}
	return nil
}

// Resolve gives what the references of a channel refer to.
func (c NotifyChannel) Resolve(secrets Secrets) (resolved NotifySecrets, err error) {
	if c.URL != "" && !IsReference(c.URL) {
		resolved.URL, c.URL = broker.NewSecret(c.URL), ""
	}
	for _, one := range []struct {
		field, reference string
		into             *broker.Secret
	}{
		{c.Kind, c.URL, &resolved.URL}, {"token", c.Token, &resolved.Token}, {"secret", c.Secret, &resolved.Secret}, {"password", c.Password, &resolved.Password},
	} {
		if one.reference == "" {
			continue
		}
		if *one.into, err = secrets.Resolve(one.reference); err != nil {
			return NotifySecrets{}, c.wrong(one.field, err)
		}
	}
	return resolved, nil
}

// wrong says where an error about a secret comes from.
func (c NotifyChannel) wrong(field string, err error) error {
	e, ours := errors.AsType[*broker.Error](err)
	if !ours {
		return fmt.Errorf("%s: notify.%s.%s: %w", c.Where, c.Name, field, err)
	}
	told := *e
	told.Message, told.Field = fmt.Sprintf("%s: notify.%s.%s: %s", c.Where, c.Name, field, e.Message), field
	return &told
}

// Equal tells whether two say the same, wherever it stands in the file.
func (n Notify) Equal(other Notify) bool {
	return slices.EqualFunc(n, other, func(a, b NotifyChannel) bool {
		a.Where, b.Where = "", ""
		return reflect.DeepEqual(a, b)
	})
}
