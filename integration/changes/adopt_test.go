package changes

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/integration/judge"
)

// TestAdopt takes over a cluster that something else created, by the command line, while
// programs with certificates from before use it; then it is changed and decommissioned
// as any other. With FLOTILLA_WHOLE it is taken over under fire, with 200 MB of data.
func TestAdopt(t *testing.T) {
	t.Parallel()
	e := harness.Start(t)
	const cluster = "legacy"
	f := e.StartForeign(small(cluster, 3, older), "etcd-a", "etcd-b", "etcd-c")
	c := newCourt(t, e, cluster, load())
	c.dials = f.Dial
	burning := mayBurn(c, func(a *arsonist) { a.hosts = func(context.Context) []string { return f.Hosts() } })
	old, err := f.Dial(t.Context())
	require.NoError(t, err)
	defer old.Close()
	require.NoError(t, judge.Fill(t.Context(), old, c.filler))
	before := identity(t.Context(), t, old)

	document := filepath.Join(e.Dir, "legacy.yaml")
	require.NoError(t, os.WriteFile(document, []byte(f.Document()), 0o600))
	args := []string{"adopt", "-f", document, "--ca", f.CertificateFile, "--ca-key", f.KeyFile}
	dry := e.CLI(append(args, "--dry-run")...)
	require.Equal(t, 0, dry.Code, dry.Err)
	require.Equal(t, before, identity(t.Context(), t, old), "a dry run changes nothing")
	var said harness.Answer
	c.hears("adoption", func() error {
		return burning(func() error {
			said = e.CLI(args...)
			t.Logf("%s%s", said.Err, said.Out)
			if said.Code == 0 {
				return nil
			}
			if !harness.Whole() {
				return fmt.Errorf("it ended with %d", said.Code)
			}
			r, err := e.Resume(cluster)
			if err != nil {
				return err
			}
			return c.persist("adoption", r)
		})
	})
	require.Equal(t, before, identity(t.Context(), t, old), "the members are the same, and so is the cluster")
	require.NoError(t, e.Stands(t.Context(), cluster), "a cluster that was adopted")
	require.NoError(t, c.filler.Verify(t.Context(), old))
	require.NotEqual(t, 0, e.CLI(args...).Code, "it is adopted already")

	nothingTells(t, e, f, dry.Out, dry.Err, said.Out, said.Err)
	steps := changed(t, e, cluster, harness.Change{Kind: fleet.MigrateByLearner, Options: fleet.Options{Members: []string{"etcd-b"}}})
	require.Contains(t, steps, "RemoveMember etcd-b")
	e.Decommission(cluster, fleet.Options{})
	e.ExpectNothingLeft()
}

// identified is who a cluster and its members are.
type identified struct {
	Cluster uint64
	Members map[string]uint64
}

func identity(ctx context.Context, t *testing.T, client *clientv3.Client) identified {
	t.Helper()
	all, err := identify(ctx, client)
	require.NoError(t, err)
	return all
}

func identify(ctx context.Context, client *clientv3.Client) (identified, error) {
	list, err := client.MemberList(ctx)
	if err != nil {
		return identified{}, err
	}
	all := identified{Cluster: list.Header.ClusterId, Members: map[string]uint64{}}
	for _, m := range list.Members {
		all.Members[m.Name] = m.ID
	}
	return all, nil
}

// nothingTells expects that the key of an authority that was adopted is in no history,
// in no log of a worker and in nothing that was said.
func nothingTells(t *testing.T, e *harness.Env, f *harness.Foreign, said ...string) {
	t.Helper()
	text := strings.Join(said, "\n") + histories(t, e)
	for _, w := range e.Workers() {
		text += w.Log()
	}
	require.True(t, strings.Contains(text, f.Members[0].DataDir), "what was sent to the workers can be read")
	for _, secret := range secrets(t, f.KeyFile) {
		require.False(t, strings.Contains(text, secret), "the key of the authority can be read somewhere")
	}
}

// secrets gives the forms in which somebody might write a key down.
func secrets(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	block, _ := pem.Decode(text)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	key, err := parsed.(*ecdsa.PrivateKey).Bytes()
	require.NoError(t, err)
	all := []string{
		string(key), hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key),
		base64.StdEncoding.EncodeToString(block.Bytes), base64.StdEncoding.EncodeToString(text),
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if !strings.HasPrefix(line, "-----") {
			all = append(all, line)
		}
	}
	return all
}

// histories gives all that the service keeps of every workflow, payloads as JSON and
// not encoded any further.
func histories(t *testing.T, e *harness.Env) string {
	t.Helper()
	temporal, err := client.Dial(client.Options{HostPort: e.Temporal.Address})
	require.NoError(t, err)
	defer temporal.Close()
	list, err := temporal.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000})
	require.NoError(t, err)
	readable := temporalproto.CustomJSONMarshalOptions{Metadata: map[string]any{commonpb.EnablePayloadShorthandMetadataKey: true}}
	var all strings.Builder
	kinds := map[string]bool{}
	for _, execution := range list.Executions {
		kinds[execution.Type.Name] = true
		events := temporal.GetWorkflowHistory(t.Context(), execution.Execution.WorkflowId, execution.Execution.RunId,
			false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			require.NoError(t, err)
			line, err := readable.Marshal(event)
			require.NoError(t, err)
			all.Write(line)
		}
	}
	for _, kind := range []string{"AdoptCluster", "FleetRecipient", "PlanOperation", "Cluster"} {
		require.True(t, kinds[kind], "expected a history of %s among %v", kind, kinds)
	}
	return all.String()
}
