#!/bin/sh
# Makes Temporal's two databases, or brings the tables of an older server up to
# date. Setting a schema up again would forget its version, so that is tried only
# where there is none to update.
set -eu
SQL_PASSWORD=$(cat /run/secrets/postgres_password)
export SQL_PASSWORD
schema=${SCHEMA:-/etc/temporal/schema/postgresql/v12}
tool() { database=$1; shift; temporal-sql-tool --plugin postgres12 --ep postgresql -p 5432 -u temporal --db "$database" "$@"; }
update() { tool "$1" update-schema -d "$schema/$2/versioned"; }
prepare() {
    if update "$1" "$2"; then
        return
    fi
    tool "$1" create
    tool "$1" setup-schema -v 0.0
    update "$1" "$2"
}
prepare temporal temporal
prepare temporal_visibility visibility
