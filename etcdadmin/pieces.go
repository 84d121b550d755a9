package etcdadmin

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// pieces reads the snapshot that a member streams. The library's own reader is passed by:
// for each 32 KiB it clears a buffer of 1 MiB (the next size that gRPC pools), copies
// three times and hands over to another goroutine, which together cost more than all else
// that is done with a backup. Here the bytes are copied once, from what came from the
// connection to whoever reads.
type pieces struct {
	ctx    context.Context
	stream grpc.ClientStream
	now    piece
}

// openPieces asks for a snapshot and waits for its first piece. It ends with ctx.
func openPieces(ctx context.Context, client *clientv3.Client) (*pieces, error) {
	stream, err := client.ActiveConnection().NewStream(ctx, &pb.Maintenance_ServiceDesc.Streams[0], pb.Maintenance_Snapshot_FullMethodName,
		grpc.ForceCodecV2(pieceCodec{encoding.GetCodecV2(proto.Name)}))
	if err == nil {
		err = stream.SendMsg(&pb.SnapshotRequest{})
	}
	// io.EOF says that the stream broke, and receiving why.
	if err == nil || errors.Is(err, io.EOF) {
		err = stream.CloseSend()
	}
	p := &pieces{ctx: ctx, stream: stream}
	if err == nil {
		err = stream.RecvMsg(&p.now)
	}
	if err != nil {
		return nil, clientv3.ContextError(ctx, err)
	}
	return p, nil
}

// Read gives no more than what is left of one piece.
func (p *pieces) Read(b []byte) (int, error) {
	for p.now.left == 0 {
		if err := p.stream.RecvMsg(&p.now); err != nil {
			return 0, clientv3.ContextError(p.ctx, err)
		}
	}
	n, err := p.now.rest.Read(b[:min(len(b), p.now.left)])
	p.now.left -= n
	return n, err
}

// piece is a SnapshotResponse, of which only the blob is wanted.
type piece struct {
	// rest begins with what is left of the blob.
	rest mem.Reader
	left int
}

// pieceCodec reads pieces, and has everything else encoded by gRPC's own.
type pieceCodec struct{ encoding.CodecV2 }

// Unmarshal keeps the buffers that a piece is in, and does not copy it. Errors: when it is
// no SnapshotResponse.
func (c pieceCodec) Unmarshal(data mem.BufferSlice, into any) error {
	p, is := into.(*piece)
	if !is {
		return c.CodecV2.Unmarshal(data, into)
	}
	p.rest.Reset(data)
	p.left = 0
	for p.rest.Remaining() > 0 {
		tag, err := binary.ReadUvarint(&p.rest)
		if err != nil {
			return err
		}
		value, err := binary.ReadUvarint(&p.rest)
		if err != nil {
			return err
		}
		number, kind := protowire.DecodeTag(tag)
		switch {
		case kind == protowire.VarintType:
			continue
		case kind != protowire.BytesType || value > uint64(p.rest.Remaining()):
			return fmt.Errorf("field %d of a snapshot's response cannot be read", number)
		case number == blobField:
			p.left = int(value)
			return nil
		}
		if _, err := p.rest.Discard(int(value)); err != nil {
			return err
		}
	}
	return nil
}

// blobField is SnapshotResponse.blob in etcd's rpc.proto.
const blobField = 3
