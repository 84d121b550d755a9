package etcdtest

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"go.yaml.in/yaml/v3"
)

// remedy is what to do when a release is not there.
const remedy = "run make toolbox, which builds them from source"

// catalogue is the part of a list of releases that is needed here.
type catalogue struct {
	Releases []struct {
		Version   string `yaml:"version"`
		Artifacts map[string]struct {
			URL    string `yaml:"url"`
			SHA256 string `yaml:"sha256"`
		} `yaml:"artifacts"`
	} `yaml:"releases"`
}

// Binary gives the path of etcd of a release, from bin/releases.yaml at the top
// of the repository, or from the directory that FLOTILLA_BIN names. It is
// unpacked once, into the user's cache.
func Binary(version string) (string, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	bin, err := binDirectory()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(bin, "releases.yaml"))
	if err != nil {
		return "", fmt.Errorf("this test needs etcd %s, and bin/releases.yaml cannot be read; %s: %w", version, remedy, err)
	}
	var c catalogue
	if err := yaml.Unmarshal(text, &c); err != nil {
		return "", fmt.Errorf("bin/releases.yaml cannot be understood; %s: %w", remedy, err)
	}
	for _, r := range c.Releases {
		if a, ok := r.Artifacts[platform]; ok && r.Version == version {
			u, err := url.Parse(a.URL)
			if err != nil || u.Scheme != "file" {
				return "", fmt.Errorf("etcd %s is not a file of this machine in bin/releases.yaml; %s", version, remedy)
			}
			return unpack(u.Path, a.SHA256, version)
		}
	}
	return "", fmt.Errorf("this test needs etcd %s for %s, which bin/releases.yaml does not have; %s", version, platform, remedy)
}

// binDirectory looks for bin beside the go.mod of the whole repository, from
// the directory of the package under test upwards.
func binDirectory() (string, error) {
	if dir := os.Getenv("FLOTILLA_BIN"); dir != "" {
		return dir, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "tools", "etcd-3.7", "go.mod")); err == nil {
			return filepath.Join(dir, "bin"), nil
		}
	}
	return "", errors.New("the tests of etcd run inside the repository, and this is outside; or name its bin directory by FLOTILLA_BIN")
}

// unpack gives etcd out of an archive whose checksum is right. What was unpacked
// before is known by that checksum.
func unpack(archive, sum, version string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	if len(sum) != 2*sha256.Size {
		return "", fmt.Errorf("etcd %s has no SHA-256 in bin/releases.yaml; %s", version, remedy)
	}
	dir := filepath.Join(cache, "flotilla", "etcdtest")
	target := filepath.Join(dir, "etcd-"+version+"-"+sum[:16])
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	temp, err := os.CreateTemp(dir, ".unpacking-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // gone already after the rename
	err = errors.Join(extract(archive, sum, temp), temp.Chmod(0o700), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), target) // several tests may do this at once
	}
	if err != nil {
		return "", fmt.Errorf("etcd %s cannot be unpacked from %s; %s: %w", version, archive, remedy, err)
	}
	return target, nil
}

func extract(archive, sum string, to io.Writer) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	hash := sha256.New()
	both := io.TeeReader(f, hash)
	z, err := gzip.NewReader(both)
	if err != nil {
		return err
	}
	found := false
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if path.Base(h.Name) == "etcd" && h.Typeflag == tar.TypeReg {
			found = true
			if _, err := io.Copy(to, r); err != nil {
				return err
			}
		}
	}
	if _, err := io.Copy(io.Discard, both); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != sum {
		return fmt.Errorf("its SHA-256 is %s and should be %s", got, sum)
	}
	if !found {
		return errors.New("there is no file etcd in it")
	}
	return nil
}
