package objectstoretest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"
)

// Server is a versitygw on a loopback address with credentials of its own.
type Server struct {
	Address   string // host:port, plain HTTP
	AccessKey string
	SecretKey string
	Root      string // the directory underneath: a bucket is a directory in it

	versions string // the directory of versions; empty: buckets have none
	process  *exec.Cmd
	exited   chan struct{}
	output   bytes.Buffer
}

// startTimeout is long because many tests may start at once on a small machine;
// the server itself answers within a second.
const startTimeout = 30 * time.Second

// Start runs an S3 server until the test ends. It skips the test with -short; when
// the program is not there it fails it, because a skip looks like a success.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, "")
}

// StartVersioned runs one whose buckets with object lock have versions, as Amazon's have.
func StartVersioned(t testing.TB) *Server {
	t.Helper()
	return start(t, t.TempDir())
}

func start(t testing.TB, versions string) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts real processes")
	}
	program, err := findServer()
	require.NoError(t, err)
	s := &Server{AccessKey: "test" + rand.Text(), SecretKey: rand.Text(), Root: t.TempDir(), versions: versions, exited: make(chan struct{})}
	// Nobody can be asked to keep a port free between looking and listening, so
	// a server that did not come up is started at another.
	for range 5 {
		if err = s.startAnywhere(program); err == nil {
			t.Cleanup(s.Stop)
			return s
		}
	}
	require.NoError(t, err, "versitygw did not start; it wrote:\n%s", s.output.String())
	return nil
}

// Restart runs the server again that Stop has ended, over the same objects and at the same
// address.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	program, err := findServer()
	require.NoError(t, err)
	require.NoError(t, s.start(program), "versitygw did not start; it wrote:\n%s", s.output.String())
}

// startAnywhere runs the server once, at a port that is free.
func (s *Server) startAnywhere(program string) error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.Address = l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	return s.start(program)
}

// start runs the server, and waits until it answers.
func (s *Server) start(program string) error {
	args := []string{"--port", s.Address, "--health", "/health", "--quiet", "posix"}
	if s.versions != "" {
		args = append(args, "--versioning-dir", s.versions)
	}
	s.process = exec.CommandContext(context.Background(), program, append(args, s.Root)...)
	s.process.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	s.process.Stdout, s.process.Stderr = &s.output, &s.output
	endWithParent(s.process)
	if err := s.process.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	s.exited = exited
	go func() { _ = s.process.Wait(); close(exited) }()
	return s.await()
}

func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Address+"/health", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.exited:
			return fmt.Errorf("versitygw ended by itself")
		case <-ctx.Done():
			s.Stop()
			return fmt.Errorf("versitygw did not answer at %s within %s", s.Address, startTimeout)
		case <-tick.C:
		}
	}
}

// Stop ends the server at once. A second time it does nothing.
func (s *Server) Stop() {
	_ = s.process.Process.Kill()
	<-s.exited
}

// Setenv puts the server's credentials where objectstore.Open looks for them.
func (s *Server) Setenv(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", s.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s.SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", "")
}

// Bucket makes a bucket, which may be there already.
func (s *Server) Bucket(t testing.TB, name string) {
	t.Helper()
	client, err := s.client()
	require.NoError(t, err)
	exists, err := client.BucketExists(t.Context(), name)
	require.NoError(t, err)
	if !exists {
		require.NoError(t, client.MakeBucket(t.Context(), name, minio.MakeBucketOptions{}))
	}
}

// LockableBucket makes a bucket with object lock.
func (s *Server) LockableBucket(t testing.TB, name string) {
	t.Helper()
	client, err := s.client()
	require.NoError(t, err)
	require.NoError(t, client.MakeBucket(t.Context(), name, minio.MakeBucketOptions{ObjectLocking: true}))
}

