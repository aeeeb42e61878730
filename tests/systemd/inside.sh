#!/usr/bin/env bash
# Inside a machine that was booted for it by run.sh: the life of the package under systemd, from installation to purge.
set -euo pipefail

say() { echo "good: $*"; }
fail() {
  echo "FOUND: $*"
  systemctl status --no-pager --full rosterd.service 2>&1 | head -20 || true
  journalctl --no-pager -u rosterd.service -n 20 2>&1 || true
  exit 1
}
property() { systemctl show --property "$1" --value rosterd.service; }
# until_ok WHAT COMMAND...: waits until the command succeeds.
until_ok() {
  local what=$1
  shift
  for _ in $(seq 300); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  fail "waited in vain until $what"
}
status_says() { [[ $(property StatusText) == *"$1"* ]]; }
not_failed() { ! status_says "reload failed"; }
restarted() { is NRestarts "$1" && is ActiveState active; }
other_than() { [ "$(property MainPID)" != "$1" ] && is ActiveState active; }
is() { [ "$(property "$1")" = "$2" ]; }
logged() { journalctl --no-pager -o cat -u rosterd.service | grep -F "$1" >/dev/null; }
error_logged() { journalctl --no-pager -o cat -p 3..3 -u rosterd.service | grep -F "refused the connection" >/dev/null; }
other() { setpriv --reuid=4711 --regid=4711 --clear-groups "$@"; }

dpkg -i /pkg/rosterd_*.deb >/dev/null 2>&1 || fail "the package cannot be installed"
systemctl daemon-reload
is ActiveState inactive || fail "it is started by its installation"
[ "$(systemctl is-enabled rosterd.service || true)" = disabled ] || fail "it is enabled by its installation"
[ "$(stat -c %a:%U /etc/rosterd/credentials)" = 700:root ] || fail "others may look at the secrets"
said=$(systemd-analyze verify --man=no rosterd.service 2>&1) || fail "the unit is not good: $said"
[ -z "$said" ] || fail "the unit is not understood in full: $said"
exposure=$(systemd-analyze security --no-pager rosterd.service | sed -n 's/.*Overall exposure level for rosterd.service: \([0-9.]*\).*/\1/p')
[ "$(echo "$exposure" | tr -d .)" -lt 15 ] || fail "its exposure is $exposure"
say "installed, neither started nor enabled, understood in full, exposure $exposure"

# The first steps of the manual, before anything was ever started: whoever looks finds no state, and makes none.
mkdir -m 0700 /tmp/first
cat >/tmp/first/rosterd.toml <<'TOML'
[daemon]
drain = "3s"

[log]
file = { directory = "/var/log/rosterd" }

[sources.okta]
kind      = "okta"
domain    = "http://127.0.0.1:1"
api_token = { credential = "okta-token" }

[targets.jira]
kind = "jira"
url  = "http://127.0.0.1:1"
auth = { token = { credential = "jira-token" } }

