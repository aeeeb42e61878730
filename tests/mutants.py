#!/usr/bin/env python3
"""Breaks each guard and each promise on purpose, one at a time, and shows which test notices.

    tests/mutants.py [--tests lib,laws,…] [NAME...]
    tests/mutants.py --check                   only whether each cut can still be made, and whether all are covered

Works on a copy of the tree (target/mutants), cleared first but for its build folder. Each mutant is one cut: a function that
returns at once what lets everything through, or a text that another takes the place of. All cuts are built at once, each
asleep until its name stands in a file that the copy reads: so the compiler is waited for once and not for every mutant. Tests
are tried from the quickest to the slowest until one fails. A mutant that no test notices survives. The table is printed at the
end, and with a survivor the exit code is 1. A whole pass takes about an hour on two cores.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "mutants"
# Holds the name of the cut that is awake.
AWAKE = COPY / "target" / "awake"
# Promises as the README counts them.
PROMISES = range(1, 11)
# A test that takes longer hangs, which is noticed as well.
MOST_SECONDS = 1200


@dataclass(frozen=True)
class Returns:
    """A function that returns at once."""

    function: str
    value: str


@dataclass(frozen=True)
class Reads:
    """A text in whose place another stands; it must be there just once."""

    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    promise: int
    file: str
    cut: Returns | Reads


PROTECT, LIMITS, EXPECT, GUARD = (f"src/reconcile/guard/{name}.rs" for name in ("protect", "limits", "expect", "mod"))

ADMITTED = "src/reconcile/guard/admitted.rs"

# The guards, by their names in GUARDS of src/reconcile/guard/mod.rs.
GUARDS = {
    "blind-source": Mutant(1, PROTECT, Returns("blind_source", "Vec::new()")),
    "protected-user": Mutant(4, PROTECT, Returns("protected_user", "Vec::new()")),
    "protected-group": Mutant(4, PROTECT, Returns("protected_group", "Vec::new()")),
    "own-account": Mutant(4, PROTECT, Returns("own_account", "Vec::new()")),
    "last-admins": Mutant(4, PROTECT, Returns("last_admins", "Vec::new()")),
    "held-user": Mutant(7, PROTECT, Returns("held_user", "Vec::new()")),
    "rejected": Mutant(4, PROTECT, Returns("rejected", "Vec::new()")),
    "staged-before": Mutant(4, PROTECT, Returns("staged_before", "Vec::new()")),
    "deactivation-limit": Mutant(4, LIMITS, Returns("deactivation_limit", "Vec::new()")),
    "membership-limit": Mutant(4, LIMITS, Returns("membership_limit", "Vec::new()")),
    "group-limit": Mutant(4, LIMITS, Returns("group_limit", "Vec::new()")),
    "expectation": Mutant(4, EXPECT, Returns("before", "Vec::new()")),
}

MUTANTS = {f"guard-{name}": mutant for name, mutant in GUARDS.items()} | {
    # 1. Whole or nothing.
    "a-cursor-may-repeat": Mutant(1, "src/http/page.rs", Returns("turn", "Ok(())")),
    "a-link-that-cannot-be-read-is-the-last-page": Mutant(1, "src/http/page.rs", Reads("unreadable.then(String::new)", "None")),
    "any-content-is-json": Mutant(1, "src/http/wire.rs", Returns("insist_on_json", "Ok(())")),
    "okta-may-show-nobody": Mutant(
        1, "src/sources/okta/roads.rs", Reads("if roster.users.is_empty() {\n            return Err(self.empty());", "if false {\n            return Err(self.empty());")
    ),
    "a-stated-total-may-be-missed": Mutant(1, "src/targets/confluence/read.rs", Reads("if start < total {", "if false {")),
    "a-page-may-lead-nowhere": Mutant(
        1,
        "src/targets/bitbucket/read.rs",
        Reads('(false, None) => return Err(incomplete(format!("the page at {start} is not the last and leads nowhere"))),', "(false, None) => None,"),
    ),
    "groups-may-be-fewer-than-announced": Mutant(
        1, "src/targets/jira/roads.rs", Reads("if picker.groups.len() != picker.total {", "if false {")
    ),
    "a-source-that-shrank-is-believed": Mutant(1, "src/reconcile/health.rs", Returns("blind", "None")),
    "inactive-members-are-expected": Mutant(
        1, "src/reconcile/guard/expect.rs", Reads("book.iter().filter(|(_, (_, active))| *active);", "book.iter();")
    ),
    "a-source-that-knows-nobody-is-believed": Mutant(1, "src/reconcile/health.rs", Returns("knows_nobody", "None")),
    "a-retry-believes-any-source": Mutant(1, "src/engine/subjects/ask.rs", Returns("doubt", "Ok(None)")),
    "an-app-given-to-others-is-another-organisation": Mutant(1, "src/engine/belief.rs", Returns("has_any", "Ok(false)")),
    "no-answer-is-the-same-organisation": Mutant(
        1, "src/engine/belief.rs", Reads("unanswered.map_or(Ok(false), Err)", "Ok(unanswered.is_some())")
    ),
    "another-organisation-sets-nobody-aside": Mutant(
        1, "src/engine/perform.rs", Reads("match (whole, refused || is_stranger) {", "match (whole, refused) {")
    ),
    "ownership-ends-when-blind": Mutant(1, "src/reconcile/health.rs", Returns("keep_ownership", "()")),
    # 2. Absence is proven.
    "no-proof-of-absence": Mutant(2, "src/reconcile/proof.rs", Returns("bears_out", "Ok(())")),
    "no-answer-is-a-proof": Mutant(
        2, "src/engine/confirm.rs", Reads('Err(error) => Err(format!("the source gave no definite answer: {error}")),', "Err(_) => Ok(()),")
    ),
    "an-error-is-an-absence": Mutant(
        2, "src/engine/prepare.rs", Reads("leave(&mut users, &link.source, Standing::Pending, Some(why));\n                continue;", "None")
    ),
    "whom-the-listing-overlooked-has-left": Mutant(
        2, "src/engine/prepare.rs", Reads("Lifecycle::Entitled | Lifecycle::Pending => Standing::Pending,", "Lifecycle::Entitled | Lifecycle::Pending => Standing::OutOfScope,")
    ),
    "any-404-is-an-absence": Mutant(2, "src/sources/okta/listing.rs", Returns("insist_on_absence", "Ok(())")),
    "an-answer-about-somebody-else-counts": Mutant(2, "src/sources/okta/single.rs", Returns("insist_on_id", "Ok(())")),
    "grace-is-over-at-once": Mutant(2, "src/reconcile/people.rs", Reads("if inputs.now - since < waits {", "if false {")),
    # 3. Only what is ours.
    "an-account-of-another-is-taken": Mutant(
        3, "src/reconcile/correlate.rs", Reads("([one], _) if links.taken[*one as usize] => Situation::Taken(*one),", "")
    ),
    "the-first-of-two-accounts-is-taken": Mutant(
        3, "src/reconcile/correlate.rs", Reads("(several, _) => Situation::Ambiguous(several.to_vec()),", "(several, _) => Situation::Found(several[0]),")
    ),
    "every-group-is-exclusive": Mutant(
        3,
        "src/reconcile/members.rs",
        Reads("let exclusive = sides.desired.is_some() && inputs.rules.groups.exclusive.matches(&actual.name);", "let exclusive = sides.desired.is_some();"),
    ),
    "two-with-one-name-are-both-served": Mutant(3, "src/reconcile/mapping.rs", Returns("set_aside_conflicts", "()")),
    "whoever-turns-up-is-ours": Mutant(3, "src/engine/apply/state.rs", Returns("is_anothers", "false")),
    "members-of-protected-groups-are-stripped": Mutant(3, "src/engine/spare.rs", Returns("spare", "Vec::new()")),
    "whoever-is-not-shown-owns-nothing": Mutant(
        3, "src/reconcile/members.rs", Reads("} else if !sketch.unseen.contains(&&inputs.ledger.users[*owned as usize]) {", "} else {")
    ),
    # 4. Additions flow, removals wait.
    "day-is-not-counted": Mutant(4, LIMITS, Reads("if count <= limit && count.saturating_add(recent) <= day {", "if count <= limit {")),
    "a-limit-holds-only-what-is-over-it": Mutant(
        4, LIMITS, Reads("found(guard, true, holds, |_| {", "found(guard, true, holds.into_iter().skip(limit as usize).collect(), |_| {")
    ),
    "a-limit-holds-additions-as-well": Mutant(
        4, LIMITS, Reads("let holds = positions(plan, |op| op.kind() == OpKind::RemoveMember);", "let holds = positions(plan, |op| op.kind() != OpKind::LinkUser);")
    ),
    "a-plan-may-break-an-expectation": Mutant(4, EXPECT, Returns("by_plan", "Vec::new()")),
    "a-plan-that-mends-is-refused": Mutant(4, EXPECT, Returns("mends", "false")),
    "whatever-was-broken-is-mended": Mutant(4, EXPECT, Returns("mends", "true")),
    "no-plan-is-looked-at-for-expectations": Mutant(4, EXPECT, Returns("concerns", "false")),
    "what-waits-breaks-no-expectation": Mutant(4, ADMITTED, Returns("expect_again", "()")),
    "a-no-to-less-is-none-to-more": Mutant(4, "src/reconcile/hash.rs", Returns("lesser", "None")),
    "what-builds-on-it-goes-on": Mutant(4, ADMITTED, Returns("stranded", "Vec::new()")),
    "an-approval-lifts-any-guard": Mutant(
        4, GUARD, Reads("if !by.iter().all(|guard| *guard == STAGED_BEFORE || approval.guards.contains(*guard)) {", "if false {")
    ),
    "an-approval-is-for-any-cause": Mutant(4, "src/reconcile/hash.rs", Reads("        part(&mut hash.gathered, cause.word());\n", "        let _ = cause;\n")),
    "an-approval-counts-twice": Mutant(
        4, "src/engine/apply/mod.rs", Reads("    work.journal.undecide(&state.plan.job, &work.side.name, used, now).await\n", "    Ok(())\n")
    ),
    "a-hole-ends-decisions": Mutant(4, "src/engine/decided.rs", Reads("!(wanted.contains(&d.mark) || is_untold(d))", "!wanted.contains(&d.mark)")),
    # 5. The plan is what happens.
    "what-is-withheld-happens": Mutant(5, ADMITTED, Reads("            self.allowed[at] = false;\n            let kind", "            let kind")),
    "a-target-that-is-observed-is-written": Mutant(5, "src/engine/policy.rs", Returns("observes", "false")),
    "another-world-has-the-same-plan": Mutant(5, "src/reconcile/hash.rs", Reads("    part(&mut hash.gathered, &plan.rosters);\n", "")),
    # 6. Nothing is lost.
    "outcomes-are-not-written": Mutant(
        6, "src/engine/apply/mod.rs", Reads("work.journal.settle(&work.side.name, settlements, now).await?;", "")
    ),
    "what-the-dead-left-open-stays-open": Mutant(6, "src/store/changes.rs", Returns("recover", "Ok(Vec::new())")),
    "an-unknown-effect-is-a-failure": Mutant(
        6, "src/engine/apply/call.rs", Reads("let unknown = error.fault.effect_unknown();", "let unknown = false;")
    ),
    "two-processes-at-once": Mutant(
        6,
        "src/engine/lease.rs",
        Reads(
            "if let Some(lease) = world.journal.lease(&name, &holder, LEASE, now).await? {",
            'if let Some(lease) = world.journal.lease(&format!("{name}/{holder}"), &holder, LEASE, now).await? {',
        ),
    ),
    "a-half-written-file-has-changed": Mutant(6, "src/daemon/watch.rs", Reads("let steady = !now.is_empty() && now == before;", "let steady = !now.is_empty();")),
    "a-request-leaves-without-its-lease": Mutant(6, "src/contract/permit.rs", Returns("granted", "Ok(())")),
    "whoever-is-new-is-forgotten": Mutant(6, "src/reconcile/people.rs", Reads("        if link.is_new {\n            sketch.is_new", "        if false {\n            sketch.is_new")),
    # 7. Undo.
    "nobody-is-held-after-an-undo": Mutant(
        7,
        "src/engine/undo.rs",
        Reads("let mut holds = holds(world, &judged, request, reason);", "let mut holds = Vec::<Hold>::new();"),
    ),
    "an-undo-forgets-whose-it-was": Mutant(
        7, "src/engine/apply/state.rs", Reads("Op::AddMember { .. } if *because == (Reason::Undone { owned: false }) => Vec::new(),", "")
    ),
    "an-undo-forgets-what-was-before": Mutant(
        7,
        "src/engine/apply/state.rs",
        Reads("Op::UpdateUser { edit, .. } => (Some(edit.before.clone()), Some(edit.after.clone())),", "Op::UpdateUser { edit, .. } => (None, Some(edit.after.clone())),"),
    ),
    "an-undo-takes-whoever-has-the-account-now": Mutant(
        7, "src/reconcile/undo.rs", Reads("&& inputs.links.user(source).is_none_or(|link| link.target != held.key)", "&& source.as_str().is_empty()")
    ),
    "a-hole-ends-holds": Mutant(
        7, "src/engine/decided.rs", Reads("hold.source.as_ref().filter(|source| !told.is_pending(source));", "hold.source.as_ref();")
    ),
    "an-open-wish-takes-whatever-comes": Mutant(
        7,
        "src/reconcile/wish.rs",
        Reads("(None | Some(Cause::Disabled | Cause::OutOfScope | Cause::Gone), _) => false,", "(None | Some(Cause::Disabled | Cause::OutOfScope | Cause::Gone), _) => true,"),
    ),
    "an-edit-of-the-rules-ends-holds": Mutant(
        7, "src/reconcile/wish.rs", Reads("place == self.place(source) && rules != self.rules,", "place == self.place(source) && rules.is_empty(),")
    ),
    "a-released-hold-comes-back": Mutant(
        7, "src/engine/undo.rs", Reads("world.journal.wish(&holds).await?;", "world.journal.hold(&holds).await?;")
    ),
    "a-stop-heals-whoever-was-not-tried": Mutant(
        8, "src/engine/subjects.rs", Reads("filter(|_| !waits && !is_stopped)", "filter(|_| !waits)")
    ),
    "an-undo-writes-where-it-may-only-look": Mutant(7, "src/engine/undo.rs", Returns("only_observed", "None")),
    # 8. One bad object stops nobody.
    "one-bad-name-stops-its-list": Mutant(
        8,
        "src/engine/apply/call.rs",
        Reads(
            "        Err(list) => {\n            let mut answers = Vec::with_capacity(unit.changes.len());",
            "        Err(error) if unit.changes.len() > 1 => unit.changes.into_iter().map(|at| (at, Err(error.clone()))).collect(),\n"
            "        Err(list) => {\n            let mut answers = Vec::with_capacity(unit.changes.len());",
        ),
    ),
    "a-panic-is-everybodys": Mutant(8, "src/engine/panic.rs", Returns("unless_it_panics", "Ok(work.await)")),
    "who-cannot-be-read-has-nothing": Mutant(
        8,
        "src/engine/subjects.rs",
        Reads(
            "links.users.iter().filter(|l| !keys.contains(&l.source)).map(|l| l.target.clone()).collect();",
            "links.users.iter().filter(|l| !keys.contains(&l.source) && !unanswered.iter().any(|(s, _)| *s == Subject::User(l.source.clone()))).map(|l| l.target.clone()).collect();",
        ),
    ),
    "one-who-cannot-be-read-keeps-all-waiting": Mutant(
        8, "src/engine/subjects.rs", Reads("Tried::Untold(of, untold) => {", "Tried::Untold(of, untold) => {\n                return all_put_off(world, side, &of, &untold[0].1, tools).await.map(|()| Pass::default());")
    ),
    "one-without-an-answer-keeps-all-waiting": Mutant(
        8, "src/engine/subjects/ask.rs", Reads("without.push((Subject::User(key), error));", "return Err(error);")
    ),
    "trouble-of-a-system-sets-people-aside": Mutant(
        8,
        "src/engine/perform.rs",
        Reads("Retry { not_before, cause, ..before.clone() }", "Retry { not_before, cause, attempts: before.attempts + 1, ..before.clone() }"),
    ),
    "who-waits-is-tried-now": Mutant(8, "src/engine/confirm.rs", Returns("hold_waiting", "BTreeSet::new()")),
    "a-retry-gives-any-name": Mutant(8, "src/engine/subjects.rs", Returns("is_known_name", "true")),
    "a-sick-target-is-not-left-alone": Mutant(8, "src/engine/apply/patience.rs", Returns("failed", "()")),
    # 9. Polite.
    "the-whole-limit-is-ours": Mutant(9, "src/http/budget.rs", Returns("kept", "0")),
    "an-empty-bucket-is-asked": Mutant(9, "src/http/budget.rs", Returns("close", "()")),
    "a-refusal-is-forgotten-by-its-client": Mutant(9, "src/http/api.rs", Returns("refusal", "None")),
    "a-refused-credential-is-tried-again": Mutant(
        9,
        "src/engine/rest.rs",
        Reads("let until = if error.fault == Fault::Refused {\n        None", "let until = if error.fault == Fault::Refused {\n        Some(now)"),
    ),
    "any-file-ends-every-rest": Mutant(
        9, "src/daemon/reload.rs", Reads("changed.is_none_or(|files| files.iter().any(is_theirs))", "changed.is_none_or(|files| !files.iter().any(is_theirs) || !files.is_empty())")
    ),
    "no-file-ends-a-rest": Mutant(9, "src/daemon/reload.rs", Reads("changed.is_none_or(|files| files.iter().any(is_theirs))", "changed.is_none()")),
    # 10. Quiet secrets.
    "an-address-is-repeated-in-errors": Mutant(10, "src/http/judge.rs", Returns("masked", "word.to_owned()")),
    "a-pseudonym-is-the-name": Mutant(10, "src/engine/recording/mask.rs", Returns("letters", "folded.to_owned()")),
    "a-recording-tells-who-decided": Mutant(
        10, "src/engine/recording/pseudonyms.rs", Reads('            user_name: self.text(&decision.user_name),\n            actor: "os:somebody".to_owned(),', "            user_name: self.text(&decision.user_name),")
    ),
    "a-webhook-shows-its-url": Mutant(10, "src/http/webhook.rs", Reads('f.write_str("Webhook(…)")', 'write!(f, "Webhook({})", self.url.expose_secret())')),
}

TESTS = {
    # What speaks to a server of PostgreSQL takes as long as all the rest, and notices nothing that the rest does not.
    "lib": ["--lib", "--", "--skip", "store::server"],
    "laws": ["--test", "laws"],
    "campaign": ["--test", "campaign"],
    "scenarios": ["--test", "scenarios"],
    "faults": ["--test", "faults"],
    "process": ["--test", "process"],
}


def blanked(text):
    """The text with blanks for whatever stands in comments, strings and characters, so that braces are braces."""
    token = re.compile(
        r'//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\[^\']+|[^\'\\])\'', re.S
    )
    return token.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def bodies(text):
    """Where the bodies of functions are: name, and the places after the first brace and of the last."""
    plain = blanked(text)
    found = []
    for fn in re.finditer(r"\bfn\s+(\w+)", plain):
        depth, at = 0, fn.end()
        while plain[at] not in "{;" or depth:
            depth += (plain[at] in "([") - (plain[at] in ")]")
            at += 1
        if plain[at] == ";":
            continue
        start = at + 1
        while True:
            depth += (plain[at] == "{") - (plain[at] == "}")
            if not depth:
                break
            at += 1
        found.append((fn[1], start, at))
    return found


def place(text, cut):
    """The body that a cut is made in. Fails if there is not just one place for it."""
    if isinstance(cut, Returns):
        found = [body for body in bodies(text) if body[0] == cut.function]
        assert len(found) == 1, f"there are {len(found)} functions {cut.function}"
        return found[0]
    assert text.count(cut.old) == 1, f"{cut.old!r} stands there {text.count(cut.old)} times"
    at = text.index(cut.old)
    around = [body for body in bodies(text) if body[1] <= at and at + len(cut.old) <= body[2]]
    assert around, f"{cut.old!r} stands in no function"
    return max(around, key=lambda body: body[1])


def mutated(text, cuts):
    """The text with all cuts in it, asleep."""
    by_body = {}
    for name, cut in cuts.items():
        by_body.setdefault(place(text, cut), {})[name] = cut
    for (_, start, end), those in sorted(by_body.items(), key=lambda entry: -entry[0][1]):
        body = text[start:end]
        returns, reads = "", ""
        for name, cut in those.items():
            awake = f'if crate::cut("{name}")'
            if isinstance(cut, Returns):
                returns += f"\n    {awake} {{ return {cut.value}; }}"
            else:
                reads += f"\n    {awake} {{{body.replace(cut.old, cut.new)}}} else"
        text = text[:start] + returns + (f"{reads} {{{body}}}\n" if reads else body) + text[end:]
    return text


def check():
    """Whether each cut can be made, each guard has one, and each promise is broken by one. Returns what is wrong."""
    wrong = []
    for name, mutant in MUTANTS.items():
        try:
            place((ROOT / mutant.file).read_text(), mutant.cut)
        except (AssertionError, AttributeError, OSError) as error:
            wrong.append(f"{name}: {mutant.file}: {error}")
    source = (ROOT / GUARD).read_text()
    table = source.split("pub const GUARDS", 1)[1].split("];", 1)[0]
    constants = dict(re.findall(r'^const (\w+): &str = "([^"]+)";', source, re.M))
    listed = {constants.get(name, name.strip('"')) for name in re.findall(r"^    \(([\w\"-]+), ", table, re.M)}
    wrong += [f"guard {name} has no mutant" for name in sorted(listed - GUARDS.keys())]
    wrong += [f"there is no guard {name}" for name in sorted(GUARDS.keys() - listed)]
    broken = {mutant.promise for mutant in MUTANTS.values()}
    wrong += [f"no mutant breaks promise {promise}" for promise in PROMISES if promise not in broken]
    return wrong


def copied():
    """Makes the copy what the tree is, and keeps what was built of it."""
    COPY.mkdir(parents=True, exist_ok=True)
    for entry in COPY.iterdir():
        if entry.name != "target":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for file in filter(None, listed.split("\0")):
        if (ROOT / file).exists():
            (COPY / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, COPY / file)


def sleeping():
    """Puts every cut into the copy. None is awake."""
    for file in sorted({mutant.file for mutant in MUTANTS.values()}):
        cuts = {name: mutant.cut for name, mutant in MUTANTS.items() if mutant.file == file}
        (COPY / file).write_text(mutated((COPY / file).read_text(), cuts))
    with (COPY / "src/lib.rs").open("a") as lib:
        lib.write(
            f"""
