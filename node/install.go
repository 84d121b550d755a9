package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

// programs are what a release of etcd holds for us.
var programs = []string{"etcd", "etcdctl", "etcdutl"}

const (
	manifestFile = "manifest.json"
	// workPrefix begins the names of directories that hold no release yet, or none
	// any more. Whoever has the host's lock may delete them.
	workPrefix = ".work-"
	// tryTimeout is how long a program of a release may take to say its version:
	// long enough for a cold disk.
	tryTimeout = 20 * time.Second
)

// manifest says what a release's directory holds, to see later whether it is whole.
type manifest struct {
	Version string               `json:"version"`
	SHA256  string               `json:"sha256"` // of the archive
	Files   map[string]savedFile `json:"files"`
}

type savedFile struct {
	SHA256 string      `json:"sha256"`
	Size   fleet.Bytes `json:"size"`
}

func (n *Node) releasesDir() string              { return n.path("opt/flotilla/etcd") }
func (n *Node) releaseDir(version string) string { return filepath.Join(n.releasesDir(), version) }
func (n *Node) program(version, p string) string { return filepath.Join(n.releaseDir(version), p) }
func releaseResource(version string) string      { return "etcd " + version }

// Install fetches a release of etcd and makes it ready to be run. One that is
// there and whole is left alone; one that is damaged is replaced. Nothing is
// unpacked before the archive's hash is right, and nothing stays behind when the
// work fails. Errors: fleet.Invalid for a wrong hash, or an archive that is none
// or does not run here; fleet.NotFound and fleet.Denied as the source says;
// fleet.Denied when the host's disk is full; fleet.Unavailable when the source
// does not answer or breaks off.
func (n *Node) Install(ctx context.Context, req InstallRequest) (*InstallResult, error) {
	resource := releaseResource(req.Version)
	if !releaseVersion.MatchString(req.Version) {
		return nil, fleet.Errorf(fleet.Invalid, "release", "%q is not a version of etcd, as in 3.7.3", req.Version)
	}
	want, err := hex.DecodeString(req.SHA256)
	if err != nil || len(want) != sha256.Size {
		return nil, fleet.Errorf(fleet.Invalid, resource, "%q is not a SHA-256 hash (64 hexadecimal digits)", req.SHA256)
	}
	req.SHA256 = hex.EncodeToString(want)
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()

	if err := n.sweepWork(); err != nil {
		return nil, onHost(resource, err)
	}
	if m, err := n.readManifest(req.Version); err == nil && m.SHA256 == req.SHA256 && whole(n.releaseDir(req.Version), m) == nil {
		return &InstallResult{Version: req.Version}, nil
	}
	work, err := n.makeWork()
	if err != nil {
		return nil, n.spaceError(resource, 0, err)
	}
	defer os.RemoveAll(work)
	if err := n.stock(ctx, req, work); err != nil {
		return nil, err
	}
	if err := n.putInPlace(work, req.Version); err != nil {
		return nil, n.spaceError(resource, 0, err)
	}
	return &InstallResult{Version: req.Version, Installed: true}, nil
}

func (n *Node) makeWork() (string, error) {
	if err := os.MkdirAll(n.releasesDir(), 0o755); err != nil {
		return "", err
	}
	return os.MkdirTemp(n.releasesDir(), workPrefix)
}

