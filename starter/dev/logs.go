package dev

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// follow is how often a followed log is looked at.
const follow = 200 * time.Millisecond

// Log gives the path of a service's log.
func Log(dataDir, service string) string { return filepath.Join(dataDir, "logs", service+".log") }

// Logs names the logs that there are, the environment's own first.
func Logs(dataDir string) []string {
	var names []string
	for _, name := range []string{"dev", "worker", "temporal", "s3"} {
		if _, err := os.Stat(Log(dataDir, name)); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// CopyLog writes the last lines of a log, and with following what is added to it
// until ctx ends.
func CopyLog(ctx context.Context, w io.Writer, dataDir, service string, lines int, following bool) error {
	path := Log(dataDir, service)
	if _, err := os.Stat(path); err != nil {
		return fleet.Errorf(fleet.NotFound, "log of "+service, "there is none: %w", err).
			WithRemedy("there are logs of: %s", strings.Join(Logs(dataDir), ", "))
	}
	at := size(path)
	if text := tail(path, lines); text != "" {
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
	}
	for following {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(follow):
		}
		now := size(path)
		if now < at {
			at = 0 // a new log has begun
		}
		if now == at {
			continue
		}
		n, err := copyFrom(w, path, at)
		if err != nil {
			return err
		}
		at += n
	}
	return nil
}

func copyFrom(w io.Writer, path string, at int64) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return 0, err
	}
	return io.Copy(w, f)
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// says looks for a text in what a log got since it was from bytes long.
func says(path string, from int64, text string) error {
	if size(path) < from {
		from = 0 // a new log has begun
	}
	var b bytes.Buffer
	if _, err := copyFrom(&b, path, from); err != nil {
		return err
	}
	if !strings.Contains(b.String(), text) {
		return fmt.Errorf("it has not said %q yet", text)
	}
	return nil
}

func quoted(lines string) string {
	if lines == "" {
		return ""
	}
	return "; it said last:\n    " + strings.ReplaceAll(lines, "\n", "\n    ") + "\n"
}

// tail gives the last lines of a file.
func tail(path string, lines int) string {
	const most = 64 << 10
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return fmt.Sprintf("(%s cannot be read: %v)", path, err)
	}
	all := bytes.Split(bytes.TrimRight(data, "\n"), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}
