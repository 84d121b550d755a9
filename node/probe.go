package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// probeTimeout bounds each question to a member. A healthy one answers in
// milliseconds; a report asks at most three.
const probeTimeout = time.Second

// probe asks a running member whether it serves, and which version it is.
func (n *Node) probe(ctx context.Context, m member, r *fleet.MemberReport) {
	client, err := n.probeClient(m, serverCert, serverKey)
	if err != nil {
		r.NotReady = "it cannot be asked: " + err.Error()
		return
	}
	defer client.CloseIdleConnections()
	base := "https://" + net.JoinHostPort(m.Start.Address, strconv.Itoa(m.Start.ClientPort))
	status, body, err := ask(ctx, client, base+"/readyz")
	switch {
	case err == nil && status == http.StatusOK:
		r.Ready = true
	case err == nil:
		r.NotReady = "etcd says that it is not ready: " + failingChecks(body)
	case isTimeout(err):
		// readyz waits for a linearizable read; livez waits for nothing.
		if _, _, err := ask(ctx, client, base+"/livez"); err == nil {
			r.NotReady = "etcd answers, but not to a linearizable read: it has no quorum or no leader"
		} else {
			r.NotReady = "etcd did not answer within " + probeTimeout.String() + ": it hangs, or its host is too busy"
			return // what hangs is not asked a third time
		}
	case errors.Is(err, unix.ECONNREFUSED):
		r.NotReady = "etcd runs, but does not listen on " + strings.TrimPrefix(base, "https://") + " yet"
		return
	default:
		r.NotReady = "etcd did not answer: " + err.Error()
		return
	}
	var version struct {
		Server string `json:"etcdserver"`
	}
	if status, body, err := ask(ctx, client, base+"/version"); err == nil && status == http.StatusOK &&
		json.Unmarshal(body, &version) == nil && version.Server != "" {
		r.Version = version.Server
	}
}

// probeClient uses one of the member's own certificates; both are also a client's.
func (n *Node) probeClient(m member, cert, key string) (*http.Client, error) {
	ca, err := os.ReadFile(n.pkiFile(m.Member, caCert))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(n.pkiFile(m.Member, cert), n.pkiFile(m.Member, key))
	if err != nil {
		return nil, errors.New("its certificate and key do not fit")
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}},
	}}, nil
}

func ask(ctx context.Context, client *http.Client, url string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	return resp.StatusCode, body, err
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// failingChecks gives the checks that readyz names as failed ("[-]read_index
// failed: …"), or all it said.
func failingChecks(body []byte) string {
	var failing []string
	for line := range strings.Lines(string(body)) {
		if check, ok := strings.CutPrefix(strings.TrimSpace(line), "[-]"); ok {
			failing = append(failing, check)
		}
	}
	if len(failing) > 0 {
		return strings.Join(failing, ", ")
	}
	return shorten(strings.TrimSpace(string(body)))
}
