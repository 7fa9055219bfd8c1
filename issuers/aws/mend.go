package aws

import (
	"fmt"
	"slices"
)

// What check --live prints, for an administrator to paste.

// UserPolicy is what the broker's user needs, and all that it needs.
func (i *Issuer) UserPolicy() string {
	return policy{{Effect: "Allow", Action: many{"sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"}, Resource: many{i.role.arn}}}.pretty()
}

// TrustPolicy is the role's: the broker's user, by its ARN, and nobody else, may assume it.
func TrustPolicy(user string) string {
	return fmt.Sprintf(`{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Principal": {"AWS": %q},
      "Action": ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"]
    }
  ]
}`, user)
}

// RolePolicy is what the role needs so that all that the file lists can be read and written.
func (i *Issuer) RolePolicy() string {
	var grants []grant
	for _, t := range i.listed {
		grants = append(grants, grant{t, t.service.has()})
	}
	p := allow(i.allowed(grants))
	for at := range p {
		p[at].Condition = nil // the sessions have their own
	}
	return append(p, slices.DeleteFunc(i.lookPolicy(), func(s statement) bool { return s.Effect == "Deny" })...).pretty()
}
