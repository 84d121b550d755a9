package fleet

import (
	"fmt"
	"slices"
	"strings"
)

// KeyRestore is what a RestorePrefixes remembers of its own steps, because no look can
// tell it: what a person approved of, and how far it is.
type KeyRestore struct {
	Compared KeyComparison `json:"compared"`
	// Unread says that it was not compared for real: a forecast goes on from it.
	Unread bool        `json:"unread,omitempty"`
	Done   KeyProgress `json:"done"`
}

// Begun says that something may have been put back already.
func (k *KeyRestore) Begun() bool { return k != nil && (k.Done.Whole || len(k.Done.Through) > 0) }

// KeyComparison is what the keys below some prefixes are in a cluster, compared with what
// they are in a backup, at one revision of the cluster.
type KeyComparison struct {
	// Revision is the cluster's. What clients write after it is not part of it.
	Revision int64 `json:"revision"`
	// Create are keys that only the backup has, Change those that have another value
	// there, Delete those that only the cluster has and that are to be deleted.
	Create int `json:"create"`
	Change int `json:"change"`
	Delete int `json:"delete"`
	// Same are keys that are as in the backup, Stay those that only the cluster has and
	// that stay.
	Same int `json:"same"`
	Stay int `json:"stay"`
	// Leased are those of Create and Change that get a lease.
	Leased int `json:"leased,omitempty"`
	// Size is what is to be written, keys and values.
	Size Bytes `json:"size"`
}

// Todo is how many keys are to be written or deleted.
func (c KeyComparison) Todo() int { return c.Create + c.Change + c.Delete }

// String says it for a person: "3 keys are created, 1 is changed, 2 are deleted; …".
func (c KeyComparison) String() string {
	verb := func(n int, what string) string {
		if n == 1 {
			return "1 key is " + what
		}
		return fmt.Sprintf("%d keys are %s", n, what)
	}
	words := []string{verb(c.Create, "created"), verb(c.Change, "put back to what they were"), verb(c.Delete, "deleted")}
	if c.Change == 1 {
		words[1] = "1 key is put back to what it was"
	}
	text := strings.Join(words, ", ")
	if c.Stay > 0 {
		text += fmt.Sprintf("; %d that the backup does not have stay", c.Stay)
	}
	return text + fmt.Sprintf("; %d are as in the backup (compared at revision %d)", c.Same, c.Revision)
}

// KeyProgress is how far keys are put back.
type KeyProgress struct {
	// Through is the key up to which all is done, in the order of keys.
	Through []byte `json:"through,omitempty"`
	// Whole says that all is done.
	Whole bool `json:"whole,omitempty"`
	// Put and Deleted are how many keys were; Left those that a client wrote since the
	// comparison and that were left as they are, and LeftKeys the first few of them.
	Put      int      `json:"put"`
	Deleted  int      `json:"deleted"`
	Left     int      `json:"left"`
	LeftKeys []string `json:"leftKeys,omitempty"`
}

// maxLeftKeys is how many keys are named that were left: enough to see which they are.
const maxLeftKeys = 10

// Leave notes a key that is left to the client that wrote it.
func (p *KeyProgress) Leave(key []byte) {
	p.Left++
	if len(p.LeftKeys) < maxLeftKeys {
		p.LeftKeys = append(p.LeftKeys, fmt.Sprintf("%.80q", key))
	}
}

// String says it for a person.
func (p KeyProgress) String() string {
	text := fmt.Sprintf("%d keys put, %d deleted", p.Put, p.Deleted)
	if p.Left > 0 {
		text += fmt.Sprintf(", %d left that clients wrote since: %s", p.Left, strings.Join(p.LeftKeys, ", "))
		if p.Left > len(p.LeftKeys) {
			text += ", …"
		}
	}
	return text
}

// Prefixes gives prefixes in order, without those that another one covers.
func Prefixes(all []string) []string {
	sorted := slices.Sorted(slices.Values(all))
	var kept []string
	for _, p := range sorted {
		if len(kept) == 0 || !strings.HasPrefix(p, kept[len(kept)-1]) {
			kept = append(kept, p)
		}
	}
	return kept
}
