package etcdadmin

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// A piece gives the blob that etcd's own code reads, however the message came in frames,
// and nothing of a message that is cut short.
func TestPieces(t *testing.T) {
	codec := pieceCodec{encoding.GetCodecV2(grpcproto.Name)}
	blob := bytes.Repeat([]byte("0123456789"), 3000)
	for name, sent := range map[string]*pb.SnapshotResponse{
		"whole":   {Header: &pb.ResponseHeader{ClusterId: 1 << 60, Revision: 7}, RemainingBytes: 1 << 40, Blob: blob, Version: "3.7.0"},
		"bare":    {Blob: blob},
		"no blob": {Header: &pb.ResponseHeader{MemberId: 3}, RemainingBytes: 5, Version: "3.6.0"},
		"empty":   {},
	} {
		t.Run(name, func(t *testing.T) {
			message, err := proto.Marshal(sent)
			require.NoError(t, err)
			for _, size := range []int{1, 7, 16 << 10, len(message) + 1} {
				var p piece
				require.NoError(t, codec.Unmarshal(cut(message, size), &p))
				require.Equal(t, len(sent.GetBlob()), p.left)
				got, err := io.ReadAll(io.LimitReader(&p.rest, int64(p.left)))
				require.NoError(t, err)
				require.True(t, bytes.Equal(sent.GetBlob(), got))
			}
			for end := len(message) - 1; end > 0 && len(sent.GetBlob()) > 0; end -= 1 + end/20 {
				var p piece
				if codec.Unmarshal(cut(message[:end], 16<<10), &p) == nil && p.left > 0 {
					require.Greater(t, end, len(blob), "a blob that is cut short")
				}
			}
		})
	}
}

func cut(message []byte, size int) (data mem.BufferSlice) {
	for len(message) > 0 {
		n := min(size, len(message))
		data = append(data, mem.SliceBuffer(message[:n]))
		message = message[n:]
	}
	return data
}
