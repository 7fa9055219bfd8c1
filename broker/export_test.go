package broker

// CallsWait tells whether what passes the gateway may be recorded a moment later: somebody is there to write it, and
// the log is neither failing nor late.
func (b *Broker) CallsWait() bool {
	b.calls.mu.Lock()
	defer b.calls.mu.Unlock()
	return b.calls.served && !b.calls.failing
}
