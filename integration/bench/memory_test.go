package bench

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// memory is the most that a process had while it was looked at.
type memory struct {
	// own is what it allocated (RssAnon in proc(5)), all with the pages of files that it
	// maps, which the kernel takes back when it needs them.
	own, all fleet.Bytes
}

func (m memory) most(o memory) memory { return memory{own: max(m.own, o.own), all: max(m.all, o.all)} }

// watchMemory looks at a process 50 times a second until it is told to end.
func watchMemory(pid int) (end func() memory) {
	var most memory
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			most = most.most(memoryOf(pid))
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return func() memory {
		close(ended)
		watching.Wait()
		return most
	}
}

// memoryOf is nothing for a process that is gone.
func memoryOf(pid int) (m memory) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		var kib fleet.Bytes
		if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
			continue
		}
		switch name {
		case "RssAnon":
			m.own = kib << 10
		case "VmRSS":
			m.all = kib << 10
		}
	}
	return m
}
