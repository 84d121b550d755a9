package pki

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"github.com/flotilla-etcd/flotilla/fleet"
)

const fleetKeyResource = "fleet key"

// FleetKey seals what must be kept secret at rest, and opens it again. It is one
// or more age identities: it seals to the first and opens with any, so that a
// key is rotated by putting a new one in front of it. It prints as its public
// part only.
type FleetKey struct {
	identities []age.Identity // pointers inside: fmt does not follow those
	recipient  age.Recipient  // of the first
}

// GenerateFleetKey makes a new key: age's hybrid of X25519 and ML-KEM-768, which
// age recommends, because what it seals lies in object stores for years.
func GenerateFleetKey() (*FleetKey, error) {
	identity, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, fleet.Errorf(fleet.Unavailable, fleetKeyResource, "could not be made: %w", err)
	}
	return &FleetKey{identities: []age.Identity{identity}, recipient: identity.Recipient()}, nil
}

// LoadFleetKey reads a standard age identity file, as WriteFile and age-keygen
// write it. Errors: fleet.NotFound when there is none; fleet.Denied when it
// cannot be read, or when others than its owner can; fleet.Invalid when it holds
// no identities, or others than X25519 and hybrid ones.
func LoadFleetKey(path string) (*FleetKey, error) {
	resource := fleetKeyResource + " " + path
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fleet.Errorf(fleet.NotFound, resource, "the file does not exist: %w", fs.ErrNotExist)
	case err != nil:
		return nil, fleet.Errorf(fleet.Denied, resource, "the file cannot be opened: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fleet.Errorf(fleet.Denied, resource, "the file cannot be looked at: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fleet.Errorf(fleet.Denied, resource, "others than its owner may use the file (mode %#o)", mode).
			WithRemedy("run: chmod 600 %s; if others could have read it, make a new key", path)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, fleet.Errorf(fleet.Denied, resource, "the file cannot be read: %w", err)
	}
	return parseFleetKey(resource, text)
}

func parseFleetKey(resource string, text []byte) (*FleetKey, error) {
	// The parser's own error is left out: it quotes what it could not read.
	identities, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil || len(identities) == 0 {
		return nil, fleet.Errorf(fleet.Invalid, resource, "the file is not a list of age identities").
			WithRemedy("each line must be an AGE-SECRET-KEY-… or begin with #")
	}
	k := &FleetKey{identities: identities}
	switch first := identities[0].(type) {
	case *age.HybridIdentity:
		k.recipient = first.Recipient()
	case *age.X25519Identity:
		k.recipient = first.Recipient()
	default:
		return nil, fleet.Errorf(fleet.Invalid, resource, "the first identity is of a kind that cannot be sealed to")
	}
	return k, nil
}

// WriteFile writes the key as an age identity file that only its owner can read
// (0600), and never over another file. Errors: fleet.Conflict when path exists;
// fleet.Denied when it cannot be written.
func (k *FleetKey) WriteFile(path string) (err error) {
	resource := fleetKeyResource + " " + path
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fleet.Errorf(fleet.Conflict, resource, "the file exists and is not overwritten: what was sealed with it would be lost: %w", fs.ErrExist)
	case err != nil:
		return fleet.Errorf(fleet.Denied, resource, "the file cannot be written: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path) // ours, and incomplete
		}
	}()
	var text strings.Builder
	fmt.Fprintf(&text, "# public key: %s\n", k.Recipient())
	for _, identity := range k.identities {
		s, ok := identity.(fmt.Stringer)
		if !ok {
			_ = f.Close()
			return fleet.Errorf(fleet.Invalid, resource, "an identity cannot be written as text")
		}
		text.WriteString(s.String() + "\n")
	}
	_, err = io.WriteString(f, text.String())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fleet.Errorf(fleet.Denied, resource, "the file cannot be written: %w", err)
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync() // a key that a power cut takes away seals for nobody
		_ = dir.Close()
	}
	return nil
}

// Recipient gives what SealTo seals to: the public part of the first identity,
// as age writes it ("age1…"). It is no secret.
func (k *FleetKey) Recipient() string { return fmt.Sprint(k.recipient) }

// Seal gives a writer that seals what is written to it into w. Nothing is whole
// before its Close, which does not close w.
func (k *FleetKey) Seal(w io.Writer) (io.WriteCloser, error) { return sealInto(w, k.recipient) }

// SealTo is Seal for who has no fleet key, but was told its Recipient. Errors:
// fleet.Invalid for another text than that.
func SealTo(recipient string, w io.Writer) (io.WriteCloser, error) {
	// The text is not repeated: somebody may have taken the secret part for it.
	parsed, err := age.ParseRecipients(strings.NewReader(recipient))
	if err != nil || len(parsed) != 1 {
		return nil, fleet.Errorf(fleet.Invalid, "recipient of sealed data", "is not the public part of a fleet key").
			WithRemedy("ask the fleet for it; it begins with age1")
	}
	return sealInto(w, parsed[0])
}

func sealInto(w io.Writer, recipient age.Recipient) (io.WriteCloser, error) {
	sealed, err := age.Encrypt(w, recipient)
	if err != nil {
		return nil, fleet.Errorf(fleet.Unavailable, fleetKeyResource, "nothing could be sealed: %w", err)
	}
	return sealed, nil
}

// Open gives a reader of what was sealed into r. Nothing it gives may be used
// before its io.EOF: what was cut short is noticed only there. Errors, also of
// the reader: fleet.Denied when it was sealed with a key that is not among
// these; fleet.Lost when it is damaged; r's own errors as they are.
func (k *FleetKey) Open(r io.Reader) (io.Reader, error) { return openWith(r, k.identities...) }

func openWith(r io.Reader, identities ...age.Identity) (io.Reader, error) {
	source := &sourceReader{r: r}
	opened, err := age.Decrypt(source, identities...)
	if err != nil {
		return nil, openError(source, err)
	}
	return &openReader{source: source, opened: opened}, nil
}

// sourceReader remembers the error of its reader, to tell a failing source from
// damaged bytes.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

type openReader struct {
	source *sourceReader
	opened io.Reader
}

func (o *openReader) Read(p []byte) (int, error) {
	n, err := o.opened.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's contract: io.EOF itself
		err = openError(o.source, err)
	}
	return n, err
}

func openError(source *sourceReader, err error) error {
	var noMatch *age.NoIdentityMatchError
	switch {
	case source.err != nil:
		return source.err
	case errors.As(err, &noMatch):
		return fleet.Errorf(fleet.Denied, "sealed data", "was sealed with another fleet key").
			WithRemedy("add the key it was sealed with to the fleet key's file")
	default:
		return fleet.Errorf(fleet.Lost, "sealed data", "is damaged or incomplete, or was never sealed").
			WithRemedy("restore it from a copy")
	}
}

// about says what an error of Open was about.
func about(err error, resource string) error {
	var e *fleet.Error
	if !errors.As(err, &e) {
		return err
	}
	c := *e
	c.Resource = resource
	return &c
}

// Format prints the public part of the key, whatever the verb.
func (k FleetKey) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%s %s", fleetKeyResource, k.Recipient())
}
