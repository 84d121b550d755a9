package keyspace

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// Facts says what was written holds, when all of it was. It reads every page that is in
// use. Errors: the context's, and of the scratch directory, as a *fs.PathError; any other
// says what is wrong with the store.
func (s *Scanner) Facts(ctx context.Context) (f Facts, err error) {
	m, err := s.end()
	if err != nil {
		return f, err
	}
	if err := s.notes.open(); err != nil {
		return f, err
	}
	// Reading a mapped page that is not there is a fault that ends the process.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			f, err = Facts{}, fmt.Errorf("it does not hang together: %v", r)
		}
	}()
	p := &pages{Scanner: s, ctx: ctx, most: m.pages}
	found := map[string]tree{}
	err = p.leaves(tree{root: m.root}, func(l leaf) (err error) {
		found[string(l.key)], err = l.tree()
		return err
	})
	if err != nil {
		return f, err
	}
	keys, are := found[keyBucket]
	if _, is := found[metaBucket]; !is || !are {
		return f, errors.New("it has no key space")
	}
	of := store{ctx: ctx, pages: p, keys: keys, none: s.hash(nil), slots: s.slots}
	for name, t := range found {
		if name == keyBucket {
			continue // is read below
		}
		err := p.leaves(t, func(l leaf) error {
			if name != metaBucket || string(l.key) != "finishedCompactRev" && string(l.key) != "scheduledCompactRev" {
				return ctx.Err()
			}
			r, err := parseRevision(l.value)
			of.compacted = max(of.compacted, r.main)
			return err
		})
		if err != nil {
			return f, err
		}
	}
	return of.read()
}

// pages are those of a file, as noted.
type pages struct {
	*Scanner
	ctx  context.Context
	most uint64 // is how many are in use or free
	seen uint64 // of the tree that is visited
}

// visit goes through what is noted of the leaves of a tree, in their order.
func (p *pages) visit(t tree, do func(record []byte) error) error {
	if t.inline != nil {
		return do(append([]byte{asItIs}, t.inline...))
	}
	p.seen = 0
	return p.below(t.root, do)
}

func (p *pages) below(id uint64, do func(record []byte) error) error {
	record := p.notes.of(id)
	p.seen++
	switch {
	case id >= p.most || len(record) == 0:
		return fmt.Errorf("page %d of a tree is none", id)
	case p.seen > p.most:
		return errors.New("its pages go in a circle")
	case record[0] == ofRevisions || page(record[1:]).flags() == leafPage:
		return do(record)
	}
	branch := page(record[1:])
	if branch.count() == 0 {
		return fmt.Errorf("page %d leads nowhere", id)
	}
	for n := range branch.count() {
		child, err := branch.child(n)
		if err == nil {
			err = p.below(child, do)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leaves goes through the elements of a tree that is not the key space's.
func (p *pages) leaves(t tree, do func(leaf) error) error {
	return p.visit(t, func(record []byte) error {
		if record[0] == ofRevisions { // some other key looks like a revision
			return p.ctx.Err()
		}
		for n := range page(record[1:]).count() {
			l, err := page(record[1:]).leaf(n)
			if err == nil {
				err = do(l)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// entries goes through those of the key space.
func (p *pages) entries(t tree, do func(entry) error) error {
	return p.visit(t, func(record []byte) (err error) {
		if record[0] != ofRevisions { // it has none, or they cannot be read
			if record, err = p.Scanner.entries([]byte{ofRevisions}, page(record[1:])); err != nil {
				return err
			}
		}
		for at := 1; at < len(record); at += entrySize {
			if err := do(parseEntry(record[at:])); err != nil {
				return err
			}
		}
		return nil
	})
}
