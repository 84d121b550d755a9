package node

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

// maxProgram is ten times a program of today, and keeps an archive that inflates
// without end from filling the disk.
const maxProgram = 512 * fleet.MiB

// unpack takes the programs, and nothing else, out of an archive. Where they go
// never depends on a name in the archive.
func (n *Node) unpack(archive, dir, resource string) (map[string]savedFile, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, onHost(resource, err)
	}
	defer f.Close()
	damaged := func(err error) error {
		return fleet.Errorf(fleet.Invalid, resource, "the archive is not a tar.gz, or is damaged: %w", err)
	}
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return nil, damaged(err)
	}
	files := map[string]savedFile{}
	archived := tar.NewReader(unzipped)
	for {
		header, err := archived.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, damaged(err)
		}
		name, err := programIn(header, resource)
		if err != nil {
			return nil, err
		}
		if name == "" {
			continue
		}
		if _, twice := files[name]; twice {
			return nil, fleet.Errorf(fleet.Invalid, resource, "the archive holds %s twice", name)
		}
		source := &remember{r: archived}
		hash := sha256.New()
		size, err := durable.WriteFrom(filepath.Join(dir, name), io.TeeReader(source, hash), 0o755)
		if source.err != nil {
			return nil, damaged(source.err)
		}
		if err != nil {
			return nil, n.spaceError(resource, fleet.Bytes(header.Size), err)
		}
		files[name] = savedFile{SHA256: hex.EncodeToString(hash.Sum(nil)), Size: fleet.Bytes(size)}
	}
	for _, p := range programs {
		if _, ok := files[p]; !ok {
			return nil, fleet.Errorf(fleet.Invalid, resource, "the archive holds no %s in its top folder", p)
		}
	}
	return files, nil
}

// programIn says which of the programs an entry is, if any. Archives with names
// that lead elsewhere, and programs that are not plain files, are refused.
func programIn(header *tar.Header, resource string) (string, error) {
	if path.IsAbs(header.Name) || slices.Contains(strings.Split(header.Name, "/"), "..") {
		return "", fleet.Errorf(fleet.Invalid, resource, "the archive names a place outside of itself: %q", header.Name)
	}
	dir, name := path.Split(path.Clean(header.Name))
	if !slices.Contains(programs, name) || strings.Count(dir, "/") > 1 {
		return "", nil
	}
	switch {
	case header.Typeflag == tar.TypeDir:
		return "", nil
	case header.Typeflag != tar.TypeReg:
		return "", fleet.Errorf(fleet.Invalid, resource, "%s in the archive is not a plain file", name)
	case header.Size > int64(maxProgram):
		return "", fleet.Errorf(fleet.Invalid, resource, "%s in the archive has %s; programs have less than %s",
			name, fleet.Bytes(header.Size).Human(), maxProgram)
	}
	return name, nil
}

// remember keeps the error of its reader, to tell a damaged archive from a disk
// that cannot be written.
type remember struct {
	r   io.Reader
	err error
}

func (m *remember) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		m.err = err
	}
	return n, err
}