// Versions gives the IDs of the versions of an object, without those that hide it.
func (s *Server) Versions(t testing.TB, bucket, key string) (ids []string) {
	t.Helper()
	client, err := s.client()
	require.NoError(t, err)
	for o := range client.ListObjects(t.Context(), bucket, minio.ListObjectsOptions{Prefix: key, WithVersions: true, Recursive: true}) {
		require.NoError(t, o.Err)
		if o.Key == key && !o.IsDeleteMarker {
			ids = append(ids, o.VersionID)
		}
	}
	return ids
}

// DeleteVersion deletes one version of an object for good.
func (s *Server) DeleteVersion(t testing.TB, bucket, key, version string) error {
	t.Helper()
	client, err := s.client()
	require.NoError(t, err)
	return client.RemoveObject(t.Context(), bucket, key, minio.RemoveObjectOptions{VersionID: version})
}

// LeaveUpload begins an object as a process does that is killed before its end.
func (s *Server) LeaveUpload(t testing.TB, bucket, key string) {
	t.Helper()
	client, err := s.client()
	require.NoError(t, err)
	core := minio.Core{Client: client}
	id, err := core.NewMultipartUpload(t.Context(), bucket, key, minio.PutObjectOptions{})
	require.NoError(t, err)
	_, err = core.PutObjectPart(t.Context(), bucket, key, id, 1, bytes.NewReader([]byte("part")), 4, minio.PutObjectPartOptions{})
	require.NoError(t, err)
}

// Uploads gives the keys of the multipart uploads that were neither finished
// nor aborted.
func (s *Server) Uploads(t testing.TB, bucket string) (keys []string) {
	t.Helper()
	client, err := s.client()
	require.NoError(t, err)
	// Not the test's context: this is asked in cleanups, where that has ended.
	for upload := range client.ListIncompleteUploads(context.Background(), bucket, "", true) {
		require.NoError(t, upload.Err)
		keys = append(keys, upload.Key)
	}
	return keys
}

func (s *Server) client() (*minio.Client, error) {
	return minio.New(s.Address, &minio.Options{Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: "us-east-1"})
}

// Location is what objectstore.Open takes for a bucket, and a prefix in it.
func (s *Server) Location(bucketAndPrefix string) string {
	return "s3://" + bucketAndPrefix + "?endpoint=http://" + s.Address + "&region=us-east-1&pathStyle=true"
}

// findServer reads where the toolbox built versitygw: tools.json in bin at the
// top of the repository, or in the directory that FLOTILLA_BIN names.
func findServer() (string, error) {
	const remedy = "run make toolbox, which builds it from source"
	bin, err := binDirectory()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(bin, "tools.json"))
	if err != nil {
		return "", fmt.Errorf("the tests of S3 need versitygw, and bin/tools.json does not say where it is; %s: %w", remedy, err)
	}
	var tools map[string]json.RawMessage
	var program string
	if err := json.Unmarshal(text, &tools); err != nil {
		return "", fmt.Errorf("bin/tools.json cannot be read; %s: %w", remedy, err)
	}
	if err := json.Unmarshal(tools["versitygw"], &program); err != nil {
		return "", fmt.Errorf("the tests of S3 need versitygw, and bin/tools.json does not name it; %s", remedy)
	}
	if !filepath.IsAbs(program) {
		program = filepath.Join(bin, "..", program)
	}
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("versitygw is not where bin/tools.json says; %s: %w", remedy, err)
	}
	return program, nil
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
		if _, err := os.Stat(filepath.Join(dir, "tools", "s3", "go.mod")); err == nil {
			return filepath.Join(dir, "bin"), nil
		}
	}
	return "", fmt.Errorf("the tests of S3 run inside the repository, and this is outside; or name its bin directory by FLOTILLA_BIN")
}

// Pause has the server answer nothing any more, and keep its connections, until Continue.
func (s *Server) Pause() error { return s.process.Process.Signal(syscall.SIGSTOP) }

// Continue has it answer again.
func (s *Server) Continue() error { return s.process.Process.Signal(syscall.SIGCONT) }
