package service

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

// What the supervisor puts into the environment of what it starts, to know it
// again: the service by a name that is unique on the machine, and the generation
// of the desired state that it was started for.
const (
	markerVariable     = "FLOTILLA_SERVICE"
	generationVariable = "FLOTILLA_GENERATION"
)

// files are the places that the verbs and the supervisor meet at, below a root.
// The desired state lies under /var/lib, because /run is empty after a reboot.
type files struct{ root string }

func (f files) desiredDir() string { return filepath.Join(f.root, "var/lib/flotilla/services") }
func (f files) statusDir() string  { return filepath.Join(f.root, "run/services") }
func (f files) logDir() string     { return filepath.Join(f.root, "var/log/flotilla") }
func (f files) lock() string       { return filepath.Join(f.root, "run/init.lock") }
func (f files) pid() string        { return filepath.Join(f.root, "run/init.pid") }
func (f files) hostID() string     { return filepath.Join(f.root, "var/lib/flotilla/host-id") }

const desiredSuffix = ".json"

func (f files) desired(name string) string { return filepath.Join(f.desiredDir(), name+desiredSuffix) }
func (f files) status(name string) string  { return filepath.Join(f.statusDir(), name+".status") }
func (f files) log(name string) string     { return filepath.Join(f.logDir(), name+".log") }

// make makes the directories.
func (f files) make() error {
	return errors.Join(
		os.MkdirAll(f.desiredDir(), 0o755),
		os.MkdirAll(f.statusDir(), 0o755),
		os.MkdirAll(f.logDir(), 0o755),
	)
}

// desired is what a verb wants of the supervisor. Only verbs write it.
type desired struct {
	Service
	Run bool `json:"run"`
	// Generation grows with each wish; a process of another generation is ended.
	Generation int64 `json:"generation"`
	// Since is the generation from which on processes run as installed now.
	Since int64 `json:"since"`
}

// record is how a service stands. The supervisor writes it.
type record struct {
	PID        int       `json:"pid,omitempty"`
	Identity   identity  `json:"identity,omitempty"`
	Started    time.Time `json:"started,omitzero"`
	Generation int64     `json:"generation"`
	Restarts   int       `json:"restarts"`
	LastExit   string    `json:"lastExit,omitempty"`
	LastOutput string    `json:"lastOutput,omitempty"`
	NextStart  time.Time `json:"nextStart,omitzero"`
}

func (f files) readDesired(name string) (d desired, found bool, err error) {
	err = durable.ReadJSON(f.desired(name), &d)
	if errors.Is(err, fs.ErrNotExist) {
		return desired{}, false, nil
	}
	return d, err == nil, err
}

// readRecord gives the zero record when there is none, or none that can be read:
// it is a cache of what can be found out.
func (f files) readRecord(name string) record {
	var r record
	if durable.ReadJSON(f.status(name), &r) != nil {
		return record{}
	}
	return r
}

// marker gives the name of a service that is unique on the machine: several
// roots, and containers with a root of their own, see each other's processes.
// It is empty while no supervisor ever ran below this root.
func (f files) marker(name string) (string, error) {
	id, err := os.ReadFile(f.hostID())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(id)) + "/" + name, err
}

// makeHostID gives the root a name of its own, once. Only the supervisor does,
// under its lock.
func (f files) makeHostID() error {
	if _, err := os.Stat(f.hostID()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	return durable.WriteFile(f.hostID(), []byte(hex.EncodeToString(id)+"\n"), 0o644)
}

// find gives the live process of a service: the recorded one, or else, where the
// platform shows environments, the one that carries its marker.
func (f files) find(name string) (rec record, found bool, err error) {
	rec = f.readRecord(name)
	if alive(rec.PID, rec.Identity) {
		return rec, true, nil
	}
	marker, err := f.marker(name)
	if err != nil || marker == "" {
		return rec, false, err
	}
	pid, generation, ok := findMarked(marker)
	if !ok {
		return rec, false, nil
	}
	id, err := processIdentity(pid)
	if err != nil {
		return rec, false, nil //nolint:nilerr // it ended just now
	}
	rec.PID, rec.Identity, rec.Generation, rec.Started = pid, id, generation, time.Now()
	return rec, true, nil
}

// tail gives the end of a file from offset on, at most limit bytes. Offset is
// ignored when the file was cut since.
func tail(path string, offset int64, limit int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	if offset > info.Size() {
		offset = 0
	}
	text, err := io.ReadAll(io.NewSectionReader(f, max(offset, info.Size()-limit), limit))
	if err != nil {
		return ""
	}
	return string(text)
}
