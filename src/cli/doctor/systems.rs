//! What each system says when it is asked once: whether it can be reached, as whom, with which rights; and what its answer tells
//! of clocks, certificates and limits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use chrono::{DateTime, Utc};
use futures::future::{join, join_all};
use serde_json::{Value, json};

use super::Findings;
use super::scrub::Scrub;
use crate::cli::exit::Exit;
use crate::config::Config;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::journal::{Journal, Rest};
use crate::contract::notice::SOON;
use crate::contract::source::{Source, SourceFacts};
use crate::contract::target::{Capabilities, Expiry, Target};
use crate::daemon::assemble::{Services, assemble};
use crate::http::kind::Kit;
use crate::http::meter::Meter;
use crate::model::key::SystemName;

/// A clock that is off by more than this is worth a word.
const OFF: i64 = 60;

struct Asked {
    name: SystemName,
    role: &'static str,
    kind: String,
    /// What it answered; `None`: it was not asked.
    answer: Option<Result<Value, ConnectorError>>,
    millis: u128,
}

/// Asks every system once, all side by side. One that refused its credential is left alone: a second try can lock the account.
pub(super) async fn gather(
    config: Config,
    kit: Kit,
    journal: Arc<dyn Journal>,
    now: DateTime<Utc>,
    scrub: &Scrub,
    findings: &mut Findings,
) -> Value {
    let meters = kit.meters.clone();
    let services = Services::new(journal.clone(), kit);
    let assembly = match assemble(config, &services) {
        Ok(assembly) => assembly,
        Err(error) => {
            findings.add(Exit::Configuration, error.to_string());
            return json!({ "asked": false, "why": scrub.text(&error.to_string()) });
        }
    };
    let rests = match journal.rests().await {
        Ok(rests) => rests,
        Err(error) => return json!({ "asked": false, "why": scrub.text(&error.to_string()) }),
    };
    let kind = |name: &SystemName| {
        let system = assembly.config.sources.get(name).or_else(|| assembly.config.targets.get(name));
        system.map(|system| system.kind.clone()).unwrap_or_default()
    };
    let refused = |name: &SystemName| rests.iter().any(|r: &Rest| r.system == *name && r.fault == Fault::Refused.word());
    let sources = assembly.sources.iter().map(|(name, source)| of_source(name, kind(name), source, refused(name), scrub));
    let targets = assembly.targets.iter().map(|(name, target)| of_target(name, kind(name), target, refused(name), scrub, now));
    let (sources, targets) = join(join_all(sources), join_all(targets)).await;
    let systems = sources.into_iter().chain(targets).map(|asked| tell(asked, &meters, now, scrub, findings));
    Value::Array(systems.collect())
}

async fn of_source(name: &SystemName, kind: String, source: &Arc<dyn Source>, refused: bool, scrub: &Scrub) -> Asked {
    let begun = Instant::now();
    let answer = if refused { None } else { Some(source.probe().await) };
    let shown = |facts: SourceFacts| {
        let notes: Vec<String> = facts.notes.iter().map(|note| scrub.text(note)).collect();
        json!({ "product": facts.product, "acting_as": facts.acting_as.map(|who| scrub.name(&who)), "notes": notes })
    };
    let answer = answer.map(|answer| answer.map(shown));
    Asked { name: name.clone(), role: "source", kind, answer, millis: begun.elapsed().as_millis() }
}

async fn of_target(
    name: &SystemName,
    kind: String,
    target: &Arc<dyn Target>,
    refused: bool,
    scrub: &Scrub,
    now: DateTime<Utc>,
) -> Asked {
    let begun = Instant::now();
    let answer = if refused { None } else { Some(target.probe().await) };
    let answer = answer.map(|answer| answer.map(|can| of_capabilities(&can, scrub, now)));
    Asked { name: name.clone(), role: "target", kind, answer, millis: begun.elapsed().as_millis() }
}

fn of_capabilities(can: &Capabilities, scrub: &Scrub, now: DateTime<Utc>) -> Value {
    let seats = can.seats.iter().map(|seats| json!({ "product": seats.product, "used": seats.used, "of": seats.of }));
    let (expires, soon) = match can.expires {
        Expiry::Unknown => (json!("unknown"), false),
        Expiry::Never => (json!("never"), false),
        Expiry::At(at) => (json!(at), at - now <= SOON),
    };
    json!({
        "product": can.product,
        "version": can.version,
        "acting_as": can.acting_as.as_deref().map(|who| scrub.name(who)),
        "can": can.can,
        "can_rename": can.can_rename,
        "can_update": can.can_update,
        "needs_email": can.needs_email,
        "deactivation": can.deactivation,
        "administration_groups": can.admin_groups.len(),
        "seats": seats.collect::<Vec<_>>(),
        "credential_expires": expires,
        "credential_expires_soon": soon,
        "notes": can.notes.iter().map(|note| scrub.text(note)).collect::<Vec<_>>(),
    })
}

fn tell(asked: Asked, meters: &crate::http::meter::Meters, now: DateTime<Utc>, scrub: &Scrub, findings: &mut Findings) -> Value {
    let Asked { name, role, kind, answer, millis } = asked;
    let meter = meters.of(&name);
    let mut shown = json!({
        "system": name, "role": role, "kind": kind, "asked": answer.is_some(), "milliseconds": u64::try_from(millis).unwrap_or(0),
        "traffic": traffic(&meter),
    });
    match answer {
        None => {
            findings.add(Exit::Permission, format!("{name} refused its credential before, and was not asked again"));
            shown["why"] = json!("it refused its credential before: a second try could lock the account");
        }
        Some(Ok(what)) => {
            if what["credential_expires_soon"] == true {
                findings.add(Exit::Done, format!("the credential of {name} expires {}", what["credential_expires"]));
            }
            shown["good"] = json!(true);
            shown["says"] = what;
        }
        Some(Err(error)) => {
            findings.add(Exit::of(&error.fault), scrub.text(&error.to_string()));
            shown["good"] = json!(false);
            shown["fault"] = json!(error.fault.word());
            shown["error"] = json!(scrub.text(&error.to_string()));
            shown["hint"] = json!(error.hint.as_deref().map(|hint| scrub.text(hint)));
        }
    }
    if let Some(ahead) = meter.clock_ahead().filter(|ahead| ahead.abs() > OFF) {
        findings.add(Exit::Done, format!("the clock of {name} is {ahead} s ahead of ours"));
    }
    if let Some(ends) = meter.certificate_ends().filter(|ends| *ends - now <= SOON) {
        findings.add(Exit::Done, format!("the certificate of {name} ends on {}", ends.format("%Y-%m-%d")));
    }
    shown
}

fn traffic(meter: &Meter) -> Value {
    let classes: Vec<u64> = meter.classes.iter().map(|class| class.load(Ordering::Relaxed)).collect();
    json!({
        "clock_ahead_seconds": meter.clock_ahead(),
        "certificate_ends": meter.certificate_ends(),
        "unanswered": classes[0],
        "answers_1xx_to_5xx": classes[1..],
        "limited": meter.limited.load(Ordering::Relaxed),
        "limits_used_thousandths": meter.shares(),
    })
}
