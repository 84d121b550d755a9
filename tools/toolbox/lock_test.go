package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// holdVariable makes the test binary a process that takes a lock and never gives it up.
const holdVariable = "FLOTILLA_TOOLBOX_TEST_HOLD"

func TestMain(m *testing.M) {
	path := os.Getenv(holdVariable)
	if path == "" {
		os.Exit(m.Run())
	}
	if _, err := tryLock(path); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	select {}
}

func TestLockExcludesAndWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	unlock, err := tryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryLock(path); !errors.Is(err, errLocked) {
		t.Fatalf("a second lock: %v, want %v", err, errLocked)
	}
	holder := ""
	next, err := lock(t.Context(), path, func(h string) { holder = h; unlock() })
	if err != nil {
		t.Fatal(err)
	}
	defer next()
	if holder != strconv.Itoa(os.Getpid()) {
		t.Errorf("the waiter was told of holder %q, want this process", holder)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := lock(ctx, path, func(string) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait: %v", err)
	}
}

func TestLockOfAKilledProcessIsFree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdVariable+"="+path)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	unlock, err := lock(ctx, path, func(string) { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if err != nil {
		t.Fatalf("the lock of a killed process: %v", err)
	}
	unlock()
}
