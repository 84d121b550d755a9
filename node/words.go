package node

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/node/service"
)

// exitInWords says how a process ended and what it said last that matters.
func exitInWords(s service.Status) string {
	if words := lastWords(s.LastOutput); words != "" {
		return s.LastExit + ": " + words
	}
	return s.LastExit
}

// severity orders etcd's log levels (zap's).
var severity = map[string]int{"debug": 0, "info": 1, "warn": 2, "error": 3, "dpanic": 4, "panic": 5, "fatal": 6}

// removed is what etcd says when its peers told it that it is no member any more
// (etcdserver.ErrMemberRemoved).
const removed = "the member has been permanently removed from the cluster"

// lastWords finds the line of etcd's output that says best why it ended: a
// panic's head, or else the last of the severest log lines. Lines are JSON by
// zap, or text from before the log begins.
func lastWords(output string) string {
	if strings.Contains(output, removed) {
		return removed // whatever else it complained of in its last moments
	}
	lines := strings.Split(strings.TrimSpace(output), "\n")
	best, bestSeverity := "", -1
	for _, line := range slices.Backward(lines) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic: ") {
			return shorten(line)
		}
		text, level := inWords(line)
		if text != "" && level > bestSeverity {
			best, bestSeverity = text, level
		}
	}
	return shorten(best)
}

// inWords gives what a line says and how severe it is.
func inWords(line string) (string, int) {
	if !strings.HasPrefix(line, "{") {
		if line == "" || strings.HasPrefix(line, "goroutine ") || strings.HasPrefix(line, "\t") {
			return "", 0
		}
		// Text comes from a program that ends before it has a log: worth more than
		// what is said in passing.
		return line, severity["warn"]
	}
	var entry struct {
		Level   string `json:"level"`
		Message string `json:"msg"`
		Error   any    `json:"error"`
	}
	if json.Unmarshal([]byte(line), &entry) != nil || entry.Message == "" {
		return "", 0
	}
	if entry.Error != nil {
		return fmt.Sprintf("%s: %v", entry.Message, entry.Error), severity[entry.Level]
	}
	return entry.Message, severity[entry.Level]
}
