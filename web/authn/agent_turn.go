package authn

import "runtime"

// turns bounds how many signatures are checked at once. Whoever comes meanwhile waits, in the order of coming: a check
// takes a tenth of a millisecond. The attack is a flood of proofs that do not hold: it cannot be counted against its
// address beforehand, because an honest agent may have the same, and so it takes half of the machine at most from what
// else there is to do.
type turns chan struct{}

func newTurns() turns { return make(turns, max(1, runtime.GOMAXPROCS(0)/2)) }

func (t turns) do(check func()) {
	t <- struct{}{}
	defer func() { <-t }()
	check()
}
