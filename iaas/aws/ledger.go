package aws

import (
	"sync"
	"time"
)

// ledger remembers what this process asked for lately by calls that take no client token,
// so that the same token asked for again, also at the same time, is the same thing. Of
// commands it only saves asking: what is not in it is kept from running twice by the guard
// on the host.
type ledger struct {
	mu      sync.Mutex
	entries map[string]*sentCommand
	pruned  time.Time
}

type sentCommand struct {
	mu          sync.Mutex
	id, comment string
	at          time.Time
	// asked says of a disk snapshot that it was asked for, and may not be seen yet.
	asked bool
}

// ledgerAge is how long a command is remembered: longer than any caller asks again.
const ledgerAge = time.Hour

func newLedger() *ledger { return &ledger{entries: map[string]*sentCommand{}, pruned: time.Now()} }

// hold gives the entry of a token on a host, which nobody else has until it is unlocked.
func (l *ledger) hold(hostID, token string) (entry *sentCommand, unlock func()) {
	l.mu.Lock()
	if now := time.Now(); now.Sub(l.pruned) > time.Minute {
		l.pruned = now
		for key, e := range l.entries {
			if now.Sub(e.at) > ledgerAge {
				delete(l.entries, key)
			}
		}
	}
	key := hostID + "\x00" + token
	entry = l.entries[key]
	if entry == nil {
		entry = &sentCommand{at: time.Now()}
		l.entries[key] = entry
	}
	l.mu.Unlock()
	entry.mu.Lock()
	return entry, entry.mu.Unlock
}