// sweepWork deletes what killed verbs left.
func (n *Node) sweepWork() error {
	left, err := filepath.Glob(filepath.Join(n.releasesDir(), workPrefix+"*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// fetchAndUnpack leaves the release, checked, in work/release.
func (n *Node) fetchAndUnpack(ctx context.Context, req InstallRequest, work string) error {
	resource := releaseResource(req.Version)
	archive := filepath.Join(work, "archive")
	got, err := n.fetch(ctx, req.URL, resource, archive)
	if err != nil {
		return err
	}
	if got != req.SHA256 {
		return fleet.Errorf(fleet.Invalid, resource, "the archive at %s has the SHA-256 %s, expected was %s", plainURL(req.URL), got, req.SHA256).
			WithRemedy("correct the release's hash or its source")
	}
	release := filepath.Join(work, "release")
	if err := os.Mkdir(release, 0o755); err != nil {
		return n.spaceError(resource, 0, err)
	}
	files, err := n.unpack(archive, release, resource)
	if err != nil {
		return err
	}
	if err := tryOut(ctx, filepath.Join(release, "etcd"), req.Version); err != nil {
		return err
	}
	m := manifest{Version: req.Version, SHA256: req.SHA256, Files: files}
	if err := durable.WriteJSON(filepath.Join(release, manifestFile), m, 0o644); err != nil {
		return n.spaceError(resource, 0, err)
	}
	return nil
}

// tryOut runs the program once: an archive for another platform, or of another
// version than its name says, is noticed here and not when a member must start.
func tryOut(ctx context.Context, program, version string) error {
	resource := releaseResource(version)
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Env = []string{} // etcd refuses to run with some ETCD_* variables
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return fleet.Errorf(fleet.Unavailable, resource, "the program did not say its version in time: %w", ctx.Err())
	}
	if err != nil {
		return fleet.Errorf(fleet.Invalid, resource, "the program does not run on this host (%s): %s", Platform(), withoutPath(err)).
			WithRemedy("give the release for this platform")
	}
	line, _, _ := strings.Cut(string(out), "\n")
	if got := strings.TrimSpace(strings.TrimPrefix(line, "etcd Version:")); got != version {
		return fleet.Errorf(fleet.Invalid, resource, "the archive holds version %q", shorten(got)).
			WithRemedy("correct the release's version or its source")
	}
	return nil
}

// withoutPath leaves out the temporary place that a path error names.
func withoutPath(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// putInPlace gives the release its final name. A damaged one is moved out of the
// way first; a member that runs from it keeps its files open and goes on.
func (n *Node) putInPlace(work, version string) error {
	release, final := filepath.Join(work, "release"), n.releaseDir(version)
	if err := durable.SyncDir(release); err != nil {
		return err
	}
	if err := os.Rename(final, filepath.Join(work, "replaced")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.Rename(release, final)
}

func readManifest(dir string) (manifest, error) {
	var m manifest
	err := durable.ReadJSON(filepath.Join(dir, manifestFile), &m)
	return m, err
}

func (n *Node) readManifest(version string) (manifest, error) {
	m, err := readManifest(n.releaseDir(version))
	if err == nil && m.Version != version {
		err = fmt.Errorf("it is of version %q", m.Version)
	}
	return m, err
}

// whole reads the files of a release's directory and compares them with its manifest.
func whole(dir string, m manifest) error {
	for _, p := range programs {
		f, err := os.Open(filepath.Join(dir, p))
		if err != nil {
			return err
		}
		hash := sha256.New()
		_, err = io.Copy(hash, f)
		info, statErr := f.Stat()
		if err := errors.Join(err, statErr, f.Close()); err != nil {
			return err
		}
		if got := hex.EncodeToString(hash.Sum(nil)); got != m.Files[p].SHA256 || info.Mode().Perm()&0o100 == 0 {
			return fmt.Errorf("%s is damaged", p)
		}
	}
	return nil
}

// checkInstalled says quickly whether a release is there.
func (n *Node) checkInstalled(version string) error {
	m, err := n.readManifest(version)
	if err == nil {
		var info os.FileInfo
		if info, err = os.Stat(n.program(version, "etcd")); err == nil && fleet.Bytes(info.Size()) != m.Files["etcd"].Size {
			err = errors.New("the program has the wrong size")
		}
	}
	if err != nil {
		return fleet.Errorf(fleet.Conflict, releaseResource(version), "it is not installed on this host, or damaged").
			WithRemedy("install it first")
	}
	return nil
}

// releases gives the versions that are installed, in no order of age.
func (n *Node) releases() []string {
	entries, err := os.ReadDir(n.releasesDir())
	if err != nil {
		return nil
	}
	var versions []string
	for _, e := range entries {
		if releaseVersion.MatchString(e.Name()) && n.checkInstalled(e.Name()) == nil {
			versions = append(versions, e.Name())
		}
	}
	slices.Sort(versions)
	return versions
}
