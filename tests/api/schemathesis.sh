#!/usr/bin/env bash
# Asks the running daemon whatever its OpenAPI document allows and forbids, and judges the answers by the document: schemathesis
# against the demo's simulators. Run it from anywhere; ROSTERD_API_SECONDS (60) bounds the asking. Exit code 1: something was found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf '%s\n' "$*"; }
command -v python3 >/dev/null 2>&1 || { say "skipped: the API's document (python3 is not installed)"; exit 0; }

tools="$PWD/target/api-tools"
if ! [ -x "$tools/bin/st" ]; then
  if ! { python3 -m venv "$tools" && "$tools/bin/pip" install -q -r tests/api/requirements.txt; }; then
    rm -rf "$tools"
    say "skipped: the API's document (schemathesis cannot be installed)"
    exit 0
  fi
fi
[ -n "${ROSTERD_API_BUILT:-}" ] || cargo build --quiet --locked --example demo --bin rosterd

work=$(mktemp -d)
started=()
# shellcheck disable=SC2329
finish() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work" "$PWD/.schemathesis"
}
trap finish EXIT

until_said() { # until_said FILE TEXT PID
  for _ in $(seq 1200); do
    if grep -qsF "$2" "$1"; then return; fi
    kill -0 "$3" 2>/dev/null || break
    sleep 0.1
  done
  cat "$1"
  say "it never said: $2"
  exit 1
}

target/debug/examples/demo --up --folder "$work" >"$work/demo" 2>&1 &
started+=($!)
until_said "$work/demo" "Everything stays up" $!

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
token=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
printf '%s' "$token" >"$work/api-token"
sed -i "s#^listen = .*#listen = \"127.0.0.1:$port\"#" "$work/rosterd.toml"
cat >>"$work/rosterd.toml" <<TOML

[daemon.tokens.schemathesis]
secret = { file = "$work/api-token" }
may = "write"
TOML
target/debug/rosterd run --config "$work/rosterd.toml" >"$work/daemon" 2>&1 &
started+=($!)
daemon=$!
until_said "$work/daemon" "is ready" "$daemon"

# Something that is there, so that the answers are more than "unknown".
ROSTERD_API_PLAN=$(target/debug/rosterd status --json --config "$work/rosterd.toml" | python3 -c 'import json, sys; print(json.load(sys.stdin)["staged"][0]["plan"])') ||
  true
[ -n "$ROSTERD_API_PLAN" ] || { say "nothing waits: the demo is not what it was"; exit 1; }
export ROSTERD_API_PLAN

# The phases are bounded in examples and in time, and go the same way each time. Wrong tokens are left to the tests in Rust:
# here they would lock the asker out.
found=0
"$tools/bin/st" --config-file tests/api/schemathesis.toml run "http://127.0.0.1:$port/api/v1/openapi.json" \
  --header "Authorization: Bearer $token" --seed 1 --max-time "${ROSTERD_API_SECONDS:-60}" --phases examples,coverage,fuzzing,stateful \
  --checks all --exclude-checks ignored_auth --generation-with-security-parameters false --generation-allow-x00 true \
  --continue-on-failure --generation-database none --report-dir "$work/report" --no-color || found=$?

if ! kill -0 "$daemon" 2>/dev/null || grep -qE 'panicked|a fault of rosterd itself' "$work/daemon"; then
  cat "$work/daemon"
  say "the daemon did not bear it"
  exit 1
fi
if grep -qF "$token" "$work/daemon"; then
  say "the log tells the token"
  exit 1
fi
target/debug/rosterd journal verify --config "$work/rosterd.toml"
exit "$found"
