#!/bin/sh
# Starts versitygw with the credentials that the workers have, and one bucket.
# It takes credentials from its environment only, never from a file.
set -eu
credentials=${CREDENTIALS:-/run/secrets/s3_credentials}
value() { sed -n "s/^$1 *= *//p" "$credentials"; }
ROOT_ACCESS_KEY=$(value aws_access_key_id)
ROOT_SECRET_KEY=$(value aws_secret_access_key)
if [ -z "$ROOT_ACCESS_KEY" ] || [ -z "$ROOT_SECRET_KEY" ]; then
    echo "start.sh: $credentials does not hold aws_access_key_id and aws_secret_access_key" >&2
    exit 1
fi
export ROOT_ACCESS_KEY ROOT_SECRET_KEY
data=${DATA:-/data}
mkdir -p "$data/$BUCKET" # a directory is a bucket
exec versitygw --port "${LISTEN:-0.0.0.0:7070}" --health /health posix "$data"
