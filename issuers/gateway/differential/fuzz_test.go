package differential

import "testing"

// FuzzDifferential takes bodies of requests as they come, from a caller under a target of each kind of token. What
// is accepted is held to what the server does with it.
func FuzzDifferential(f *testing.F) {
	s := newShared(f)
	a := newAuthor(f, s)
	for n, p := range a.plans {
		if testing.Short() && n%8 != 0 {
			continue
		}
		for _, g := range p.goals[:min(3, len(p.goals))] {
			call, _ := a.call(p, g)
			f.Add(call.body, uint8(p.rand.IntN(3)))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, token uint8) {
		kinds := tokenKinds()
		o := a.w.run(t, testCall{token: kinds[int(token)%len(kinds)], body: body}, s.judging())
		for _, v := range o.violations() {
			if _, is := excepted(v); !is {
				t.Errorf("%s\n  %s\n  %s", v.key(), v.detail, body)
			}
		}
	})
}
