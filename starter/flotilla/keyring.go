package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// The files of a keyring.
const (
	caFile      = "ca.pem"
	certFile    = "client.pem"
	keyFile     = "client-key.pem"
	keyringFile = "keyring.json"
)

// spare is how much life a certificate must have left to be handed out again.
const spare = 10 * time.Minute

// keyring is a client's key and certificate for one cluster, in a directory that
// only the user can read.
type keyring struct {
	Dir       string    `json:"-"`
	Cluster   string    `json:"cluster"`
	UID       string    `json:"uid"`
	Name      string    `json:"name"`
	Issued    time.Time `json:"issued"`
	Expires   time.Time `json:"expires"`
	Endpoints []string  `json:"endpoints"`
}

func (k keyring) path(file string) string { return filepath.Join(k.Dir, file) }

// usable says whether the files are whole and good for a while longer.
func (k keyring) usable(now time.Time) bool {
	left, life := k.Expires.Sub(now), k.Expires.Sub(k.Issued)
	if left < min(spare, life/2) {
		return false
	}
	if _, err := os.Stat(k.path(caFile)); err != nil {
		return false
	}
	_, err := tls.LoadX509KeyPair(k.path(certFile), k.path(keyFile))
	return err == nil
}

func readKeyring(dir string) (keyring, bool) {
	data, err := os.ReadFile(filepath.Join(dir, keyringFile))
	if err != nil {
		return keyring{}, false
	}
	var k keyring
	if json.Unmarshal(data, &k) != nil {
		return keyring{}, false
	}
	k.Dir = dir
	return k, true
}

// write puts the files down, the record last: a keyring without one is made again.
func (k keyring) write(ca, certificate, key []byte) error {
	record, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(k.Dir, 0o700); err != nil {
		return cannotKeep(k.Dir, err)
	}
	_ = os.Remove(k.path(keyringFile))
	for _, file := range []struct {
		name string
		data []byte
	}{{caFile, ca}, {keyFile, key}, {certFile, certificate}, {keyringFile, append(record, '\n')}} {
		if err := writePrivate(k.path(file.name), file.data); err != nil {
			return cannotKeep(k.path(file.name), err)
		}
	}
	return nil
}

func cannotKeep(path string, err error) error {
	return fleet.Errorf(fleet.Denied, path, "the client's key cannot be kept here: %w", err).WithRemedy("name another directory with --dir")
}

// writePrivate replaces a file by one that only its owner can read (0600), at once.
func writePrivate(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600 from the start
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // no effect once it is renamed
	_, err = bytes.NewReader(data).WriteTo(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
