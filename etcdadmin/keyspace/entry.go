package keyspace

// entry is what the facts about a store need of one revision of a key.
type entry struct {
	at   revision
	key  [2]uint64 // its hashes
	sum  uint32    // what it adds to etcd's hash: its CRC-32
	size uint32    // of as many bytes
}

// entrySize is how long an entry is in a record.
const entrySize = 40

// buried marks a tombstone in a size, which is below mostRun.
const buried = 1 << 31

func (e entry) append(to []byte) []byte {
	size := e.size
	if e.at.tombstone {
		size |= buried
	}
	to = order.AppendUint64(order.AppendUint64(to, uint64(e.at.main)), uint64(e.at.sub))
	to = order.AppendUint64(order.AppendUint64(to, e.key[0]), e.key[1])
	return order.AppendUint32(order.AppendUint32(to, e.sum), size)
}

func parseEntry(b []byte) entry {
	size := order.Uint32(b[36:])
	return entry{
		at:  revision{int64(order.Uint64(b)), int64(order.Uint64(b[8:])), size&buried != 0},
		key: [2]uint64{order.Uint64(b[16:]), order.Uint64(b[24:])},
		sum: order.Uint32(b[32:]), size: size &^ buried,
	}
}
