package keyspace

import "errors"

// NewScannerWithin is NewScanner with a table of so many slots at most.
var NewScannerWithin = newScanner

// LoseScratch closes the files in the scratch directory.
func (s *Scanner) LoseScratch() error {
	return errors.Join(s.notes.records.file.Close(), s.notes.places.file.Close())
}
