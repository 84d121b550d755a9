#!/usr/bin/env bash
# Shows Flotilla on this machine, with its real commands: a cluster is planned,
# created, used, moved while it is written to, and taken down, and a creation
# survives kill -9 of its worker.
# It starts a control plane of its own in a directory of its own, and leaves nothing.
# Run it through make demo, which builds what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
export PATH="$root/bin:$PATH"

# Another control plane that the user's shell points at must not see any of this.
for name in $(compgen -e | grep -E '^(TEMPORAL_|FLOTILLA_|ETCDCTL_)' || true); do
  case "$name" in FLOTILLA_CACHE) ;; *) unset "$name" ;; esac
done
export TEMPORAL_CONFIG_FILE=/dev/null

work="$(mktemp -d "${TMPDIR:-/tmp}/flotilla-demo.XXXXXX")"
export XDG_STATE_HOME="$work/state"
cd "$work"
cp "$root/docs/examples/orders.yaml" orders.yaml
sed 's/^name: orders/name: payments/' orders.yaml >payments.yaml

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' off=$'\e[0m'; else bold='' dim='' red='' green='' off=''; fi
scene="starting"
say() { printf '%s\n' "$*"; }
scene() { scene="$*"; printf '\n%s── %s%s\n' "$bold" "$*" "$off"; }
fail() { say "${red}$*${off}" >&2; exit 1; }
# show prints a command as a person would type it, and runs it.
show() { printf '\n%s$ %s%s\n' "$dim" "$*" "$off"; "$@"; }

finish() {
  code=$?
  trap - EXIT INT TERM
  [ -z "${creating:-}" ] || kill "$creating" 2>/dev/null || true
  [ -z "${writer:-}" ] || kill "$writer" 2>/dev/null || true
  if [ "$code" -ne 0 ]; then
    say "${red}The demo failed in the scene: ${scene}${off}" >&2
    for log in worker temporal dev; do
      if [ -s ".flotilla/logs/$log.log" ]; then
        say "--- the end of $log.log" >&2
        tail -n 15 ".flotilla/logs/$log.log" >&2
      fi
    done
  fi
  if [ -e .flotilla/dev.json ]; then
    flotilla dev reset --yes >reset.log 2>&1 || { cat reset.log >&2; say "what the demo made is in $work" >&2; exit 1; }
  fi
  cd "$root"
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# hosts COUNT CLUSTER: how many hosts there must be of a cluster, right now.
hosts() {
  local found
  found="$(flotilla dev status -o yaml | grep -c "^ *flotilla:cluster: $2\$" || true)"
  [ "$found" = "$1" ] || fail "$2 has $found hosts, not $1"
}

begun="$SECONDS"
say "${bold}Flotilla: etcd clusters as durable workflows.${off}"

scene "A control plane on this machine: Temporal, an object store, one worker"
show flotilla dev --detach
data="$(pwd -P)/.flotilla"
etcdctl="$(flotilla dev tool etcdctl)"
etcdctl() { "$etcdctl" "$@"; }

scene "What would happen, before it happens"
show flotilla plan -f orders.yaml

scene "A cluster of three members, with TLS of its own"
show flotilla create -f orders.yaml --timeout 90s
hosts 3 orders
show flotilla get clusters

scene "Used with stock etcdctl, over mutual TLS"
printf '\n%s$ eval "$(flotilla env orders)"%s\n' "$dim" "$off"
eval "$(flotilla env orders)"
show etcdctl put hello world
show etcdctl get hello
[ "$(etcdctl get hello --print-value-only)" = world ] || fail "the value that was written did not come back"
show etcdctl member list -w table

scene "A second cluster, and kill -9 of the worker in the middle of creating it"
printf '\n%s$ flotilla create -f payments.yaml%s\n' "$dim" "$off"
flotilla create -f payments.yaml --timeout 90s &
creating=$!
# Hosts are bought and prepared then: in the middle of it, by what can be seen.
for _ in $(seq 200); do
  steps="$(flotilla describe payments -o json 2>/dev/null || true)"
  found="$(flotilla dev status -o yaml | grep -c '^ *flotilla:cluster: payments$' || true)"
  [ "$found" -lt 1 ] || break
  sleep 0.05
done
[ -n "$steps" ] || fail "payments was never seen"
kill -0 "$creating" 2>/dev/null || fail "payments was created before its worker could be killed"
killed="$(flotilla dev kill-worker)"
[ -t 2 ] || say "${red}$killed${off}"
wait "$creating" || fail "the creation did not survive its worker"
creating=""
[ ! -t 2 ] || say "${red}$killed, and the creation went on:${off}"
show flotilla get clusters
hosts 3 payments
say "${green}payments has exactly 3 hosts: nothing was bought twice.${off}"

scene "A member moves to a new host while somebody writes to orders all the time"
writing="$work/writing"
: >"$writing"
( # until the file is gone; every write that fails is told
  n=0
  while [ -e "$writing" ]; do
    n=$((n + 1))
    etcdctl put "moving/$n" "$n" >/dev/null 2>>"$work/failed-writes" || echo "write $n failed" >>"$work/failed-writes"
    echo "$n" >"$work/written"
  done
) &
writer=$!
show flotilla migrate orders --member orders-1 --timeout 180s
rm -f "$writing"
wait "$writer"
[ ! -s "$work/failed-writes" ] || { cat "$work/failed-writes" >&2; fail "a write failed while the member moved"; }
eval "$(flotilla env orders)"
show etcdctl member list -w table
[ "$(etcdctl get --prefix moving/ --keys-only | grep -c .)" = "$(cat "$work/written")" ] || fail "a write is missing"
hosts 3 orders
say "${green}$(cat "$work/written") writes meanwhile, and not one failed or is missing.${off}"

scene "Taken down: a last snapshot, restored to see that it is good, and then nothing is left"
show flotilla plan decommission orders
show flotilla decommission orders --yes --timeout 90s
show flotilla decommission payments --yes --timeout 90s
hosts 0 orders
hosts 0 payments
show flotilla get clusters
show flotilla operations
left="$(find "$data/local/disks" -mindepth 2 -maxdepth 2 -name data 2>/dev/null || true)"
[ -z "$left" ] || fail "disks are left: $left"
# Every process of a host names the directory of the hosts in its environment.
left=""
if [ -r /proc/self/environ ]; then
  left="$(grep -lF "=$data/local" /proc/[0-9]*/environ 2>/dev/null || true)"
else
  left="$(ps -AwwE -o pid=,command= 2>/dev/null | grep -F "=$data/local" | grep -v grep || true)"
fi
[ -z "$left" ] || fail "processes are left: $left"
[ -n "$(find "$data/objects/snapshots/orders" -type f 2>/dev/null)" ] || fail "the final snapshot of orders is missing"
say "${green}No host, no disk and no process is left; the final snapshots are.${off}"

scene "Stopping everything"
show flotilla dev down
say ""
say "${green}That was Flotilla, in $((SECONDS - begun)) seconds.${off} Yours to try: flotilla dev"