[jobs.staff]
source   = "okta"
targets  = ["jira"]
schedule = { every = "2s" }
TOML
echo hunter2-okta >/tmp/first/okta-token
echo hunter2-jira >/tmp/first/jira-token
chmod 0600 /tmp/first/*-token
first() { CREDENTIALS_DIRECTORY=/tmp/first rosterd "$@" --config /tmp/first/rosterd.toml; }
for command in "check --online" plan; do
  # shellcheck disable=SC2086
  said=$(first $command 2>&1) && fail "nobody answers, and $command says that all is well"
  [[ $said == *"refused the connection"* ]] || fail "$command before the first start: $said"
done
first status >/dev/null || fail "status before the first start"
said=$(first sync 2>&1) && fail "sync before the first start has a state"
[[ $said == *"start the systemd unit"* ]] || fail "sync before the first start does not say what to do: $said"
[ ! -e /var/lib/rosterd ] || fail "whoever only looks makes a folder for the state"
say "the first steps work before the first start, and leave nothing"

if systemctl start rosterd.service 2>/dev/null; then fail "it starts without a job"; fi
is ExecMainStatus 78 || fail "without a job it ends with $(property ExecMainStatus)"
sleep 6
is NRestarts 0 || fail "a wrong configuration is tried again and again"
systemctl reset-failed rosterd.service
say "a configuration that is wrong ends it once, with 78"

cp /tmp/first/rosterd.toml /etc/rosterd/rosterd.toml
echo hunter2-okta >/etc/rosterd/credentials/okta-token
chmod 0600 /etc/rosterd/credentials/okta-token
if systemctl start rosterd.service 2>/dev/null; then fail "it starts without a secret that it needs"; fi
is ExecMainStatus 78 || fail "without a secret it ends with $(property ExecMainStatus)"
logged "jira-token" || fail "it does not say which secret is missing"
systemctl reset-failed rosterd.service
echo hunter2-jira >/etc/rosterd/credentials/jira-token
chmod 0600 /etc/rosterd/credentials/jira-token
# The manual's way to run a command by hand. It makes the state file before the daemon ever ran.
export CREDENTIALS_DIRECTORY=/etc/rosterd/credentials
rosterd check >/dev/null || fail "the file is not good"
rosterd sync >/dev/null 2>&1 && fail "nobody answers, and it says that all is well"

systemctl start rosterd.service || fail "it does not start"
is ActiveState active || fail "it is not active"
[[ $(property StatusText) == *staff* ]] || fail "its status is: $(property StatusText)"
main=$(property MainPID)
# By number: only machines with nss-systemd know its name.
user=$(stat -c %u "/proc/$main")
[ "$user" -gt 0 ] || fail "it runs as root"
[ "$(stat -c %u:%a /var/lib/private/rosterd/state.db)" = "$user:600" ] || fail "the state belongs to somebody else"
logged "is ready" || fail "it is not ready"
say "it starts, as user $user, and says: $(property StatusText)"

for file in /etc/rosterd/credentials/okta-token /run/credentials/rosterd.service/okta-token /var/lib/rosterd/state.db "/proc/$main/environ"; do
  if other cat "$file" >/dev/null 2>&1; then fail "others may read $file"; fi
done
# Each thing that is told to somebody: the journal, the log files, the environment.
{
  journalctl --no-pager -o json -u rosterd.service
  cat /var/log/private/rosterd/*
  tr '\0' '\n' <"/proc/$main/environ"
} >/tmp/told
if grep hunter2 /tmp/told >/dev/null; then fail "a secret is told"; fi
if journalctl --no-pager -o cat -u rosterd.service | grep $'\x1b' >/dev/null; then fail "there are escape codes in the journal"; fi
# Each line has its level, and the time only once.
journalctl --no-pager -o cat -p 6..6 -u rosterd.service | grep -E '^ *INFO rosterd .* is ready' >/dev/null || fail "the journal's lines are not well formed"
until_ok "an error is one in the journal too" error_logged
say "secrets and state cannot be read by others, and no secret is told"

# Inside of its own mounts: what it may write to.
inside() { nsenter -t "$main" -m -- setpriv --reuid="$user" --regid="$user" --clear-groups "$@"; }
for place in /etc/rosterd /usr /var/log /tmp/../etc; do
  if inside touch "$place/x" 2>/dev/null; then fail "it can write to $place"; fi
done
say "it can write nowhere but to its own folders"

sed -i 's/every = "2s"/every = "1h"/' /etc/rosterd/rosterd.toml
systemctl reload rosterd.service || fail "it cannot be reloaded"
until_ok "the reload is logged" logged "the configuration was reloaded"
is ActiveState active || fail "it is not active after a reload"
cp /etc/rosterd/rosterd.toml /tmp/good
echo nonsense >>/etc/rosterd/rosterd.toml
systemctl reload rosterd.service || true
until_ok "the failed reload is in the status" status_says "reload failed"
is ActiveState active || fail "a bad reload ended it"
[ "$(property MainPID)" = "$main" ] || fail "a reload started it anew"
cp /tmp/good /etc/rosterd/rosterd.toml
systemctl reload rosterd.service
until_ok "the good file is in force" not_failed
say "reload takes a good file and refuses a bad one"

# A command by hand while the daemon runs, and after it.
rosterd status >/dev/null || true
rosterd release okta >/dev/null 2>&1 || true

kill -KILL "$main"
until_ok "it is started again" restarted 1
say "killed, it is started again"

mkdir -p /run/systemd/system/rosterd.service.d
printf '[Service]\nWatchdogSec=3s\nTimeoutAbortSec=1s\n' >/run/systemd/system/rosterd.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart rosterd.service
sleep 5
is ActiveState active || fail "it is killed though it is well"
main=$(property MainPID)
kill -STOP "$main"
until_ok "the watchdog ends it" other_than "$main"
journalctl --no-pager -u rosterd.service | grep -i "watchdog timeout" >/dev/null || fail "not by the watchdog"
say "hung, it is ended by the watchdog and started again"

# Somebody who takes connections and never answers: the socket is there, and its service does not look at it.
printf '[Socket]\nListenStream=127.0.0.1:9999\n' >/run/systemd/system/slow.socket
printf '[Service]\nExecStart=/bin/sleep infinity\n' >/run/systemd/system/slow.service
systemctl daemon-reload
systemctl start slow.socket || fail "there is no slow system"
cp /etc/rosterd/rosterd.toml /tmp/good
sed -i -e 's/127.0.0.1:1"/127.0.0.1:9999"/' -e 's/every = "1h"/every = "2s"/' /etc/rosterd/rosterd.toml
systemctl reload rosterd.service
until_ok "a job is at work" status_says "running staff"
say "with work in hand it says: $(property StatusText)"
before=$(date +%s)
systemctl stop rosterd.service
[ "$(($(date +%s) - before))" -le 6 ] || fail "it takes too long to stop"
is Result success || fail "it ended with $(property Result)"
logged "stopped" || fail "it did not stop in order"
systemctl stop slow.socket slow.service
rm /run/systemd/system/slow.socket /run/systemd/system/slow.service
systemctl daemon-reload
cp /tmp/good /etc/rosterd/rosterd.toml
rosterd release jira >/dev/null 2>&1 || true
rosterd sync >/dev/null 2>&1 || true
systemctl start rosterd.service || fail "it does not start after a command by hand"
is ActiveState active || fail "it does not run after a command by hand"
user=$(stat -c %u "/proc/$(property MainPID)")
if find /var/lib/private/rosterd -type f ! -uid "$user" | grep . >/dev/null; then fail "a command by hand left files that the daemon cannot write"; fi
say "it stops in order, and commands by hand leave its files its own"

main=$(property MainPID)
dpkg -i /pkg/rosterd_*.deb >/dev/null 2>&1 || fail "it cannot be installed over itself"
is ActiveState active || fail "it does not run after an upgrade"
[ "$(property MainPID)" != "$main" ] || fail "the old version still runs after an upgrade"
grep -q 'every = "1h"' /etc/rosterd/rosterd.toml || fail "an upgrade overwrites the configuration"
dpkg -r rosterd >/dev/null 2>&1 || fail "the package cannot be removed"
if pgrep -x rosterd >/dev/null; then fail "it runs on after its removal"; fi
for file in /var/lib/private/rosterd/state.db /etc/rosterd/rosterd.toml; do
  [ -s "$file" ] || fail "a removal takes $file"
done
dpkg -P rosterd >/dev/null 2>&1 || fail "the package cannot be purged"
left=$(find / -xdev -name '*rosterd*' ! -path '/proc/*' ! -path '/pkg/*' ! -path '/run/systemd/*' ! -path '/var/log/journal/*' ! -path '/tmp/*' 2>/dev/null || true)
[ -z "$left" ] || fail "a purge leaves: $left"
say "upgraded, removed and purged cleanly"
