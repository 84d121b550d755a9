#!/bin/sh
# Makes the namespace that the workers use, if it is not there.
set -eu
if temporal operator namespace describe --namespace "$NAMESPACE"; then
    exit 0
fi
temporal operator namespace create --namespace "$NAMESPACE" --retention "$RETENTION"
