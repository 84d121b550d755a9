// Command recheck judges a history again that a run has saved:
//
//	go run ./integration/judge/recheck FILE
//
// It exits with 1 if something is wrong with it.
package main

import (
	"fmt"
	"os"

	"github.com/flotilla-etcd/flotilla/integration/judge"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: recheck FILE")
		os.Exit(2)
	}
	h, err := judge.Load(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	v := judge.Check(h)
	fmt.Print(v)
	if !v.OK() {
		os.Exit(1)
	}
}
