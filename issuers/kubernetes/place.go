package kubernetes

import (
	"context"
	"errors"
	"fmt"

	"github.com/hourkey/hourkey/broker"
)

// place is the namespace as it was found, and the cluster that it is in.
type place struct {
	namespace, system object
}

// system is the namespace that every cluster has from its first moment: its UID is the cluster's.
const system = "kube-system"

// What failed, to a caller.
const (
	findingPlace = "reading the namespaces"
	auditing     = "auditing the walls"
	auditingOwn  = "auditing the broker's account"
)

// find asks for both namespaces at once.
func (i *Issuer) find(ctx context.Context) (p place, err error) {
	err = together(ctx,
		func(ctx context.Context) (err error) {
			p.namespace, err = i.namespaceOf(ctx, i.config.Settings.Namespace)
			return err
		},
		func(ctx context.Context) (err error) { p.system, err = i.namespaceOf(ctx, system); return err },
	)
	if err != nil {
		return p, err
	}
	if p.namespace.Metadata.UID == "" || p.system.Metadata.UID == "" || p.namespace.Metadata.Name != i.config.Settings.Namespace {
		return p, errors.New("the server sent a namespace without a UID, or another one")
	}
	return p, nil
}

func (p place) identity() string {
	return "kubernetes:" + p.system.Metadata.UID + "/" + p.namespace.Metadata.UID
}

// Identify asks the server for the UIDs of kube-system, which is the cluster, and of the namespace.
func (i *Issuer) Identify(ctx context.Context) (broker.Identity, error) {
	p, err := i.find(ctx)
	if err != nil {
		return broker.Identity{}, i.fault(findingPlace, err)
	}
	return broker.Identity{ID: p.identity(), Shown: i.shown(p)}, nil
}

func (i *Issuer) shown(p place) string {
	return fmt.Sprintf("namespace %s (%s) of the cluster at %s (%s)", p.namespace.Metadata.Name, p.namespace.Metadata.UID, i.server, p.system.Metadata.UID)
}

// namespaceOf reads a namespace.
func (i *Issuer) namespaceOf(ctx context.Context, name string) (o object, err error) {
	err = i.client.getMetadata(ctx, corePath+"/namespaces/"+name, &o)
	return o, err
}

// placeAndAudit asks for both at once.
func (i *Issuer) placeAndAudit(ctx context.Context) (p place, a *audit, err error) {
	var unaudited error
	unfound := together(ctx,
		func(ctx context.Context) (err error) { p, err = i.find(ctx); return err },
		func(ctx context.Context) error { a, unaudited = i.audit(ctx, false); return nil },
	)
	if unfound != nil {
		return p, nil, i.fault(findingPlace, unfound)
	}
	if unaudited != nil {
		return p, nil, i.fault(auditing, unaudited)
	}
	return p, a, nil
}
