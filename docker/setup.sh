#!/bin/sh
# Makes what the installation keeps secret, in docker/secrets. What is there
# already is left as it is. Only the fleet's key needs docker.
set -eu
cd "$(dirname "$0")/.."
secrets=$PWD/docker/secrets
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
# Containers read the files as users of their own, so the directory is what keeps
# other people of this machine out.
mkdir -p "$secrets"
chmod 0700 "$secrets"
for name in postgres_password grafana_password; do
    if [ ! -e "$secrets/$name" ]; then
        random >"$secrets/$name"
        chmod 0444 "$secrets/$name"
    fi
done
if [ ! -e "$secrets/s3_credentials" ]; then
    printf '[default]\naws_access_key_id = flotilla\naws_secret_access_key = %s\n' "$(random)" >"$secrets/s3_credentials"
    chmod 0444 "$secrets/s3_credentials"
fi
# The worker refuses a key that anybody but its own user can read.
if [ ! -e "$secrets/fleet_key" ]; then
    docker compose build worker
    docker run --rm --user 0 --entrypoint /bin/sh -v "$secrets:/secrets" flotilla:local \
        -c 'flotilla-fleetkey /secrets/fleet_key && chown flotilla /secrets/fleet_key'
fi
echo "Keep a copy of docker/secrets/fleet_key elsewhere: without it no snapshot and no authority can be opened."
