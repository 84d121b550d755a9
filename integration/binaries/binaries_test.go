package binaries_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/integration/binaries"
)

// Each package has a program of its own, also when another one has just been built in its
// place, and it is removed without harm to others.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	const name = "breaknode"
	first, done, err := binaries.Build("./integration/" + name)
	require.NoError(t, err)
	defer done()
	second, doneToo, err := binaries.Build("./integration/" + name)
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	stat := func(path string) os.FileInfo {
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info
	}
	before := stat(filepath.Join(first, name))
	require.True(t, os.SameFile(before, stat(filepath.Join(second, name))), "it was linked again, and nothing has changed")
	doneToo()
	require.NoDirExists(t, second)

	// What the go command does with a file that it builds anew.
	shared := filepath.Join(filepath.Dir(first), "changed")
	defer func() { _ = os.Remove(shared) }()
	require.NoError(t, os.Link(filepath.Join(first, name), shared))
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.changed=yes", "-o", shared, "./integration/"+name)
	build.Dir, build.Env = binaries.Root(), append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.False(t, os.SameFile(before, stat(shared)))
	after := stat(filepath.Join(first, name))
	require.Equal(t, [2]any{before.Size(), before.ModTime()}, [2]any{after.Size(), after.ModTime()}, "a later build wrote into it")
}

func TestUnknownProgram(t *testing.T) {
	_, _, err := binaries.Build("./integration/none")
	require.ErrorContains(t, err, "integration/none")
}
