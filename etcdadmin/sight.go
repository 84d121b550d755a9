package etcdadmin

import (
	"slices"
	"strconv"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// alarms gives the alarms that the leader knows of, or any member if the leader
// does not answer. They are read from what members say of themselves: a list of
// alarms is a write to the log, which a look must not be, and a learner refuses it.
func alarms(seen []sight) []fleet.Alarm {
	tells := answering(seen)
	if l := leader(seen); l != nil {
		tells = []sight{*l}
	}
	var all []fleet.Alarm
	for _, s := range tells {
		for _, text := range s.Errors {
			a, ok := alarm(text, seen)
			if ok && !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	slices.SortFunc(all, func(a, b fleet.Alarm) int {
		return strings.Compare(a.Member+" "+a.Alarm, b.Member+" "+b.Alarm)
	})
	return all
}

// alarm reads the text of an AlarmMember of etcd's API, "memberID:123 alarm:NOSPACE";
// how many blanks are in it is not fixed. Other texts are no alarms.
func alarm(text string, seen []sight) (fleet.Alarm, bool) {
	fields := map[string]string{}
	for _, field := range strings.Fields(text) {
		key, value, _ := strings.Cut(field, ":")
		fields[key] = value
	}
	id, err := strconv.ParseUint(fields["memberID"], 10, 64)
	if err != nil || fields["alarm"] == "" {
		return fleet.Alarm{}, false
	}
	name := strconv.FormatUint(id, 16) // of one that is no member any more
	if s := find(seen, id); s != nil {
		name = called(s.ObservedMember)
	}
	return fleet.Alarm{Member: name, Alarm: fields["alarm"]}, true
}

// downgrade gives the minor that a downgrade is enabled for, or "". The leader is
// believed if its minor tells; 3.5 does not, and the others may.
func downgrade(seen []sight) string {
	tells := answering(seen)
	if l := leader(seen); l != nil && l.status.DowngradeInfo != nil {
		tells = []sight{*l}
	}
	for _, s := range tells {
		if info := s.status.DowngradeInfo; info != nil && info.Enabled {
			return fleet.Minor(info.TargetVersion)
		}
	}
	return ""
}

// answering gives the members that answer.
func answering(seen []sight) []sight {
	var all []sight
	for _, s := range seen {
		if s.Answers {
			all = append(all, s)
		}
	}
	return all
}

// find gives the member of an ID, or nil.
func find(seen []sight, id uint64) *sight {
	for i := range seen {
		if seen[i].ID == id {
			return &seen[i]
		}
	}
	return nil
}

// leader gives the member that leads, if it answers.
func leader(seen []sight) *sight {
	for i := range seen {
		if seen[i].Leader && seen[i].Answers {
			return &seen[i]
		}
	}
	return nil
}
