package etcdadmin_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// TestDowngrade lowers the storage version and takes that back.
func TestDowngrade(t *testing.T) {
	t.Parallel()
	for version, below := range map[string]string{etcdtest.V36: "3.5", etcdtest.V37: "3.6"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, version, 3)
			client, own := connect(t, cluster), fleet.Minor(version)
			untilStored(t, client, own+".0")
			require.Empty(t, listed(t, client).Downgrade)
			require.NoError(t, client.CancelDowngrade(t.Context()), "there is none")
			require.NoError(t, client.EnableDowngrade(t.Context(), own), "it is there already")
			refused(t, client.EnableDowngrade(t.Context(), "3.4"), fleet.Invalid, "3.4", "invalid downgrade target version")
			refused(t, client.EnableDowngrade(t.Context(), "down"), fleet.Invalid, "down", "not a minor version")

			for range 2 {
				require.NoError(t, client.EnableDowngrade(t.Context(), below))
				require.Equal(t, below, listed(t, client).Downgrade)
			}
			refused(t, client.EnableDowngrade(t.Context(), "3.4"), fleet.Conflict, "a downgrade to "+below+" is enabled already")
			untilStored(t, client, below+".0")
			v, err := client.ClusterVersion(t.Context())
			require.NoError(t, err)
			require.Equal(t, below+".0", v)

			for range 2 {
				require.NoError(t, client.CancelDowngrade(t.Context()))
				require.Empty(t, listed(t, client).Downgrade)
			}
			untilStored(t, client, own+".0")
		})
	}
}

// untilStored waits until the data of all members has a version.
func untilStored(t *testing.T, client *etcdadmin.Client, version string) {
	t.Helper()
	untilLook(t, client, "storage is at "+version, func(o etcdadmin.Observation) bool {
		for _, m := range o.Members {
			if m.Storage != version {
				return false
			}
		}
		return len(o.Members) > 0
	})
}

// TestDowngradeOf35 asks for what 3.5 cannot do, and for what it does not tell.
func TestDowngradeOf35(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, etcdtest.V35, 1)
	client := connect(t, cluster)
	require.NoError(t, client.CancelDowngrade(t.Context()))
	refused(t, client.EnableDowngrade(t.Context(), "3.4"), fleet.Invalid, "downgrades begin with 3.6")
	o := listed(t, client)
	require.Empty(t, o.Downgrade)
	require.Empty(t, o.Members[0].Storage)
	require.Positive(t, o.Members[0].Term)
}

// alarm raises one, as etcd does when a member is over its quota.
func alarm(t *testing.T, cluster *etcdtest.Cluster, id uint64, action etcdserverpb.AlarmRequest_AlarmAction) {
	t.Helper()
	conn := cluster.Client(t, cluster.Leader(t).ClientURL).ActiveConnection()
	_, err := etcdserverpb.NewMaintenanceClient(conn).Alarm(t.Context(), &etcdserverpb.AlarmRequest{
		Action: action, MemberID: id, Alarm: etcdserverpb.AlarmType_NOSPACE,
	})
	require.NoError(t, err)
}

// alarms raises an alarm, looks at it, and sees what is refused under it.
func alarms(t *testing.T, cluster *etcdtest.Cluster, client *etcdadmin.Client) {
	t.Helper()
	m := listed(t, client).Members[1]
	alarm(t, cluster, m.ID, etcdserverpb.AlarmRequest_ACTIVATE)
	o := untilLook(t, client, "an alarm", func(o etcdadmin.Observation) bool { return len(o.Alarms) > 0 && len(o.Members[0].Errors) > 0 })
	require.Equal(t, []fleet.Alarm{{Member: m.Name, Alarm: "NOSPACE"}}, o.Alarms)
	refused(t, client.Churn(t.Context(), 2, nil), fleet.Denied, "over its quota")
	alarm(t, cluster, m.ID, etcdserverpb.AlarmRequest_DEACTIVATE)
	untilLook(t, client, "no alarm", func(o etcdadmin.Observation) bool { return len(o.Alarms) == 0 })
}
