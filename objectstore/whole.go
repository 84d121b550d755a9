package objectstore

import (
	"context"
	"io"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// ReadWhole reads a small object whole, of so many bytes at most. Errors: fleet.Lost when it is
// longer, and is not what was written; as of Store.Get.
func ReadWhole(ctx context.Context, s Store, key string, most fleet.Bytes) ([]byte, error) {
	object, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer object.Close()
	text, err := io.ReadAll(io.LimitReader(object, int64(most)+1))
	if err == nil && fleet.Bytes(len(text)) > most {
		err = fleet.Errorf(fleet.Lost, key, "it is longer than any that was ever written")
	}
	return text, err
}
