package pki

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"filippo.io/age"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// A host that is to open one thing which is sealed to the fleet gets the key of that
// thing alone (age's file key), sealed to a key that it made itself and that never leaves
// it. What is sent to a host may be kept by the cloud for anybody to read who may see
// commands: there is no secret in it.

// HostKey is a key that a host made to be lent something.
type HostKey struct{ key *FleetKey }

// LoadHostKey gives the host's key in a file, and makes one if there is none, or none
// that is whole. Errors: fleet.Denied when it cannot be read or written.
func LoadHostKey(path string) (*HostKey, error) {
	key, err := LoadFleetKey(path)
	switch {
	case err == nil:
		return &HostKey{key}, nil
	case !fleet.Is(err, fleet.NotFound) && !fleet.Is(err, fleet.Invalid):
		return nil, about(err, "host's key "+path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fleet.Errorf(fleet.Denied, "host's key "+path, "it is not whole, and cannot be replaced: %w", err)
	}
	if key, err = GenerateFleetKey(); err != nil {
		return nil, err
	}
	if err := key.WriteFile(path); err != nil {
		return nil, about(err, "host's key "+path)
	}
	return &HostKey{key}, nil
}

// Recipient is its public part, to lend to. It is no secret.
func (k *HostKey) Recipient() string { return k.key.Recipient() }

// Format prints the public part of the key, whatever the verb.
func (k HostKey) Format(f fmt.State, verb rune) { k.key.Format(f, verb) }

// Lend gives the key of one sealed thing, of which sealed begins with the header, sealed
// to a recipient (HostKey.Recipient). Errors: as of Open; fleet.Invalid when the recipient
// is none.
func (k *FleetKey) Lend(sealed io.Reader, recipient string) ([]byte, error) {
	source := &sourceReader{r: sealed}
	header, err := age.ExtractHeader(source)
	if err != nil {
		return nil, openError(source, err)
	}
	key, err := age.DecryptHeader(header, k.identities...)
	if err != nil {
		return nil, openError(source, err)
	}
	var lent bytes.Buffer
	w, err := SealTo(recipient, &lent)
	if err == nil {
		_, err = w.Write(key)
	}
	if err == nil {
		err = w.Close()
	}
	return lent.Bytes(), err
}

// ObjectKey opens one sealed thing.
type ObjectKey struct{ identity age.Identity }

// Borrow gives the key that Lend sealed to this host. Errors: fleet.Denied when it was
// lent to another key; fleet.Lost when it is damaged.
func (k *HostKey) Borrow(lent []byte) (ObjectKey, error) {
	r, err := k.key.Open(bytes.NewReader(lent))
	if err != nil {
		return ObjectKey{}, about(err, "key of what is to be opened")
	}
	const size = 16 // of age's file keys
	key, err := io.ReadAll(io.LimitReader(r, size+1))
	if err == nil && len(key) != size {
		err = fleet.Errorf(fleet.Lost, "", "is none of age's")
	}
	if err != nil {
		return ObjectKey{}, about(err, "key of what is to be opened")
	}
	return ObjectKey{age.NewInjectedFileKeyIdentity(key)}, nil
}

// Open gives a reader of what was sealed into r, as FleetKey.Open does.
func (k ObjectKey) Open(r io.Reader) (io.Reader, error) { return openWith(r, k.identity) }

// Format prints nothing of the key, whatever the verb.
func (k ObjectKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("key of one object")) }
