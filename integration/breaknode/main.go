// Command breaknode is flotilla-node for the crash tests: it runs the real one
// beside it, and kills it with -9 in the middle of a verb when the test has asked
// for that. A request is a file
//
//	<local provider's root>/../kills/<cluster>.<verb>
//
// with the moment in microseconds after the start. One call of the verb on one
// host of the cluster takes it, and renames the file to end in .done. A verb that
// comes to its end before that moment counts as killed before its answer was out:
// all is done, and nobody hears of it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func main() {
	self, err := os.Executable()
	if err != nil {
		fail(err)
	}
	node, verb := filepath.Join(filepath.Dir(self), "flotilla-node"), os.Args[len(os.Args)-1]
	request := filepath.Join(filepath.Dir(os.Getenv("FLOTILLA_LOCAL_ROOT")), "kills", clusterOfHost()+"."+verb)
	taken := fmt.Sprintf("%s.%d", request, os.Getpid())
	if os.Rename(request, taken) != nil { // the usual case: nothing is asked for
		fail(syscall.Exec(node, append([]string{node}, os.Args[1:]...), os.Environ()))
	}
	text, err := os.ReadFile(taken)
	if err != nil {
		fail(err)
	}
	moment, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		fail(err)
	}
	command := exec.Command(node, os.Args[1:]...)
	command.Stdin, command.Stderr = os.Stdin, os.Stderr
	if err := command.Start(); err != nil {
		fail(err)
	}
	timer := time.AfterFunc(time.Duration(moment)*time.Microsecond, func() { _ = command.Process.Kill() })
	_ = command.Wait()
	timer.Stop()
	if err := os.Rename(taken, request+".done"); err != nil {
		fail(err)
	}
	os.Exit(137) // as a shell says of a program that was killed with -9
}

// clusterOfHost reads whose host this is from the provider's record of it.
func clusterOfHost() string {
	text, err := os.ReadFile(filepath.Join(os.Getenv("FLOTILLA_LOCAL_ROOT"), "hosts", os.Getenv("FLOTILLA_HOST")+".json"))
	var host fleet.Host
	if err != nil || json.Unmarshal(text, &host) != nil {
		return ""
	}
	return host.Tags[fleet.TagCluster]
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "breaknode:", err)
	os.Exit(1)
}
