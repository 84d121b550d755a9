package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// told is what a workflow's history tells.
type told struct {
	events, bytes     int
	activities, looks int
	began, ended      time.Time
	spans             []span
}

// span is one look or one wave: from when its first activity began to work until
// its last one was done.
type span struct {
	name         string
	began, ended time.Time
}

func (s *stand) history(workflowID string) told {
	ctx := s.b.Context()
	described, err := s.temporal.DescribeWorkflowExecution(ctx, workflowID, "")
	require.NoError(s.b, err)
	h := told{bytes: int(described.GetWorkflowExecutionInfo().GetHistorySizeBytes())}
	type scheduled struct {
		id, kind string
		began    time.Time
	}
	asked := map[int64]*scheduled{}
	events := s.temporal.GetWorkflowHistory(ctx, workflowID, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(s.b, err)
		h.events++
		at := event.GetEventTime().AsTime()
		if h.began.IsZero() {
			h.began = at
		}
		h.ended = at
		switch attributes := event.Attributes.(type) {
		case *history.HistoryEvent_ActivityTaskScheduledEventAttributes:
			a := attributes.ActivityTaskScheduledEventAttributes
			asked[event.GetEventId()] = &scheduled{id: a.GetActivityId(), kind: a.GetActivityType().GetName()}
			if h.activities++; a.GetActivityType().GetName() == fleet.ActivityLook {
				h.looks++
			}
		case *history.HistoryEvent_ActivityTaskStartedEventAttributes:
			asked[attributes.ActivityTaskStartedEventAttributes.GetScheduledEventId()].began = at
		case *history.HistoryEvent_ActivityTaskCompletedEventAttributes:
			a := asked[attributes.ActivityTaskCompletedEventAttributes.GetScheduledEventId()]
			h.worked(a.id, a.kind, a.began, at)
		}
	}
	return h
}

// worked adds an activity to the look or wave that it belongs to: its ID begins
// with the wave's number.
func (h *told) worked(id, kind string, began, ended time.Time) {
	wave, _, _ := strings.Cut(id, "/")
	name := "wave " + wave + ": " + kind
	if kind == fleet.ActivityLook {
		name = "look " + wave
	}
	for i := range h.spans {
		known := &h.spans[i]
		mine, kinds, _ := strings.Cut(known.name, ": ")
		if known.name != name && (mine != "wave "+wave || kind == fleet.ActivityLook) {
			continue
		}
		if !strings.Contains(kinds, kind) && kind != fleet.ActivityLook {
			known.name += ", " + kind
		}
		if began.Before(known.began) {
			known.began = began
		}
		if ended.After(known.ended) {
			known.ended = ended
		}
		return
	}
	h.spans = append(h.spans, span{name, began, ended})
}

// breakdown says where the time between request and first write goes.
type breakdown struct {
	names []string
	times map[string]series
}

type part struct {
	name string
	took time.Duration
}

func (s *stand) partsOf(c creation) (parts []part) {
	h := s.history(c.ref.WorkflowID)
	parts = append(parts, part{"the request, until it is accepted", c.accepted})
	var busy time.Duration
	for _, span := range h.spans {
		took := span.ended.Sub(span.began)
		busy += took
		parts = append(parts, part{span.name, took})
	}
	return append(parts,
		part{"Temporal, between looks and waves", c.ended - c.accepted - busy},
		part{"a client certificate", c.certified - c.ended},
		part{"the write itself", c.write},
		part{"all of it", c.total})
}

func (d *breakdown) add(parts []part) {
	if d.times == nil {
		d.times = map[string]series{}
	}
	for _, p := range parts {
		if _, known := d.times[p.name]; !known {
			d.names = append(d.names, p.name)
		}
		d.times[p.name] = append(d.times[p.name], p.took)
	}
}

func (d *breakdown) write(out *report) {
	all := d.times["all of it"].median()
	for _, name := range d.names {
		took := d.times[name].median()
		out.row(name, short(took), fmt.Sprintf("%d %%", 100*took/max(all, 1)))
	}
}

// expense is what one operation took of everything.
type expense struct {
	took             time.Duration
	worker, temporal float64
	history          told
	commands         []command
}

// command is one that was run on a host.
type command struct {
	verb string
	took time.Duration
}

// measure does an operation, which gives its workflow, and counts. Commands are
// watched while it goes on, because a host takes them with it when it goes.
func (s *stand) measure(operation func() (workflowID string)) expense {
	watch := watchCommands(filepath.Join(s.e.Dir, "local", "hosts"))
	worker, temporal := s.cpu()
	began := time.Now()
	id := operation()
	x := expense{took: time.Since(began)}
	x.worker, x.temporal = s.cpu()
	x.worker, x.temporal = x.worker-worker, x.temporal-temporal
	x.commands = watch()
	x.history = s.history(id)
	return x
}

var verbOf = regexp.MustCompile(`flotilla-node ([a-z-]+)`)

// watchCommands notes commands as they appear; what it returns ends it.
func watchCommands(hosts string) func() []command {
	stop := make(chan struct{})
	var group sync.WaitGroup
	seen := map[string]command{}
	look := func() {
		dirs, _ := filepath.Glob(filepath.Join(hosts, "*", "commands", "c-*"))
		for _, dir := range dirs {
			if known, ok := seen[dir]; strings.HasSuffix(dir, ".tmp") || ok && known.took > 0 {
				continue
			}
			var note struct {
				Sent   time.Time `json:"sent"`
				Script string    `json:"script"`
			}
			data, err := os.ReadFile(filepath.Join(dir, "command.json"))
			if err != nil || json.Unmarshal(data, &note) != nil {
				continue
			}
			c := command{verb: "other"}
			if match := verbOf.FindStringSubmatch(note.Script); match != nil {
				c.verb = match[1]
			}
			if info, err := os.Stat(filepath.Join(dir, "exit")); err == nil {
				c.took = info.ModTime().Sub(note.Sent)
			}
			seen[dir] = c
		}
	}
	look()
	before := len(seen)
	for dir := range seen { // of earlier operations
		seen[dir] = command{verb: "", took: 1}
	}
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				look()
			}
		}
	})
	return func() []command {
		close(stop)
		group.Wait()
		look()
		commands := make([]command, 0, len(seen)-before)
		for _, c := range seen {
			if c.verb != "" {
				commands = append(commands, c)
			}
		}
		return commands
	}
}

func (x expense) ofVerb(verb string) string {
	var times series
	count := 0
	for _, c := range x.commands {
		if c.verb == verb {
			if count++; c.took > 0 {
				times = append(times, c.took)
			}
		}
	}
	if count == 0 {
		return "-"
	}
	return strconv.Itoa(count) + " × " + short(times.median())
}

func verbs(lists ...[]command) (all []string) {
	for _, c := range slices.Concat(lists...) {
		if !slices.Contains(all, c.verb) {
			all = append(all, c.verb)
		}
	}
	slices.Sort(all)
	return all
}
