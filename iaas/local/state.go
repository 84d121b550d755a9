package local

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// recordFormat is the layout of records. A record with another one was written
// by another release and is not guessed at.
const recordFormat = 1

// tombstoneAge is how long the record of what has ended is kept, so that its
// token is not good for another. Operations are retried for hours, not days.
const tombstoneAge = 24 * time.Hour

// hostRecord is all that is known of a host. Its state is where the host is or,
// while pending, stopping or terminating, where it was told to go: whoever reads
// that does what is left.
type hostRecord struct {
	Format int `json:"format"`
	fleet.Host
	Request iaas.LaunchHostRequest `json:"request"`
	// Changed is when the host was last told to change.
	Changed time.Time `json:"changed"`
	// Signalled says that init was asked to stop in this change.
	Signalled bool `json:"signalled,omitempty"`
	// Ended is when it was terminated.
	Ended time.Time `json:"ended,omitzero"`
}

// label names the host for errors and logs.
func (r hostRecord) label() string { return label("host", r.Name, r.ID) }

func (r hostRecord) check() (format int, id, state string) { return r.Format, r.ID, string(r.State) }

// diskRecord is all that is known of a disk. Attaching, detaching, creating and
// deleting are told and perhaps not done yet, as with a host.
type diskRecord struct {
	Format int `json:"format"`
	fleet.Disk
	Request iaas.CreateDiskRequest `json:"request"`
	// Ended is when it was deleted.
	Ended time.Time `json:"ended,omitzero"`
}

func (r diskRecord) label() string { return label("disk", r.Name, r.ID) }

func (r diskRecord) check() (format int, id, state string) { return r.Format, r.ID, string(r.State) }

// record is what all kinds have in common.
type record interface {
	label() string
	check() (format int, id, state string)
}

func label(kind, name, id string) string {
	if name == "" {
		return kind + " " + id
	}
	return fmt.Sprintf("%s %s (%s)", kind, name, id)
}

func (p *Provider) rootLock() string                { return filepath.Join(p.root, "lock") }
func (p *Provider) hostLock(id string) string       { return filepath.Join(p.root, "hosts", id+".lock") }
func (p *Provider) hostDir(id string) string        { return filepath.Join(p.root, "hosts", id) }
func (p *Provider) hostFS(id string) string         { return filepath.Join(p.hostDir(id), "fs") }
func (p *Provider) hostRecordPath(id string) string { return p.hostDir(id) + ".json" }
func (p *Provider) diskDir(id string) string        { return filepath.Join(p.root, "disks", id) }
func (p *Provider) diskRecordPath(id string) string { return p.diskDir(id) + ".json" }

// idOf derives an ID from a token, so that the same token always names the same
// resource, whoever asks and whatever they remember.
func idOf(prefix string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return prefix + hex.EncodeToString(sum[:8])
}

// HostID and DiskID give the ID of what is bought with a token, whether it was or not.
func (p *Provider) HostID(token string) string { return idOf(p.hostPrefix, "host", token) }

// DiskID is HostID of a disk.
func (p *Provider) DiskID(token string) string { return idOf(p.diskPrefix, "disk", token) }

// checkToken refuses a token that not every cloud would take.
func checkToken(resource, token string) error {
	if token == "" || len(token) > 64 {
		return fleet.Errorf(fleet.Invalid, resource, "its token has %d characters, not 1 to 64", len(token))
	}
	for _, c := range []byte(token) {
		if c <= ' ' || c > '~' {
			return fleet.Errorf(fleet.Invalid, resource, "its token %q has other than printable ASCII characters", token)
		}
	}
	return nil
}

// checkID refuses what cannot be an ID of ours, so that no path leaves the root.
func checkID(prefix, id string) bool {
	digits, ok := strings.CutPrefix(id, prefix)
	return ok && len(digits) == 16 && strings.Trim(digits, "0123456789abcdef") == ""
}

func (p *Provider) readHost(id string) (hostRecord, error) {
	return readOne[hostRecord]("host", p.hostPrefix, id, p.hostRecordPath)
}

func (p *Provider) readDisk(id string) (diskRecord, error) {
	return readOne[diskRecord]("disk", p.diskPrefix, id, p.diskRecordPath)
}

func (p *Provider) writeHost(r hostRecord) error { return writeRecord(p.hostRecordPath(r.ID), r) }

