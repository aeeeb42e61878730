#!/usr/bin/env bash
# The manifests as another program reads them: podman plays what kustomize renders, with the image of deploy/image.sh. It is no
# cluster (probes and policies are not enforced), but volumes, secrets, user, limits and read-only root are real. By hand, as root;
# needs kubectl, podman, runc, catatonit.
#
#   deploy/image.sh && tests/kubernetes/run.sh       exit code 77: a tool is missing, and nothing was tried
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

for tool in kubectl podman runc catatonit curl; do
  command -v "$tool" >/dev/null || { echo "$tool is not installed: nothing was tried" >&2; exit 77; }
done
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
work=$(mktemp -d)
# A store of its own, so that nothing of the machine's is touched; limits that a container within a container may set.
cat >"$work/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
export CONTAINERS_CONF=$work/containers.conf
pod() { podman --log-level=error --root "$work/store" --runroot "$work/run" "$@"; }
cleanup() {
  (cd "$work" && pod kube down play.yaml >/dev/null 2>&1) || true
  pod system reset --force >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
say() { echo "good: $*"; }
fail() {
  echo "FOUND: $*"
  pod logs rosterd-pod-0-rosterd 2>&1 | tail -20 || true
  exit 1
}
says() { # says TEXT COMMAND...
  local text=$1
  shift
  "$@" | grep -F "$text" >/dev/null
}

pod pull --quiet "oci-archive:target/dist/rosterd-$version.oci.tar" >"$work/id" || fail "there is no image: run deploy/image.sh"
pod tag "$(tail -1 "$work/id")" "localhost/rosterd:$version"

# podman 4 does not undo the encoding of a mounted secret: this is one either way, and no two are alike.
secret_of() { printf '%s-of-thirty-two-characters-and-more' "$1" | base64 -w0; }
{
  printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: rosterd-credentials\ndata:\n'
  grep -o 'credential = "[a-z-]*"' deploy/kubernetes/base/rosterd.toml | cut -d'"' -f2 | sort -u | while read -r name; do
    echo "  $name: $(secret_of "$name")"
  done
  echo ---
  kubectl kustomize deploy/kubernetes/overlays/sqlite | sed "s#image: rosterd:#image: localhost/rosterd:#"
} >"$work/play.yaml"

cd "$work"
pod kube play --build=false play.yaml >/dev/null 2>"$work/said" || fail "it cannot be played: $(cat "$work/said")"
for _ in $(seq 100); do
  if curl -s -m 2 http://127.0.0.1:9640/readyz | grep -F "schedule ok" >/dev/null; then break; fi
  sleep 0.1
done
says alive curl -fs -m 5 http://127.0.0.1:9640/livez || fail "it is not alive"
# No Okta is there, and nothing has been due yet.
says "store ok" curl -s -m 5 http://127.0.0.1:9640/readyz || fail "it does not find its store"
says "no run has been due since the start" curl -s -m 5 http://127.0.0.1:9640/readyz || fail "it does not say that its source was not read"
[ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' http://127.0.0.1:9640/api/v1/status)" = 401 ] || fail "the status is told without a token"
# told TEXT NAME PATH: with the token of that name the answer holds that.
told() {
  local try
  for try in "$(secret_of "$2")" "$(secret_of "$2" | base64 -d)"; do
    if says "$1" curl -s -m 5 -H "Authorization: Bearer $try" "http://127.0.0.1:9640$3"; then return; fi
  done
  return 1
}
told '"ready":true' http-token /api/v1/status || fail "the status is not told for the token"
told rosterd_build_info metrics-token /metrics || fail "the metrics are not told for Prometheus's token"
if told '"ready":true' metrics-token /api/v1/status; then fail "the status is told for Prometheus's token"; fi
say "alive, ready but for its source; the status is told for the one token only, and metrics for that of Prometheus"

about=$(pod inspect rosterd-pod-0-rosterd --format '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Memory}} {{.EffectiveCaps}} {{.Config.User}}')
[ "$about" = "true 536870912 [] 65532:65532" ] || fail "it runs otherwise than the manifests say: $about"
says staff pod exec rosterd-pod-0-rosterd /rosterd status || fail "a command beside the daemon does not run"
say "read-only root, 512 MiB, no capability, user 65532; a command runs beside the daemon"

pod stop --time 45 rosterd-pod-0-rosterd >/dev/null
[ "$(pod inspect rosterd-pod-0-rosterd --format '{{.State.ExitCode}}')" = 0 ] || fail "it does not stop in order"
say "it stops in order"
