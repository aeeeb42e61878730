#!/usr/bin/env bash
# Runs an image of buildah's local store as Kubernetes would: its own root, read-only, as its own user, without capabilities, with no
# network but loopback. Says what it found; exit code 1: something is wrong. As root.
#
#   deploy/smoke.sh localhost/rosterd:0.1.0
set -euo pipefail

image=$1
work=$(mktemp -d)
container=$(buildah from "$image")
root=$(buildah mount "$container")
daemon=
cleanup() {
  if [ -n "$daemon" ]; then kill -KILL "$daemon" 2>/dev/null || true; fi
  buildah umount "$container" >/dev/null
  buildah rm "$container" >/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
say() { echo "good: $*"; }
fail() {
  echo "FOUND: $*" >&2
  [ ! -s "$work/err" ] || sed 's/^/  /' "$work/err" >&2
  exit 1
}

files=$(cd "$root" && find . ! -type d | sort | tr '\n' ' ')
[ "$files" = "./etc/group ./etc/passwd ./rosterd " ] || fail "there is more in the image than the binary: $files"
say "the image holds $files"
user=$(buildah inspect --type image --format '{{.OCIv1.Config.User}}' "$image")
[ "$user" = 65532:65532 ] || fail "the image runs as '$user'"
owner=$(stat -c %u:%g "$root/var/lib/rosterd")
[ "$owner" = "$user" ] || fail "/var/lib/rosterd belongs to $owner"
say "it runs as $user, and only /var/lib/rosterd belongs to that"

# What a pod mounts: configuration, secrets, state.
mkdir "$work/etc" "$work/credentials" "$work/state"
cat >"$work/etc/rosterd.toml" <<'TOML'
[daemon]
listen   = "0.0.0.0:9640"
token    = { credential = "http-token" }
timezone = "Europe/Berlin"
watch    = "1s"

[sources.okta]
kind      = "okta"
domain    = "https://127.0.0.1:1"
api_token = { credential = "okta-token" }

[targets.jira]
kind = "jira"
url  = "https://127.0.0.1:1"
auth = { token = { credential = "jira-token" } }

[jobs.staff]
source   = "okta"
targets  = ["jira"]
schedule = { every = "daily", at = "06:30", timezone = "America/New_York" }
TOML
for secret in http-token okta-token jira-token; do echo "secret-$secret-of-thirty-two-characters" >"$work/credentials/$secret"; done
chown -R "$user" "$work/state" "$work/credentials"
chmod -R go= "$work/credentials"

# inside COMMAND...: as in a pod. The process becomes number 1 of its own.
cp -a "$root" "$work/root"
mkdir -p "$work/root/etc/rosterd" "$work/root/run/secrets/rosterd" "$work/root/proc"
cat >"$work/inside" <<'INSIDE'
set -eu
work=$1 user=$2
shift 2
ip link set lo up
mount --bind "$work/root" "$work/root"
mount --bind -o ro "$work/etc" "$work/root/etc/rosterd"
mount --bind -o ro "$work/credentials" "$work/root/run/secrets/rosterd"
mount --bind "$work/state" "$work/root/var/lib/rosterd"
mount -t proc proc "$work/root/proc"
mount -o remount,bind,ro "$work/root"
exec env -i CREDENTIALS_DIRECTORY=/run/secrets/rosterd /usr/bin/setpriv --no-new-privs \
  /usr/sbin/chroot --userspec="$user" --groups= "$work/root" "$@"
INSIDE
inside() {
  unshare --mount --net --pid --fork --kill-child bash "$work/inside" "$work" "$user" "$@"
}
# expect CODE TEXT COMMAND...: the command ends so, and says that.
expect() {
  local code=$1 text=$2 ended=0
  shift 2
  inside "$@" >"$work/out" 2>"$work/err" || ended=$?
  [ "$ended" = "$code" ] || fail "$* ended with $ended instead of $code"
  grep -qF "$text" "$work/out" "$work/err" || fail "$* does not say: $text"
  say "$* says: $text"
}

expect 0 "rosterd ${image##*:}" /rosterd --version
expect 127 "No such file" /bin/sh
expect 0 "is good: 1 source, 1 target, 1 job" /rosterd check
# The names of authorities and zones are compiled in: a client is built, and a zone is known, where there is no file of either.
expect 69 "it refused the connection" /rosterd check --online

inside /rosterd run >"$work/out" 2>"$work/err" &
shell=$!
until_said() { # until_said TEXT
  for _ in $(seq 300); do
    if grep -qF "$1" "$work/err"; then return; fi
    kill -0 "$shell" 2>/dev/null || fail "the daemon ended before it said: $1"
    sleep 0.1
  done
  fail "the daemon does not say: $1"
}
until_said "is ready"
daemon=$shell
until [ "$(cat "/proc/$daemon/comm")" = rosterd ]; do daemon=$(pgrep -P "$daemon"); done
ask() { # ask PATH [HEADER]
  local request
  request=$(printf 'GET %s HTTP/1.1\r\nHost: rosterd\r\n%sConnection: close\r\n\r\n.' "$1" "${2:+$2$'\r\n'}")
  # shellcheck disable=SC2016
  nsenter -t "$daemon" -n bash -c 'exec 3<>/dev/tcp/127.0.0.1/9640; printf %s "${1%.}" >&3; cat <&3' ask "$request"
}
says() { # says TEXT COMMAND...: to the end, since a pipe that is shut early is a failure
  local text=$1
  shift
  "$@" | grep -F "$text" >/dev/null
}
says "200 OK" ask /livez || fail "/livez is not well"
# Okta cannot be reached from here; nothing has been due yet.
says "200 OK" ask /readyz || fail "/readyz is not ready before anything was due"
says "store ok" ask /readyz || fail "/readyz does not find the store"
says "no run has been due since the start" ask /readyz || fail "/readyz does not say that the source was not read"
says "401 Unauthorized" ask /metrics || fail "metrics are told without a token"
says "rosterd_build_info" ask /metrics "Authorization: Bearer $(cat "$work/credentials/http-token")" || fail "there are no metrics"
says "401 Unauthorized" ask /api/v1/status || fail "the status is told without a token"
says '"next":"' ask /api/v1/status "Authorization: Bearer $(cat "$work/credentials/http-token")" || fail "the status does not know the next run"
say "the daemon is alive, ready, and tells its status for the token only"

grep -q "^Uid:.65532.65532" "/proc/$daemon/status" || fail "the daemon runs as somebody else"
grep -q "^CapEff:.0000000000000000" "/proc/$daemon/status" || fail "the daemon has capabilities"
say "it has no capability"

sed -i 's/06:30/07:30/' "$work/etc/rosterd.toml"
until_said "the configuration was reloaded"
say "a changed file is noticed"
kill -TERM "$daemon"
ended=0
wait "$shell" || ended=$?
daemon=
[ "$ended" = 0 ] || fail "the daemon ended with $ended"
grep -qF "stopped" "$work/err" || fail "the daemon did not stop in order"
[ "$(stat -c %a "$work/state/state.db")" = 600 ] || fail "others may read the state"
say "it stops in order, and its state is its own"
