package judge

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Kind is what a call asked for.
type Kind string

// The kinds of calls.
const (
	Get          Kind = "get"          // linearizable, of one key or of all contended keys at once
	Serializable Kind = "serializable" // the same, from whatever a member has
	Put          Kind = "put"
	Delete       Kind = "delete"
	Swap         Kind = "swap" // a transaction that writes if a key is as it was seen
	Pair         Kind = "pair" // a transaction that writes two keys at once, with or without a condition
	Last         Kind = "last" // a transaction that writes all contended keys, at the end
	Grant        Kind = "grant"
	KeepAlive    Kind = "keepalive"
	Revoke       Kind = "revoke"
	Compact      Kind = "compact"
)

// kinds in the order in which they are shown.
var kinds = []Kind{Put, Swap, Pair, Delete, Get, Serializable, Grant, KeepAlive, Revoke, Compact} // Last is nobody's wait

// mutates says whether a quorum must have agreed before the call is acknowledged.
func (k Kind) mutates() bool {
	switch k {
	case Put, Delete, Swap, Pair, Last, Grant, Revoke:
		return true
	}
	return false
}

// linearizable says whether the revision of the answer must be as new as anything
// that anybody had seen before the call.
func (k Kind) linearizable() bool {
	switch k {
	case Put, Delete, Swap, Pair, Last, Get:
		return true
	}
	return false
}

// Outcome is what is known of a call after it returned.
type Outcome string

// The outcomes.
const (
	OK Outcome = "ok"
	// Refused: the error proves that nothing was done.
	Refused Outcome = "refused"
	// Unknown: it may have been done, or may yet be done at any later time.
	Unknown Outcome = "unknown"
)

// Sight is one key as an answer showed it. A key that is absent has no Mod.
type Sight struct {
	Key     string `json:"k"`
	Value   string `json:"v,omitempty"`
	Mod     int64  `json:"mod,omitempty"`
	Create  int64  `json:"create,omitempty"`
	Version int64  `json:"version,omitempty"`
	Lease   int64  `json:"lease,omitempty"`
}

// Write is one change that a call asked for.
type Write struct {
	Key    string `json:"k"`
	Value  string `json:"v,omitempty"`
	Delete bool   `json:"del,omitempty"`
	Lease  int64  `json:"lease,omitempty"`
}

// Condition holds while a key is as it was seen: absent, if Mod is zero. It
// carries value and revision, of which etcd compared one.
type Condition struct {
	Key     string `json:"k"`
	Mod     int64  `json:"mod,omitempty"`
	Value   string `json:"v,omitempty"`
	ByValue bool   `json:"byValue,omitempty"`
}

// Call is one call of a client and what came of it. Times are since History.Began.
type Call struct {
	Client  int           `json:"client"`
	Kind    Kind          `json:"kind"`
	Start   time.Duration `json:"start"`
	End     time.Duration `json:"end"`
	Outcome Outcome       `json:"outcome"`
	Error   string        `json:"error,omitempty"`

	If     *Condition    `json:"if,omitempty"`
	Writes []Write       `json:"writes,omitempty"`
	Lease  int64         `json:"leaseID,omitempty"`
	TTL    time.Duration `json:"ttl,omitempty"` // as granted or renewed
	// LeaseGone: the call was refused because its lease was not there.
	LeaseGone bool `json:"leaseGone,omitempty"`
	// Range is the prefix that was read; keys of it that Saw lacks were absent.
	Range string `json:"range,omitempty"`
	// Final: made after the last client ended.
	Final bool `json:"final,omitempty"`

	// Held: the condition was true, or there was none.
	Held     bool   `json:"held,omitempty"`
	Revision int64  `json:"rev,omitempty"`    // of the answer's header
	Member   uint64 `json:"member,omitempty"` // that answered
	// Saw are keys as they were immediately before the call's own writes.
	Saw []Sight `json:"saw,omitempty"`
}

// effective says whether an acknowledged call changed the store.
func (c *Call) effective() bool {
	if c.Outcome != OK || !c.Held {
		return false
	}
	for _, w := range c.Writes {
		if !w.Delete {
			return true
		}
		if s := c.saw(w.Key); s == nil || s.Mod != 0 {
			return true
		}
	}
	return false
}

// sightRevision is the revision of the store that Saw shows.
func (c *Call) sightRevision() int64 {
	if c.effective() {
		return c.Revision - 1
	}
	return c.Revision
}

func (c *Call) saw(key string) *Sight {
	for i := range c.Saw {
		if c.Saw[i].Key == key {
			return &c.Saw[i]
		}
	}
	return nil
}

// object says what a call was about.
func (c *Call) object() string {
	var of []string
	for _, w := range c.Writes {
		if w.Delete {
			of = append(of, w.Key)
		} else {
			of = append(of, w.Key+"="+w.Value)
		}
	}
	switch {
	case len(of) > 0:
	case c.Range != "":
		return c.Range
	case c.Lease != 0:
		return fmt.Sprintf("lease %x", c.Lease)
	case len(c.Saw) == 1:
		return c.Saw[0].Key
	}
	return strings.Join(of, " and ")
}

