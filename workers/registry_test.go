package workers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/activities"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// constants gives the values of every constant of a type in package fleet.
func constants(t *testing.T, typeName string) (values []string) {
	t.Helper()
	files, err := filepath.Glob("../fleet/*.go")
	require.NoError(t, err)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if name, ok := spec.Type.(*ast.Ident); ok && name.Name == typeName {
				literal, ok := spec.Values[0].(*ast.BasicLit)
				require.True(t, ok)
				value, err := strconv.Unquote(literal.Value)
				require.NoError(t, err)
				values = append(values, value)
			}
			return true
		})
	}
	require.NotEmpty(t, values, "no constants of type %s", typeName)
	return values
}

// names is a registry that only keeps what is registered.
type names map[string]any

func (n names) RegisterActivityWithOptions(a any, o activity.RegisterOptions) { n[o.Name] = a }

func (n names) RegisterWorkflow(any) { panic("workflows have names of their own") }

func (n names) RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions) { n[o.Name] = w }

func (n names) RegisterDynamicWorkflow(any, workflow.DynamicRegisterOptions) { panic("not used") }

func TestEveryStepIsRegistered(t *testing.T) {
	registered := names{}
	activities.Register(registered, activities.Region{})
	activities.RegisterRecording(registered, activities.Region{})
	activities.RegisterCopying(registered, activities.Region{})
	steps := constants(t, "StepKind")
	for _, kind := range steps {
		require.Contains(t, registered, kind, "the planner may name it")
		f := reflect.TypeOf(registered[kind])
		require.Equal(t, reflect.TypeFor[fleet.StepRequest](), f.In(1), kind)
		require.Equal(t, reflect.TypeFor[fleet.StepReply](), f.Out(0), kind)
	}
	others := []string{fleet.ActivityLook, fleet.ActivityForecast, fleet.ActivitySurvey, fleet.ActivityPublishEndpoints, fleet.ActivityIssueCertificate, fleet.ActivityFleetRecipient,
		fleet.ActivityListBackups, fleet.ActivityCheckBackup, fleet.ActivityDueBackups, fleet.ActivityRecordChanges, fleet.ActivityCopyBackups, fleet.ActivityCompareRehearsal,
		fleet.ActivityExamine, fleet.ActivityInventory, fleet.ActivityRemoveResources}
	for _, name := range others {
		require.Contains(t, registered, name)
	}
	require.Len(t, registered, len(steps)+len(others), "what nobody names is not registered")
}

func TestEveryOperationIsRegistered(t *testing.T) {
	registered := names{}
	RegisterWorkflows(registered)
	kinds := constants(t, "OperationKind")
	others := []string{workflows.ClusterType, workflows.PlanType, workflows.SurveyType, workflows.CertificateType, workflows.RecipientType,
		workflows.BackupsType, workflows.VerifyBackupType, workflows.ScheduleType, workflows.ChangesType, workflows.CopiesType, workflows.RehearseType,
		workflows.ExamineType, workflows.InventoryType, workflows.RemoveType, workflows.CompareKeysType}
	for _, name := range append(kinds, others...) {
		require.Contains(t, registered, name)
	}
	require.Len(t, registered, len(kinds)+len(others))
}
