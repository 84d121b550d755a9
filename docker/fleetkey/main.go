// Command flotilla-fleetkey makes the key that seals a fleet's authorities and
// snapshots, in a file of mode 0600, and refuses to write over one.
package main

import (
	"fmt"
	"os"

	"github.com/flotilla-etcd/flotilla/pki"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: flotilla-fleetkey FILE")
		os.Exit(2)
	}
	key, err := pki.GenerateFleetKey()
	if err == nil {
		err = key.WriteFile(os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "flotilla-fleetkey:", err)
		os.Exit(1)
	}
}
