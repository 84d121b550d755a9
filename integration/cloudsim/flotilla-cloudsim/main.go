// Command flotilla-cloudsim is one region of a simulated cloud as a program of its own: any
// SDK, tool or worker can be pointed at it.
//
// It prints how to reach the region, as a shell reads it, and runs until it is told to
// stop; the region and all that was bought in it end with it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ec2sim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ecssim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "flotilla-cloudsim:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}

// options are what the program is told.
type options struct {
	cloud, region, listen string
	root, node            string
	faults                []string
}

func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "flotilla-cloudsim", Short: "Run one region of a simulated cloud", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		Long: `Runs one region of a simulated cloud, and prints how to reach it as a shell reads it.
Without --root, instances, disks and commands go through their states and nothing is
run; with it, each instance is a host on a loopback address of this machine.`,
		Example: `  flotilla-cloudsim --cloud aws --region us-east-1 --fault 'throttle 0.1'
  flotilla-cloudsim --cloud aliyun --region cn-hangzhou --root /tmp/region --node-binary bin/flotilla-node`,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), o, cmd.OutOrStdout()) },
	}
	f := c.Flags()
	f.StringVar(&o.cloud, "cloud", "aws", "aws or aliyun")
	f.StringVar(&o.region, "region", "", "name of the region (default: us-east-1 or cn-hangzhou)")
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` to serve at; port 0 takes a free one")
	f.StringVar(&o.root, "root", "", "`directory` of hosts and disks; they are not run without one")
	f.StringVar(&o.node, "node-binary", "", "flotilla-node, which --root needs")
	f.StringArrayVar(&o.faults, "fault", nil, "`kind [share]` of what goes wrong, as in 'throttle 0.1' or 'no stock'; may be given several times")
	return c
}

// region is what a cloud's face is made of.
type region struct {
	cloudsim.Config
	face func(*cloudsim.World) http.Handler
}

func regionOf(o options) (region, error) {
	switch o.cloud {
	case "aws":
		cfg := ec2sim.Region(or(o.region, "us-east-1"))
		return region{cfg.Config, func(w *cloudsim.World) http.Handler { return ec2sim.New(w, cfg) }}, nil
	case "aliyun":
		return region{ecssim.Region(or(o.region, "cn-hangzhou")), func(w *cloudsim.World) http.Handler { return ecssim.New(w) }}, nil
	}
	return region{}, fmt.Errorf("there is no cloud %q: aws or aliyun", o.cloud)
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func run(ctx context.Context, o options, out io.Writer) error {
	r, err := regionOf(o)
	if err != nil {
		return err
	}
	if (o.root == "") != (o.node == "") {
		return errors.New("--root and --node-binary go together")
	}
	r.Root, r.NodeBinary, r.Seed, r.Log = o.root, o.node, uint64(time.Now().UnixNano()), zap.Must(zap.NewProduction())
	w, err := cloudsim.New(r.Config)
	if err != nil {
		return err
	}
	for _, text := range o.faults {
		fault, err := faultOf(text)
		if err != nil {
			return errors.Join(err, w.Close())
		}
		w.Inject(fault)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return errors.Join(err, w.Close())
	}
	server := &http.Server{Handler: r.face(w), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	describe(out, o.cloud, r.Config, "http://"+listener.Addr().String())
	select {
	case err = <-failed:
	case <-ctx.Done():
		err = server.Close()
	}
	return errors.Join(err, w.Close())
}

// faultOf reads a kind of fault, and its share of calls if it has one.
func faultOf(text string) (cloudsim.Fault, error) {
	fault := cloudsim.Fault{Delay: time.Second}
	kind, share := text, ""
	if i := strings.LastIndex(text, " "); i > 0 {
		if n, err := strconv.ParseFloat(text[i+1:], 64); err == nil {
			kind, share, fault.Share = text[:i], text[i+1:], n
		}
	}
	fault.Kind = cloudsim.FaultKind(kind)
	switch fault.Kind {
	case cloudsim.Throttle, cloudsim.ServerError, cloudsim.LoseAnswer, cloudsim.Slow, cloudsim.Deny,
		cloudsim.NoStockLeft, cloudsim.NeverReady, cloudsim.StuckDetach, cloudsim.Agentless:
	default:
		return fault, fmt.Errorf("there is no fault %q", kind)
	}
	if share != "" && (fault.Share <= 0 || fault.Share > 1) {
		return fault, fmt.Errorf("a share of %s of calls is not from 0 to 1", share)
	}
	return fault, nil
}

// describe says how to reach the region, and what there is to configure.
func describe(out io.Writer, cloud string, c cloudsim.Config, endpoint string) {
	var subnets, types []string
	for _, s := range c.Subnets {
		subnets = append(subnets, s.Zone+"="+s.ID)
	}
	for _, t := range c.Types {
		if t.Architecture == c.Images[0].Architecture && len(t.Zones) == 0 {
			types = append(types, t.Name)
		}
	}
	var id, secret string
	for id, secret = range c.Keys {
		break // there is one
	}
	lines := [][2]string{
		{"AWS_REGION", c.Region}, {"AWS_ACCESS_KEY_ID", id}, {"AWS_SECRET_ACCESS_KEY", secret},
		{"FLOTILLA_TEST_EC2_ENDPOINT", endpoint}, {"FLOTILLA_TEST_EC2_SUBNETS", strings.Join(subnets, ",")},
		{"FLOTILLA_TEST_EC2_IMAGE", c.Images[0].ID}, {"FLOTILLA_TEST_EC2_SECURITY_GROUP", c.Groups[0].ID},
		{"FLOTILLA_TEST_EC2_INSTANCE_PROFILE", c.Profiles[0]}, {"FLOTILLA_TEST_EC2_TYPES", strings.Join(types, ",")},
	}
	if cloud == "aliyun" {
		lines = [][2]string{
			{"ALIBABA_CLOUD_ACCESS_KEY_ID", id}, {"ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret}, {"FLOTILLA_ALIYUN_ENDPOINT", endpoint},
			{"FLOTILLA_ALIYUN_VSWITCHES", strings.Join(subnets, ",")}, {"FLOTILLA_ALIYUN_IMAGE", c.Images[0].ID},
			{"FLOTILLA_ALIYUN_SECURITY_GROUPS", c.Groups[0].ID}, {"FLOTILLA_ALIYUN_RAM_ROLE", c.Profiles[0]},
			{"FLOTILLA_ALIYUN_MACHINE_TYPES", strings.Join(types, ",")},
		}
	} else {
		for _, flag := range [][2]string{
			{"EC2_ENDPOINT", endpoint}, {"SSM_ENDPOINT", endpoint}, {"QUOTAS_ENDPOINT", endpoint}, {"SUBNETS", strings.Join(subnets, ",")},
			{"IMAGE", c.Images[0].ID}, {"SECURITY_GROUPS", c.Groups[0].ID}, {"INSTANCE_PROFILE", c.Profiles[0]}, {"MACHINE_TYPES", strings.Join(types, ",")},
		} {
			lines = append(lines, [2]string{"FLOTILLA_AWS_" + flag[0], flag[1]})
		}
	}
	var all strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&all, "export %s='%s'\n", l[0], l[1])
	}
	_, _ = io.WriteString(out, all.String()) // in one piece, for who reads it line by line
}