/// Whether this cut is the one that is awake.
pub fn cut(name: &str) -> bool {{
    static AWAKE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    AWAKE.get_or_init(|| std::fs::read_to_string("{AWAKE}").unwrap_or_default()) == name
}}
"""
        )


def cargo(test, *more):
    """What cargo says to a test binary: its exit code, what it printed and its complaints; no code if it hangs."""
    environment = os.environ | {"CARGO_TARGET_DIR": str(COPY / "target"), "INSTA_UPDATE": "no", "ROSTERD_SEEDS": "200"}
    command = ["cargo", "test", "--quiet", *more, *TESTS[test]]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=COPY, env=environment, start_new_session=True, **pipes) as child:
        try:
            out, err = child.communicate(timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            return None, "", ""
    return child.returncode, out, err


def run(test):
    """What one test binary notices, if anything."""
    code, out, _ = cargo(test)
    if code is None:
        return f"{test}: hangs"
    failed = sorted(set(re.findall(r"^    (\S+)$", out, re.M)))
    return None if code == 0 else f"{test}: {', '.join(failed[:3]) or f'ends with {code}'}"


def noticed_by(tests):
    return next((said for said in map(run, tests) if said), None)


def verdict(name, tests):
    """Wakes one cut, and says who notices; a survivor is in capitals."""
    AWAKE.write_text(name)
    try:
        return noticed_by(tests) or "SURVIVES"
    finally:
        AWAKE.unlink()


def main(arguments):
    wrong = check()
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong or arguments == ["--check"]:
        print(f"{len(MUTANTS)} mutants, {len(wrong)} things to mend")
        return bool(wrong)
    tests = list(TESTS)
    if arguments[:1] == ["--tests"]:
        tests, arguments = arguments[1].split(","), arguments[2:]
    names = arguments or list(MUTANTS)
    copied()
    AWAKE.unlink(missing_ok=True)
    sleeping()
    for test in tests:
        code, _, err = cargo(test, "--no-run")
        assert code == 0, f"the copy with the cuts in it cannot be built:\n{err}"
    # A test that fails without a cut would seem to notice everything.
    before = noticed_by(tests)
    assert before is None, f"the tree itself does not pass: {before}"
    print("the tree itself passes", flush=True)
    table = {}
    for name in names:
        table[name] = verdict(name, tests)
        print(f"{name}: {table[name]}", file=sys.stderr, flush=True)
    print(f"\n{'promise':7}  {'mutant':45}  noticed by")
    for name, said in sorted(table.items(), key=lambda row: MUTANTS[row[0]].promise):
        print(f"{MUTANTS[name].promise:7}  {name:45}  {said}")
    survivors = [name for name, said in table.items() if said.startswith("SURVIVES")]
    print(f"\n{len(names) - len(survivors)} of {len(names)} mutants are noticed")
    if survivors:
        print("not noticed: " + ", ".join(survivors))
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
