package bench

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// progress tells a person who waits how far it is; the tables come at the end.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "  "+format+"\n", args...) }

// report is the tables that are printed in the end.
type report struct {
	text    strings.Builder
	table   *tabwriter.Writer
	metrics map[string]float64
}

func newReport() *report {
	r := &report{metrics: map[string]float64{}}
	r.table = tabwriter.NewWriter(&r.text, 0, 8, 3, ' ', tabwriter.AlignRight|tabwriter.TabIndent)
	return r
}

func (r *report) section(title, about string) {
	_ = r.table.Flush()
	fmt.Fprintf(&r.text, "\n%s (%s)\n\n", title, about)
}

// row writes one line of a table; the label is padded here, because the writer
// aligns all columns to the same side.
func (r *report) row(label string, cells ...string) {
	fmt.Fprintf(r.table, "  %-38s\t%s\t\n", label, strings.Join(cells, "\t"))
}

func (r *report) note(format string, args ...any) {
	_ = r.table.Flush()
	fmt.Fprintf(&r.text, "\n  "+format+"\n", args...)
}

func (r *report) machine() {
	load, _ := os.ReadFile("/proc/loadavg")
	before, _, _ := strings.Cut(string(load), " ")
	r.note("%s/%s, %d cores, %s; all disks in %s; load before: %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), os.TempDir(), before)
}

// print ends the report, and gives its metrics to the benchmark.
func (r *report) print(b *testing.B, took time.Duration) {
	b.Helper()
	r.note("All of it took %s.", took.Round(time.Second))
	fmt.Print(r.String())
	for name, value := range r.metrics {
		b.ReportMetric(value, name)
	}
	b.ReportMetric(0, "ns/op") // the whole run is not an operation
}

func (r *report) String() string {
	_ = r.table.Flush()
	return r.text.String() + "\n"
}

// series is how long the same thing took, again and again.
type series []time.Duration

func (s series) median() time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

func (s series) slowest() time.Duration { return slices.Max(s) }

func (s series) columns() []string {
	return []string{short(s.median()), short(slices.Min(s)), short(s.slowest())}
}

func short(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
