#!/usr/bin/env bash
# The package on a real systemd: for each release of Debian, a machine of its own is booted in a container, the package is
# installed, and what tests/systemd/inside.sh holds is tried. By hand, as root; needs debootstrap, systemd-nspawn, script, nsenter.
# A release that cannot be had or does not boot here is skipped; where none is left the exit code is 1.
#
#   deploy/package.sh && tests/systemd/run.sh                       247, 252 and 257
#   tests/systemd/run.sh bookworm                                   one of them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

for tool in debootstrap systemd-nspawn script nsenter; do
  command -v "$tool" >/dev/null || { echo "$tool is not installed: nothing was tried" >&2; exit 1; }
done
package=$(find target/dist -maxdepth 1 -name 'rosterd_*.deb' | head -1)
[ -n "$package" ] || { echo "there is no package: run deploy/package.sh" >&2; exit 1; }

roots=${ROSTERD_TEST_ROOTS:-target/systemd}
run=$(mktemp -d /run/rosterd-test.XXXXXX)
leader=
cleanup() {
  if [ -n "$leader" ]; then
    nsenter -t "$leader" -a systemctl poweroff >/dev/null 2>&1 || true
    for _ in $(seq 100); do kill -0 "$leader" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$leader" 2>/dev/null || true
    leader=
  fi
  # Where no machine came of it too: what boot has started leads a group of its own, and so does what `script` runs on its terminal.
  # The machine dies with systemd-nspawn, which is in the latter.
  if [ -s "$run/script" ]; then
    script=$(cat "$run/script")
    for child in $(pgrep -P "$script" || true) "$script"; do kill -KILL -- "-$child" 2>/dev/null || true; done
  fi
  rm -f "$run/script"
}
trap 'cleanup; rm -rf "$run"' EXIT

# boot ROOT: sets leader. nspawn shows nothing without a terminal, so it gets one; what it writes to is thrown away.
boot() {
  local root=$1 group="/sys/fs/cgroup/unified/rosterd-test-$$" child grandchild
  [ -d /sys/fs/cgroup/unified ] || group=
  rm -f "$run/script"
  mkdir -p "$run/pkg"
  cp "$package" tests/systemd/inside.sh "$run/pkg/"
  [ -z "$group" ] || mkdir -p "$group"
  # shellcheck disable=SC2016
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 setsid bash -c '
    [ -z "$3" ] || echo $$ >"$3/cgroup.procs"
    echo $$ >"$1/script"
    exec script -qefc "exec systemd-nspawn -D $2 -M rosterd-test-$4 --volatile=overlay --register=no --keep-unit --private-network --link-journal=no --bind-ro=$1/pkg:/pkg -b systemd.log_target=journal" "$1/console"
  ' boot "$run" "$root" "$group" "$$" </dev/null >/dev/null 2>&1 &
  for _ in $(seq 200); do
    sleep 0.1
    [ -s "$run/script" ] || continue
    for child in $(pgrep -P "$(cat "$run/script")"); do
      for grandchild in $(pgrep -P "$child"); do
        if [ "$(cat "/proc/$grandchild/comm")" = systemd ]; then leader=$grandchild; break 3; fi
      done
    done
  done
  [ -n "$leader" ] || { cat "$run/console"; return 1; }
  for _ in $(seq 300); do
    case $(nsenter -t "$leader" -a systemctl is-system-running 2>/dev/null || true) in running | degraded) return ;; esac
    sleep 0.1
  done
  return 1
}

failed=0
booted=0
for suite in "${@:-bullseye bookworm trixie}"; do
  for release in $suite; do
    root=$roots/$release
    if ! [ -d "$root/usr" ]; then
      mkdir -p "$roots"
      debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps,util-linux "$release" "$root" >"$run/debootstrap" ||
        { tail -3 "$run/debootstrap"; rm -rf "$root"; echo "skipped: $release cannot be had"; continue; }
    fi
    if ! boot "$(realpath "$root")"; then
      echo "skipped: $release does not boot here"
      cleanup
      continue
    fi
    booted=$((booted + 1))
    echo "== $release: $(nsenter -t "$leader" -a systemctl --version | head -1)"
    nsenter -t "$leader" -a bash /pkg/inside.sh || failed=$((failed + 1))
    cleanup
  done
done
echo "$booted booted, $failed failed"
# What was not tried has not passed.
[ "$booted" -gt 0 ] || { echo "none of them booted here" >&2; exit 1; }
[ "$failed" -eq 0 ]
