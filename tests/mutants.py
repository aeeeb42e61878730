#!/usr/bin/env python3
"""Breaks each guard and each promise on purpose, one at a time, and shows which test notices.

    tests/mutants.py [NAME...]

Works on a copy of the tree (target/mutants), with a build folder of its own. Each mutant is one cut: a function that
returns at once what lets everything through. Tests are tried from the quickest to the slowest until one fails. Whatever is
noticed by none is printed at the end, and the exit code is 1. A whole pass takes about an hour on two cores.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "mutants"

# Name: file, function, what it returns at once (or a pair: text, and what stands in its place).
MUTANTS = {
    "blind-source-is-believed": ("src/reconcile/health.rs", "blind", "None"),
    "ownership-ends-when-blind": ("src/reconcile/health.rs", "keep_ownership", "()"),
    "no-proof-of-absence": ("src/reconcile/proof.rs", "bears_out", "Ok(())"),
    "guard-blind-source": ("src/reconcile/guard/protect.rs", "blind_source", "Vec::new()"),
    "guard-protected-user": ("src/reconcile/guard/protect.rs", "protected_user", "Vec::new()"),
    "guard-protected-group": ("src/reconcile/guard/protect.rs", "protected_group", "Vec::new()"),
    "guard-own-account": ("src/reconcile/guard/protect.rs", "own_account", "Vec::new()"),
    "guard-last-admins": ("src/reconcile/guard/protect.rs", "last_admins", "Vec::new()"),
    "guard-held-user": ("src/reconcile/guard/protect.rs", "held_user", "Vec::new()"),
    "guard-rejected": ("src/reconcile/guard/protect.rs", "rejected", "Vec::new()"),
    "guard-staged-before": ("src/reconcile/guard/protect.rs", "staged_before", "Vec::new()"),
    "guard-deactivation-limit": ("src/reconcile/guard/limits.rs", "deactivation_limit", "Vec::new()"),
    "guard-membership-limit": ("src/reconcile/guard/limits.rs", "membership_limit", "Vec::new()"),
    "guard-group-limit": ("src/reconcile/guard/limits.rs", "group_limit", "Vec::new()"),
    "guard-expectation-before": ("src/reconcile/guard/expect.rs", "before", "Vec::new()"),
    "guard-expectation-by-plan": ("src/reconcile/guard/expect.rs", "by_plan", "Vec::new()"),
    "day-is-not-counted": (
        "src/reconcile/guard/limits.rs",
        ("if count <= limit && count.saturating_add(recent) <= day {", "if count <= limit {"),
    ),
    "what-builds-on-it-goes-on": ("src/reconcile/guard/mod.rs", "stranded", "Vec::new()"),
    "an-approval-lifts-any-guard": (
        "src/reconcile/guard/mod.rs",
        ("if !by.iter().all(|guard| *guard == STAGED_BEFORE || approval.guards.contains(*guard)) {", "if false {"),
    ),
    "an-approval-is-for-any-cause": (
        "src/reconcile/hash.rs",
        ("    part(&mut hash.gathered, change.because.cause());\n", ""),
    ),
    "an-approval-counts-twice": (
        "src/engine/apply/mod.rs",
        ("    work.journal.undecide(&state.plan.job, &work.side.name, used, now).await\n", "    Ok(())\n"),
    ),
    "two-with-one-name-are-both-served": ("src/reconcile/mapping.rs", "set_aside_conflicts", "()"),
    "grace-is-over-at-once": ("src/reconcile/people.rs", ("if inputs.now - since < waits {", "if false {")),
    "an-error-is-an-absence": (
        "src/engine/prepare.rs",
        ("leave(&mut users, &link.source, Standing::Pending, Some(why));\n                continue;", "None"),
    ),
    "members-of-protected-groups-are-stripped": ("src/engine/spare.rs", "spare", "Vec::new()"),
    "who-waits-is-tried-now": ("src/engine/confirm.rs", "hold_waiting", "BTreeSet::new()"),
    "a-retry-gives-any-name": ("src/engine/subjects.rs", "is_known_name", "true"),
    "a-sick-target-is-not-left-alone": ("src/engine/apply/patience.rs", "failed", "()"),
    "a-refused-credential-is-tried-again": (
        "src/engine/rest.rs",
        ("let until = if error.fault == Fault::Refused {\n        None", "let until = if error.fault == Fault::Refused {\n        Some(now)"),
    ),
    "an-unknown-effect-is-a-failure": ("src/engine/apply/call.rs", ("let unknown = error.fault.effect_unknown();", "let unknown = false;")),
    "nobody-is-held-after-an-undo": (
        "src/engine/undo.rs",
        ("world.journal.hold(&holds(world, &judged, &request.run.start.id, request.actor, reason)).await?;", ""),
    ),
    "an-undo-forgets-whose-it-was": ("src/engine/apply/state.rs", ("Op::AddMember { .. } if *because == (Reason::Undone { owned: false }) => Vec::new(),", "")),
    "a-hole-ends-decisions": ("src/engine/decided.rs", ("!(wanted.contains(&d.mark) || is_untold(d))", "!wanted.contains(&d.mark)")),
    "a-hole-ends-holds": ("src/engine/decided.rs", ("if hold.source.as_ref().is_some_and(is_pending) {", "if false {")),
    "two-processes-at-once": (
        "src/engine/run.rs",
        ("if let Some(lease) = world.journal.lease(&name, &holder, LEASE, now).await? {", "if let Some(lease) = world.journal.lease(&format!(\"{name}/{holder}\"), &holder, LEASE, now).await? {"),
    ),
    "outcomes-are-not-written": (
        "src/engine/apply/mod.rs",
        ("work.journal.settle(&work.side.name, settlements, now).await?;", ""),
    ),
}

TESTS = [
    ["--lib", "reconcile::", "engine::"],
    ["--test", "laws"],
    ["--test", "campaign"],
    ["--test", "scenarios"],
    ["--test", "faults"],
    ["--test", "process"],
]


def mutated(text, how, value):
    if isinstance(how, tuple):
        old, new = how
        assert text.count(old) >= 1, f"there is no {old!r}"
        return text.replace(old, new)
    found = re.search(rf"\bfn {how}\b", text)
    assert found, f"there is no function {how}"
    # The body begins with the first brace at a line's end.
    start = re.compile(r"\{\n").search(text, found.end()).end()
    return text[:start] + f"    if std::hint::black_box(true) {{ return {value}; }}\n" + text[start:]


def noticed_by():
    environment = {"CARGO_TARGET_DIR": str(COPY / "target"), "INSTA_UPDATE": "no", "ROSTERD_SEEDS": "200"}
    for test in TESTS:
        # cargo takes one filter before the two dashes, the runner takes several after them.
        target, filters = (test[:2], test[2:]) if test[0] == "--test" else (test[:1], test[1:])
        command = ["cargo", "test", "--quiet", *target, "--", *filters]
        ran = subprocess.run(command, cwd=COPY, env={**os.environ, **environment}, capture_output=True, text=True)
        if ran.returncode != 0:
            if "error: could not compile" in ran.stderr:
                return "COMPILER: " + ran.stderr.split("error", 1)[1][:300]
            failed = re.findall(r"^    (\S+)$", ran.stdout, re.M)
            return f"{' '.join(target)} {', '.join(sorted(set(failed))[:3])}"
    return None


def main():
    names = sys.argv[1:] or list(MUTANTS)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for file in filter(None, listed.split("\0")):
        (COPY / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, COPY / file)
    survivors = []
    for name in names:
        file, how, *value = MUTANTS[name]
        path = COPY / file
        original = path.read_text()
        path.write_text(mutated(original, how, *(value or [None])))
        by = noticed_by()
        path.write_text(original)
        print(f"{name:45} {by or 'SURVIVES'}", flush=True)
        if by is None:
            survivors.append(name)
    print(f"{len(names) - len(survivors)} of {len(names)} mutants are noticed")
    if survivors:
        print("not noticed: " + ", ".join(survivors))
    sys.exit(bool(survivors))


main()
