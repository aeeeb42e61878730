#!/usr/bin/env bash
# Judges the files of systemd/ and deploy/ by the tools that read them in earnest. What is not installed is skipped, and said so.
# Run it from anywhere. Exit code 1: something was found.
#
#   deploy/check.sh            what CI and everybody runs
#   deploy/check.sh --strict   for a release: what was skipped has not passed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

strict=no
for argument in "$@"; do
  case $argument in
    --strict) strict=yes ;;
    *) echo "usage: deploy/check.sh [--strict]" >&2; exit 64 ;;
  esac
done

# What .ci/run has unpacked is as good as what is installed.
for tools in target/ci-tools/bin target/ci-tools/prometheus/usr/bin; do
  if [ -d "$tools" ]; then PATH=$PWD/$tools:$PATH; fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
skipped=0

have() { # have TOOL WHAT
  command -v "$1" >/dev/null && return
  echo "skipped: $2 ($1 is not installed)"
  skipped=$((skipped + 1))
  return 1
}

judge() { # judge WHAT COMMAND...: good only if it succeeds
  local what=$1
  shift
  if "$@" >"$work/said" 2>&1; then
    echo "good: $what"
  else
    echo "FOUND: $what"
    sed 's/^/  /' "$work/said"
    failed=$((failed + 1))
  fi
}

silent() { # silent COMMAND...: fails if anything is said, since systemd ignores what it does not know and goes on
  local said
  said=$("$@" 2>&1) || { echo "$said"; return 1; }
  [ -z "$said" ] || { echo "$said"; return 1; }
}

if have systemd-analyze "the unit"; then
  # The daemon itself need not be installed where this is run.
  sed 's#^ExecStart=/usr/bin/rosterd.*#ExecStart=/bin/true#' systemd/rosterd.service >"$work/rosterd.service"
  judge "the unit is understood in full" silent systemd-analyze verify --man=no "$work/rosterd.service"
  # Since 250; before, only the running system's units could be rated.
  if systemd-analyze security --help | grep -q -- --offline; then
    judge "the unit's exposure is below 1.5" systemd-analyze security --offline=true --threshold=15 --no-pager "$work/rosterd.service"
  else
    echo "skipped: the unit's exposure (this systemd-analyze rates no files)"
    skipped=$((skipped + 1))
  fi
fi

scripts=(deploy/*.sh deploy/debian/* tests/{systemd,kubernetes,api}/*.sh)
for script in "${scripts[@]}"; do
  judge "$script is a script" bash -n "$script"
done
if have shellcheck "the scripts' pitfalls"; then
  judge "the scripts have no pitfalls that are known" shellcheck "${scripts[@]}"
fi

if have hadolint "the Dockerfile"; then
  judge "the Dockerfile" hadolint deploy/Dockerfile
fi

# A policy that is always kept is none.
if have python3 "the policy itself"; then
  if python3 -c 'import yaml' 2>/dev/null; then
    judge "the policy finds what is against it" python3 deploy/policy.py --try
  else
    echo "skipped: the policy itself (PyYAML is not installed)"
    skipped=$((skipped + 1))
  fi
fi

if have kubectl "the manifests"; then
  for overlay in deploy/kubernetes/overlays/*/; do
    name=$(basename "$overlay")
    judge "overlay $name is rendered" kubectl kustomize -o "$work/$name.yaml" "$overlay"
    [ -s "$work/$name.yaml" ] || continue
    if have kubernetes-validate "overlay $name against the schema"; then
      judge "overlay $name fits the schema" kubernetes-validate --strict --quiet "$work/$name.yaml"
    fi
    if have python3 "overlay $name against the policy"; then
      if python3 -c 'import yaml' 2>/dev/null; then
        judge "overlay $name keeps the policy" python3 deploy/policy.py "$work/$name.yaml"
      else
        echo "skipped: overlay $name against the policy (PyYAML is not installed)"
        skipped=$((skipped + 1))
      fi
    fi
  done
  judge "the copy of the state is rendered" kubectl kustomize -o "$work/copy.yaml" deploy/kubernetes/copy
  if [ -s "$work/copy.yaml" ] && have kubernetes-validate "the copy of the state against the schema"; then
    judge "the copy of the state fits the schema" kubernetes-validate --strict --quiet "$work/copy.yaml"
  fi
  # An overlay that takes the component in, as somebody would write it. Of the operator's own kinds there is no schema here.
  mkdir "$work/monitored"
  cat >"$work/monitored/kustomization.yaml" <<KUSTOMIZATION
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: rosterd
resources:
  - $(realpath --relative-to="$work/monitored" deploy/kubernetes/overlays/sqlite)
components:
  - $(realpath --relative-to="$work/monitored" deploy/kubernetes/components/monitoring)
KUSTOMIZATION
  judge "an overlay with the monitoring component is rendered" kubectl kustomize -o "$work/monitored.yaml" "$work/monitored"
  for kind in ServiceMonitor PrometheusRule; do
    judge "it holds a $kind" grep -qx "kind: $kind" "$work/monitored.yaml"
  done
fi

if have promtool "the alerts"; then
  judge "the alert rules are understood" promtool check rules deploy/monitoring/rules.yaml
  judge "the alerts come when they should, and not otherwise" promtool test rules deploy/monitoring/rules_test.yaml
fi
if have python3 "the dashboard"; then
  judge "the dashboard is JSON" python3 -m json.tool deploy/monitoring/dashboard.json
fi

echo "$failed found, $skipped skipped"
if [ "$strict" = yes ] && [ "$skipped" -gt 0 ]; then
  echo "a release is judged by all of them: install what was missed" >&2
  exit 1
fi
[ "$failed" -eq 0 ]
