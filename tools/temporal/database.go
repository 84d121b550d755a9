package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	sqliteschema "go.temporal.io/server/schema/sqlite"
)

// applicationID marks a SQLite file as ours, in the header field that SQLite has for it
// ("FLTL"), so that we never write tables into somebody else's database.
const applicationID = 0x464C544C

// database is the checked, locked file that holds all state.
type database struct {
	path string
	lock *os.File
}

// openDatabase locks the file against a second server, makes it when it is missing and
// checks that this server can use it. All complaints about the file come from here,
// because the server itself reports them as a chain of constructor errors.
func openDatabase(ctx context.Context, path string) (*database, error) {
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("database %s: its directory does not exist: make it, or choose another file with --db", path)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	db := &database{path: path, lock: lock}
	if err := db.prepare(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("database %s: %w", path, explain(err))
	}
	return db, nil
}

// Close gives the lock up. The server keeps its connection for as long as it lives.
func (d *database) Close() {
	_ = d.lock.Close()
}

// lockFile holds the lock for as long as the file stays open; the kernel gives it up
// for a process that dies.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, notWritable(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, errors.New("another flotilla-temporal is using it: end that one, or choose another file with --db")
	}
	return f, nil
}

// prepare brings a missing or empty file to the current schema in one transaction, so
// that a kill in the middle leaves an empty database and not half of one.
func (d *database) prepare(ctx context.Context) error {
	conn, err := sql.Open("sqlite", "file:"+d.escapedPath()+"?mode=rwc&_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()

	var id, version, tables int
	for pragma, target := range map[string]*int{
		"PRAGMA application_id":              &id,
		"PRAGMA user_version":                &version,
		"SELECT count(*) FROM sqlite_master": &tables,
	} {
		if err := conn.QueryRowContext(ctx, pragma).Scan(target); err != nil {
			return err
		}
	}
	want, err := schemaVersion()
	switch {
	case err != nil:
		return err
	case tables == 0:
		return createSchema(ctx, conn, want)
	case id != applicationID:
		return errors.New("it is a SQLite database of another program: choose another file with --db")
	case version != want:
		return fmt.Errorf("it has schema %d and this server needs %d, and there is no migration: move the file away to start empty", version, want)
	}
	// Touches the root pages of the busiest tables and proves that the file can be
	// written, both of which the server would otherwise find out half way up.
	var n int
	if err := conn.QueryRowContext(ctx,
		"SELECT (SELECT count(*) FROM namespaces) + (SELECT count(*) FROM shards)").Scan(&n); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "PRAGMA user_version = "+strconv.Itoa(want))
	return err
}

func createSchema(ctx context.Context, conn *sql.DB, version int) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := sqliteschema.SetupSchemaOnDB(schemaTx{ctx: ctx, tx: tx}); err != nil {
		return err
	}
	for _, pragma := range []string{
		"PRAGMA application_id = " + strconv.Itoa(applicationID),
		"PRAGMA user_version = " + strconv.Itoa(version),
	} {
		if _, err := tx.ExecContext(ctx, pragma); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// schemaTx is the part of an admin database that making a schema uses.
type schemaTx struct {
	sqlplugin.AdminDB
	ctx context.Context
	tx  *sql.Tx
}

func (s schemaTx) Exec(stmt string, args ...any) error {
	_, err := s.tx.ExecContext(s.ctx, stmt, args...)
	return err
}

// schemaVersion packs the server's two schema versions, "0.11" and "0.1", into the one
// number that SQLite keeps for an application: 110001.
func schemaVersion() (int, error) {
	packed := 0
	for _, v := range []string{sqliteschema.Version, sqliteschema.VisibilityVersion} {
		major, minor, ok := strings.Cut(v, ".")
		a, err1 := strconv.Atoi(major)
		b, err2 := strconv.Atoi(minor)
		if !ok || err1 != nil || err2 != nil {
			return 0, fmt.Errorf("the server's schema version %q is not major.minor", v)
		}
		packed = packed*10000 + a*100 + b
	}
	return packed, nil
}

func notWritable(err error) error {
	return fmt.Errorf("it cannot be written (%w): check its permissions, or choose another file with --db", err)
}

// explain turns what SQLite says into what a person can do.
func explain(err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "not a database"), strings.Contains(text, "malformed"),
		strings.Contains(text, "no such table"):
		return fmt.Errorf("it is damaged or no SQLite file (%w): move it away to start empty", err)
	case strings.Contains(text, "readonly"), strings.Contains(text, "unable to open"):
		return notWritable(err)
	}
	return err
}

// escapedPath is the path as SQLite's file: URIs want it.
func (d *database) escapedPath() string {
	return (&url.URL{Path: d.path}).EscapedPath()
}

// sqlConfig is how the server opens the same file.
func (d *database) sqlConfig() *config.SQL {
	return &config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: d.escapedPath(),
		ConnectAttributes: map[string]string{
			"mode":         "rwc",
			"journal_mode": "wal",
			// Syncs at checkpoints only: a killed process loses nothing, a power cut
			// the last moments. An fsync per commit would triple every latency.
			"synchronous":  "normal",
			"busy_timeout": "5000",
		},
	}
}
