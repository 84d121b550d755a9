package fleet

import "time"

// ChangesCheck is what reading the changes recorded behind a backup to their last byte showed.
type ChangesCheck struct {
	// Segments is how many were read; NotCopied are those of them that the second store does
	// not have yet.
	Segments  int `json:"segments"`
	NotCopied int `json:"notCopied,omitempty"`
	// Reach is how far those bring the backup that are whole in a store.
	Reach Reach `json:"reach"`
	// Damaged are those that are not whole in a store that is to have them, by their first
	// revision; More so many beyond those that are listed.
	Damaged []DamagedChanges `json:"damaged,omitempty"`
	More    int              `json:"more,omitempty"`
	// Lost are the revisions behind the backup that no restore leads to any more, by revision.
	Lost []LostRevisions `json:"lost,omitempty"`
}

// DamagedChanges is a segment of changes that is missing or altered in one store, or is whole
// in none.
type DamagedChanges struct {
	ID string `json:"id"`
	// First and Last are its revisions, Earliest and Latest when its changes were seen. All
	// but First are zero where nobody can read its manifest.
	First    int64     `json:"first"`
	Last     int64     `json:"last,omitempty"`
	Earliest time.Time `json:"earliest,omitzero"`
	Latest   time.Time `json:"latest,omitzero"`
	// Where is which store's is meant, Store its name. InBoth says that none has it whole.
	Where Where  `json:"where"`
	Store string `json:"store,omitempty"`
	Why   string `json:"why"`
	// Repaired says that it was replaced by the other store's; NotRepaired why it was not,
	// although that was asked for.
	Repaired    bool   `json:"repaired,omitempty"`
	NotRepaired string `json:"notRepaired,omitempty"`
}

// LostRevisions are revisions, one after another, that cannot be restored.
type LostRevisions struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	// After and Before are between which times they were made, as far as it is known.
	After  time.Time `json:"after,omitzero"`
	Before time.Time `json:"before,omitzero"`
	// Healed says that a backup was taken behind them, and what comes after can be restored;
	// else one is needed.
	Healed bool `json:"healed"`
}

// Right says that all changes are whole in each store that is to have them, or were repaired,
// and that each revision behind the backup can be restored.
func (c ChangesCheck) Right() bool {
	for _, d := range c.Damaged {
		if !d.Repaired {
			return false
		}
	}
	return len(c.Lost) == 0
}