func (p *Provider) writeDisk(r diskRecord) error { return writeRecord(p.diskRecordPath(r.ID), r) }

// allHosts gives every host on record, the ended ones too, oldest first.
func (p *Provider) allHosts() ([]hostRecord, error) {
	all, err := readRecords(filepath.Join(p.root, "hosts"), p.readHost)
	oldestFirst(all, func(r hostRecord) (time.Time, string) { return r.Launched, r.ID })
	return all, err
}

// allDisks gives every disk on record, the deleted ones too, oldest first.
func (p *Provider) allDisks() ([]diskRecord, error) {
	all, err := readRecords(filepath.Join(p.root, "disks"), p.readDisk)
	oldestFirst(all, func(r diskRecord) (time.Time, string) { return r.Created, r.ID })
	return all, err
}

func oldestFirst[T record](all []T, of func(T) (made time.Time, id string)) {
	slices.SortFunc(all, func(a, b T) int {
		madeA, idA := of(a)
		madeB, idB := of(b)
		return cmp.Or(madeA.Compare(madeB), strings.Compare(idA, idB))
	})
}

// readOne reads the record of an ID. What cannot be one of ours does not exist.
func readOne[T record](kind, prefix, id string, path func(id string) string) (T, error) {
	if !checkID(prefix, id) {
		var none T
		return none, fleet.Errorf(fleet.NotFound, label(kind, "", id), "there is none")
	}
	return readRecord[T](path(id), label(kind, "", id))
}

func writeRecord[T record](path string, r T) error {
	if err := writeJSON(path, r); err != nil {
		return ioError(r.label(), "its state cannot be written", err)
	}
	return nil
}

func readRecords[T record](dir string, read func(id string) (T, error)) ([]T, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, ioError("local provider", "its state cannot be listed", err)
	}
	var all []T
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		r, err := read(id)
		if fleet.Is(err, fleet.NotFound) {
			continue // pruned since the listing, or a file that is not ours
		}
		if err != nil {
			return nil, err // a list without it would be a short list
		}
		all = append(all, r)
	}
	return all, nil
}

// readRecord reads one record. A record that is there and cannot be understood
// is never taken for one that is not there: that would buy a second one.
func readRecord[T record](path, resource string) (T, error) {
	var r T
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			// The root itself is gone, unmounted perhaps: that says nothing.
			return r, ioError(resource, "its state cannot be read", err)
		}
		return r, fleet.Errorf(fleet.NotFound, resource, "there is none")
	}
	if err != nil {
		return r, ioError(resource, "its state cannot be read", err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, corrupt(path, resource, err)
	}
	format, id, state := r.check()
	switch {
	case format != recordFormat:
		return r, corrupt(path, resource, fmt.Errorf("it has format %d, not %d", format, recordFormat))
	case id+".json" != filepath.Base(path) || state == "":
		return r, corrupt(path, resource, fmt.Errorf("it is of another resource, or in part"))
	}
	return r, nil
}

// corrupt is the error about a state file that only a person can repair.
func corrupt(path, resource string, err error) error {
	return fleet.Errorf(fleet.Denied, resource, "its state file %s is damaged (%w)", path, err).
		WithRemedy("restore the file from a backup, or move it out of the directory to give the resource up")
}

// writeJSON replaces a file so that it is the old one or the new one, whole,
// after any kind of death. Whoever calls holds the lock that guards the file.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(data, '\n'))
}

func writeFile(path string, data []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = bytes.NewReader(data).WriteTo(f)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// matches says whether a resource carries all of the wanted tags; an empty
// wanted value matches any.
func matches(have map[string]string, want iaas.Tags) bool {
	for k, v := range want {
		got, ok := have[k]
		if !ok || v != "" && got != v {
			return false
		}
	}
	return true
}

// tagged gives the tags of a resource with more of them; nil when it has them all.
func tagged(resource string, have map[string]string, more iaas.Tags) (map[string]string, error) {
	if _, ok := more[""]; ok {
		return nil, fleet.Errorf(fleet.Invalid, resource, "a tag needs a key")
	}
	all := maps.Clone(have)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, more)
	if maps.Equal(all, have) {
		return nil, nil
	}
	return all, nil
}

// bought gives the tags of a new resource: those asked for, and its token.
func bought(tags iaas.Tags, token string) map[string]string {
	all := map[string]string{fleet.TagToken: token}
	for k, v := range tags {
		all[k] = v
	}
	return all
}
