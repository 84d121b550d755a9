package main

import (
	"context"
	"math"
	"path"

	"google.golang.org/grpc"
)

// changing are the methods of etcd's API that change a cluster, and how many calls of one by an
// attempt have boundaries: keys are put back in thousands of transactions, and the log is moved
// on by thousands of leases.
var changing = map[string]int{
	"MemberAdd": math.MaxInt, "MemberRemove": math.MaxInt, "MemberPromote": math.MaxInt, "MemberUpdate": math.MaxInt,
	"MoveLeader": math.MaxInt, "Downgrade": math.MaxInt,
	"Txn": 2, "LeaseGrant": 2,
}

// etcd passes a boundary after each call that changes a cluster: etcd has done it, or refused,
// and the worker has not heard yet.
func (p *points) etcd(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, request, reply, conn, opts...)
	if name := path.Base(method); changing[name] > 0 {
		p.callUpTo(ctx, changing[name], name)
	}
	return err
}
