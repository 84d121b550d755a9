package plan

import (
	"fmt"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan/model"
)

// maxForecast bounds a forecast: no operation has as many waves, so one that gets
// there goes in circles.
const maxForecast = 200

// Forecast gives the waves that an operation would take from here if nothing
// fails, and the verdict that it would end with.
func Forecast(in Input) ([][]fleet.Step, fleet.Decision) {
	world := model.From(in.Observation).Slow()
	in.Purchases, in.Failures = slices.Clone(in.Purchases), slices.Clone(in.Failures)
	var waves [][]fleet.Step
	for range maxForecast {
		d := Next(in)
		if d.Verdict != fleet.VerdictAct {
			return waves, d
		}
		waves = append(waves, d.Wave)
		for _, step := range d.Wave {
			in.Begin(in.Operation.Cluster, step)
			err := world.Apply(in.Operation, step)
			if err == nil {
				in.Done(step, in.Observation)
			}
			if err != nil && step.Kind == fleet.SnapshotDisk { // it goes on without
				in.Fail(step, fleet.KindOf(err), err.Error())
				continue
			}
			if err != nil && step.Kind == fleet.AwaitHealthy {
				return waves, wait("%s would have to become healthy first", in.Operation.Cluster)
			}
			if err != nil {
				return waves, blocked(fleet.KindOf(err), "%s would fail: %s", step, err)
			}
		}
		in.Observation = world.Observe()
	}
	return waves, blocked(fleet.Blocked, "no end after %d waves", maxForecast)
}

// Words says a wave as a person does: "LaunchHost orders-1 (a), orders-2 (b)".
func Words(wave []fleet.Step) string {
	var text string
	for i, step := range wave {
		item := step.Member
		if step.Zone != "" && step.Kind == fleet.LaunchHost {
			item = fmt.Sprintf("%s (%s)", item, step.Zone)
		}
		switch {
		case i == 0 || wave[i-1].Kind != step.Kind:
			if i > 0 {
				text += "; "
			}
			text += string(step.Kind)
			if item != "" {
				text += " " + item
			}
		default:
			text += ", " + item
		}
	}
	return text
}
