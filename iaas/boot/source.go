package boot

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

const (
	// linkedFor is how long a link is good for: the longest that Signature Version 4 has.
	linkedFor = 7 * 24 * time.Hour
	// signedAnew is how often links are: a host may take its time to boot and fetch, and a
	// purchase that is asked for again is to be the same one.
	signedAnew = 24 * time.Hour
)

// Linker signs links to objects: objectstore.Linker.
type Linker interface {
	// Link gives a URL that reads an object, without credentials, for some time.
	Link(ctx context.Context, key string, validFor time.Duration) (string, error)
}

// Source gives user data to hosts as they are bought. It is safe for concurrent use.
type Source struct {
	cfg    Config
	linker Linker
	now    func() time.Time

	mu     sync.Mutex
	data   []byte
	signed time.Time
}

// NewSource gives the source of a configuration. linker may be nil if no program is in
// the object store. Errors: fleet.Invalid for a configuration that cannot work.
func NewSource(c Config, linker Linker) (*Source, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	for _, p := range c.Programs {
		if _, stored := p.key(); stored && linker == nil {
			return nil, fleet.Errorf(fleet.Invalid, "user data of hosts", "the object store gives no links that hosts could fetch %s by", p.URL).
				WithRemedy("keep objects in a bucket, or give an https URL")
		}
	}
	return &Source{cfg: c, linker: linker, now: time.Now}, nil
}

// UserData gives what a host that is bought now does at its first boot.
func (s *Source) UserData(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data != nil && s.now().Sub(s.signed) < signedAnew {
		return s.data, nil
	}
	linked, now := Config{Programs: maps.Clone(s.cfg.Programs)}, s.now()
	for arch, p := range s.cfg.Programs {
		key, stored := p.key()
		if !stored {
			continue
		}
		link, err := s.linker.Link(ctx, key, linkedFor)
		if err != nil {
			return nil, err
		}
		linked.Programs[arch] = Program{URL: link, SHA256: p.SHA256}
	}
	data, err := render(linked)
	if err != nil {
		return nil, err
	}
	s.data, s.signed = data, now
	return data, nil
}