func (c *Call) String() string {
	return fmt.Sprintf("client %d's %s of %s (%s to %s, %s, revision %d)", c.Client, c.Kind, c.object(),
		since(c.Start), since(c.End), c.Outcome, c.Revision)
}

func since(d time.Duration) string { return fmt.Sprintf("%.3fs", d.Seconds()) }

// Sign is what a watch got.
type Sign string

// The signs.
const (
	Asked    Sign = "asked"    // the client asked for the watch, the first time or again
	Created  Sign = "created"  // the watch stands; what comes is newer than Revision
	Events   Sign = "events"   // changes
	Progress Sign = "progress" // everything up to Revision has come
	Broken   Sign = "broken"   // the watch ended with Error, or was silent for too long
	Ended    Sign = "ended"    // the client wanted no more
)

// Event is one change that a watch told of.
type Event struct {
	Sight
	Delete bool `json:"del,omitempty"`
}

// Delivery is one message to a watch, in the order of arrival.
type Delivery struct {
	Watch  int           `json:"watch"`
	Client int           `json:"client"`
	At     time.Duration `json:"at"`
	Sign   Sign          `json:"sign"`
	// Prefix, From and Lasting belong to Asked. From is zero for "from now". A
	// lasting watch goes on until the end and must get everything.
	Prefix  string `json:"prefix,omitempty"`
	From    int64  `json:"from,omitempty"`
	Lasting bool   `json:"lasting,omitempty"`

	Revision  int64   `json:"rev,omitempty"`
	Events    []Event `json:"events,omitempty"`
	Error     string  `json:"error,omitempty"`
	Compacted int64   `json:"compacted,omitempty"` // the oldest revision left, when that was the error
}

// Note is something else that happened to the run: the clients' endpoints changed,
// or the run could not do what it should.
type Note struct {
	At   time.Duration `json:"at"`
	Text string        `json:"text"`
	// Failed: it belongs to the verdict.
	Failed bool `json:"failed,omitempty"`
}

// Pause is a time in which a member did not run, and kept all it knew.
type Pause struct {
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
}

// History is everything that clients did and were told.
type History struct {
	Seed   uint64
	Began  time.Time
	Prefix string
	// From is the revision before the first call, at which no key of the prefix
	// was there.
	From int64
	// Quit is when the clients were told to end; zero before.
	Quit       time.Duration
	Calls      []Call
	Deliveries []Delivery
	Notes      []Note
	Pauses     []Pause
}

// line is one line of a history's file: the head, or one of the others.
type line struct {
	Head     *head     `json:"head,omitempty"`
	Call     *Call     `json:"call,omitempty"`
	Delivery *Delivery `json:"watch,omitempty"`
	Note     *Note     `json:"note,omitempty"`
	Pause    *Pause    `json:"pause,omitempty"`
}

type head struct {
	Seed   uint64    `json:"seed"`
	Began  time.Time `json:"began"`
	Prefix string    `json:"prefix"`
	From   int64     `json:"from"`

	Quit time.Duration `json:"quit"`
}

// Save writes a history to a file of JSON lines, for looking at a failure and for
// Load.
func (h *History) Save(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(h.Write(f), f.Close())
}

// Write writes JSON lines: the head first, then all else.
func (h *History) Write(w io.Writer) error {
	buffer := bufio.NewWriter(w)
	encoder := json.NewEncoder(buffer)
	err := encoder.Encode(line{Head: &head{h.Seed, h.Began, h.Prefix, h.From, h.Quit}})
	for i := 0; err == nil && i < len(h.Calls); i++ {
		err = encoder.Encode(line{Call: &h.Calls[i]})
	}
	for i := 0; err == nil && i < len(h.Deliveries); i++ {
		err = encoder.Encode(line{Delivery: &h.Deliveries[i]})
	}
	for i := 0; err == nil && i < len(h.Notes); i++ {
		err = encoder.Encode(line{Note: &h.Notes[i]})
	}
	for i := 0; err == nil && i < len(h.Pauses); i++ {
		err = encoder.Encode(line{Pause: &h.Pauses[i]})
	}
	return errors.Join(err, buffer.Flush())
}

// Load reads what Save wrote.
func Load(path string) (*History, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(f)
}

// Read reads what Write wrote.
func Read(r io.Reader) (*History, error) {
	h := &History{}
	decoder := json.NewDecoder(bufio.NewReader(r))
	for n := 1; ; n++ {
		var l line
		switch err := decoder.Decode(&l); {
		case errors.Is(err, io.EOF):
			return h, nil
		case err != nil:
			return nil, fmt.Errorf("line %d of a history: %w", n, err)
		case l.Head != nil:
			h.Seed, h.Began, h.Prefix, h.From, h.Quit = l.Head.Seed, l.Head.Began, l.Head.Prefix, l.Head.From, l.Head.Quit
		case l.Call != nil:
			h.Calls = append(h.Calls, *l.Call)
		case l.Delivery != nil:
			h.Deliveries = append(h.Deliveries, *l.Delivery)
		case l.Note != nil:
			h.Notes = append(h.Notes, *l.Note)
		case l.Pause != nil:
			h.Pauses = append(h.Pauses, *l.Pause)
		}
	}
}
