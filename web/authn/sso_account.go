package authn

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// account reads who somebody is out of verified claims: the name by the rule of the settings, groups by
// their map. Groups that are not mapped do not come.
func (s SignOnSettings) account(claims idClaims) (broker.Account, error) {
	account := broker.Account{Issuer: s.Issuer, Subject: claims.subject}
	if string(claims.all["email_verified"]) == "true" { // not "true" as a text: whoever writes that may mean anything
		account.Email = claims.text(claimEmail)
	}
	var err error
	if account.Name, err = s.name(claims, account.Email); err != nil {
		return broker.Account{}, err
	}
	account.Groups, err = s.groups(claims.all[s.GroupsClaim])
	return account, err
}

// name makes a human's name. The attack on an e-mail that is not verified: an account is made at the token
// issuer with the address of a reviewer.
func (s SignOnSettings) name(claims idClaims, verified string) (string, error) {
	said := claims.text(s.NameClaim)
	switch {
	case said == "":
		return "", unnamed("it gives you no %s", s.NameClaim)
	case s.NameClaim == claimEmail && verified == "":
		return "", unnamed("it has not verified your e-mail address")
	}
	if local, domain, is := cutLast(said, "@"); is {
		if !slices.Contains(s.Domains, lower(domain)) {
			return "", unnamed("your %s is of a domain that is not let in", s.NameClaim)
		}
		said = local
	} else if s.NameClaim == claimEmail {
		return "", unnamed("your e-mail address is none")
	}
	name := strings.Map(dashed, said)
	if !broker.IsName(name) || strings.Contains(said, "@") {
		return "", unnamed("your %s makes no name here (a-z, 0-9 and dashes, a letter or number first)", s.NameClaim)
	}
	return name, nil
}

// dashed is the rule: ASCII letters in lower case, everything else that is no number a dash. Not
// unicode.ToLower: it makes a plain k of the sign for Kelvin, and so two people one.
func dashed(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
		return r
	case r >= 'A' && r <= 'Z':
		return r + 'a' - 'A'
	}
	return '-'
}

func lower(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}

func cutLast(text, separator string) (before, after string, found bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(separator):], true
}

// groups maps the token issuer's groups, a list or one text, to ours: sorted, each once.
func (s SignOnSettings) groups(raw json.RawMessage) ([]string, error) {
	var theirs []string
	var one string
	if json.Unmarshal(raw, &one) == nil && one != "" {
		theirs = []string{one}
	} else if len(raw) > 0 && json.Unmarshal(raw, &theirs) != nil {
		return nil, broker.Errorf(broker.CodeForbidden, "the single sign-on gives groups that are no list of names").
			WithNext("ask an operator to look at sso.groups_claim in hourkey.yaml")
	}
	var ours []string
	for _, group := range theirs {
		if mapped, is := s.Groups[group]; is {
			ours = append(ours, mapped)
		}
	}
	slices.Sort(ours)
	return slices.Compact(ours), nil
}

func unnamed(format string, args ...any) *broker.Error {
	e := broker.Errorf(broker.CodeForbidden, format, args...)
	e.Message = "the single sign-on does not say who you are here: " + e.Message
	return e.WithNext("ask an operator to look at sso in hourkey.yaml")
}
