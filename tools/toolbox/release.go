package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// releaseTime stands in every tarball instead of the build's, so that one build packs
// to one checksum. It is late enough for tar not to warn about it.
var releaseTime = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// releaseName is how etcd names its release archives and the folder in them.
func releaseName(version string, p platform) string {
	return fmt.Sprintf("etcd-v%s-%s-%s", version, p.os, p.arch)
}

// packRelease writes a tarball laid out like an official etcd release, and its checksum
// beside it in the form of sha256sum.
func packRelease(path, folder, bin string, names []string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	sum := sha256.New()
	if err := writeTarball(io.MultiWriter(out, sum), folder, bin, names); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	line := hex.EncodeToString(sum.Sum(nil)) + "  " + filepath.Base(path) + "\n"
	return os.WriteFile(path+".sha256", []byte(line), 0o644)
}

// writeTarball depends on nothing but the content of the files: no times, no owners, and
// the order that it is given.
func writeTarball(w io.Writer, folder, bin string, names []string) error {
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	header := tar.Header{Name: folder + "/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: releaseTime}
	if err := archive.WriteHeader(&header); err != nil {
		return err
	}
	for _, name := range names {
		if err := addFile(archive, folder+"/"+name, filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return zipped.Close()
}

func addFile(archive *tar.Writer, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header := tar.Header{
		Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: info.Size(), ModTime: releaseTime,
	}
	if err := archive.WriteHeader(&header); err != nil {
		return err
	}
	_, err = io.Copy(archive, f)
	return err
}

// readChecksum reads what packRelease wrote.
func readChecksum(tarball string) (string, error) {
	line, err := os.ReadFile(tarball + ".sha256")
	if err != nil {
		return "", err
	}
	sum, _, _ := strings.Cut(string(line), " ")
	if len(sum) != hex.EncodedLen(sha256.Size) {
		return "", fmt.Errorf("%s.sha256 holds no checksum", tarball)
	}
	return sum, nil
}
