package policies

import (
	"fmt"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

// BenchmarkEvaluate times one item: the shipped shape of a task, with a few guardrails and without.
func BenchmarkEvaluate(b *testing.B) {
	few := noAdmin + `
@id("migrations") forbid (principal, action in [Action::"write", Action::"delete"], resource) when { resource.name like "*.schema_migrations" };
@id("payments") forbid (principal in Group::"contractors", action, resource in Environment::"production") when { resource.name like "payments.*" };
@id("business") forbid (principal, action == Action::"delete", resource) unless { resource.environment == "staging" };`
	tables := query()
	for i := range 100 {
		tables.Scopes = append(tables.Scopes, broker.Scope{Target: "orders-db", Resource: broker.Resource(fmt.Sprintf("public.t%d", i)), Actions: broker.Read | broker.Write})
	}
	for _, one := range []struct {
		name, guardrails string
		query            broker.Query
	}{
		{"no guardrails, one table", "", query("orders-db:public.orders:read,write")},
		{"4 guardrails, one table", few, query("orders-db:public.orders:read,write")},
		{"4 guardrails, a prefix", few, query("orders-db:public.orders*:read,write")},
		{"4 guardrails, 100 tables", few, tables},
	} {
		set := mustLoad(b, sourceOf(fixOrders, one.guardrails))
		b.Run(one.name, func(b *testing.B) {
			one.query.Described = true
			b.ReportAllocs()
			for b.Loop() {
				set.Evaluate(one.query)
			}
		})
	}
}
