package activities

import (
	"context"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// heirPatience is how long a move of the leader is tried: etcd's own health window
// and an election. Then another heir is chosen.
const heirPatience = 15 * time.Second

// MoveLeader moves the leader away from a member, to another one. That the member
// does not lead any more is enough. A heir that does not take over is fleet.Lost: the
// planner chooses another.
func (m *Members) MoveLeader(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(m.moveLeader(ctx, r.Operation, r.Step))
}

func (m *Members) moveLeader(ctx context.Context, op fleet.Operation, step fleet.Step) (string, error) {
	client, err := m.client(ctx, op, "")
	if err != nil {
		return "", err
	}
	defer client.Close()
	var text string
	began := time.Now()
	err = insist(ctx, func(ctx context.Context) error {
		members, err := client.Members(ctx)
		if err != nil {
			return err
		}
		leader := slices.IndexFunc(members, func(member fleet.ObservedMember) bool { return member.Leader })
		if leader >= 0 && members[leader].Name != step.Member {
			text = members[leader].Name + " leads"
			return nil
		}
		heir := slices.IndexFunc(members, func(member fleet.ObservedMember) bool { return member.Name == step.To })
		if heir < 0 {
			return fleet.Errorf(fleet.Lost, "move of the leader to "+step.To, "it is no member any more")
		}
		text = step.To + " leads"
		err = client.MoveLeader(ctx, members[heir].ID)
		if err != nil && time.Since(began) > heirPatience {
			return fleet.Errorf(fleet.Lost, "move of the leader to "+step.To, "it did not take over within %s: %w", heirPatience, err)
		}
		return err
	})
	return text, err
}
