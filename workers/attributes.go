package workers

import (
	"context"
	"errors"
	"maps"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// ensureSearchAttributes adds the search attributes that are missing, so that an
// installation needs no step of its own for them. A service that does not let us
// (Temporal Cloud) is only warned about: its people add them there.
func ensureSearchAttributes(ctx context.Context, temporal client.Client, namespace string, log *zap.Logger) error {
	wanted := map[string]enumspb.IndexedValueType{}
	for _, name := range workflows.SearchAttributes() {
		wanted[name] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
	}
	known, err := temporal.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err == nil {
		maps.DeleteFunc(wanted, func(name string, _ enumspb.IndexedValueType) bool {
			_, there := known.CustomAttributes[name]
			return there
		})
		if len(wanted) == 0 {
			return nil
		}
		_, err = temporal.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
			Namespace: namespace, SearchAttributes: wanted,
		})
	}
	var there *serviceerror.AlreadyExists
	var denied *serviceerror.PermissionDenied
	var unknown *serviceerror.Unimplemented
	switch {
	case err == nil, errors.As(err, &there): // two workers at once
		return nil
	case errors.As(err, &denied), errors.As(err, &unknown):
		log.Warn("search attributes cannot be added from here; add them as keywords", zap.Strings("names", workflows.SearchAttributes()))
		return nil
	}
	return fleet.Errorf(fleet.Unavailable, "search attributes of namespace "+namespace, "cannot be added: %w", err)
}
