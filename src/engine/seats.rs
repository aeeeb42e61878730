//! Seats, once it is known what happens: who finds none waits where the job says so, and the plan tells what it comes to. And
//! the last look at what is expected, since what waits changes what comes of the rest.
//!
//! Last of all, since whoever waits for another reason takes no seat. That is why it is no guard: a guard judges before.

use super::confirm::Confirmed;
use super::policy::Job;
use super::prepare::Prepared;
use crate::contract::target::{Capabilities, Seats};
use crate::model::change::OpKind;
use crate::model::key::SourceKey;
use crate::reconcile::guard::Judged;
use crate::reconcile::seats::{Seating, WhenFull};

/// Lets wait for whom no seat is free, if so configured, refuses what breaks an expectation without those who wait, and notes
/// what comes of the licences' seats.
pub fn count(job: &Job, prepared: &mut Prepared) {
    let Prepared { judged, confirmed, capabilities, seating, .. } = prepared;
    if job.guard.seats == WhenFull::Hold {
        hold(capabilities, seating, judged, confirmed);
    }
    // Whoever waits was perhaps to take the place of one who leaves.
    judged.expect_again(&job.guard);
    let plan = judged.admitted.plan();
    judged.seats = seating.forecast(plan, judged.admitted.changes());
    let over = judged.seats.iter().filter(|forecast| forecast.is_over());
    confirmed.messages.extend(over.map(|forecast| format!("{}: the licence does not suffice", forecast.text())));
}

fn hold(capabilities: &Capabilities, seating: &Seating, judged: &mut Judged, confirmed: &mut Confirmed) {
    let plan = judged.admitted.plan();
    let enters = |kind: OpKind| matches!(kind, OpKind::CreateUser | OpKind::ActivateUser | OpKind::AddMember);
    if capabilities.seats.is_empty() && judged.admitted.changes().any(|(_, change)| enters(change.op.kind())) {
        let product = capabilities.product;
        confirmed.messages.push(format!("guard.seats: {product} does not tell how many seats are free, so nobody waits for one"));
    }
    let waiting = seating.waiting(plan, judged.admitted.changes());
    for (Seats { product, used, of, .. }, users) in &waiting.users {
        let (of, wait) = (of.unwrap_or_default(), if *users == 1 { "1 user waits" } else { &format!("{users} users wait") });
        confirmed.messages.push(format!("{product}: {wait} for a free seat, {used} of {of} are taken (guard.seats)"));
    }
    let held = judged.withhold(waiting.changes);
    let plan = judged.admitted.plan();
    let seatless = held.into_iter().filter_map(|at| plan.user(plan.changes[at].op.user()?).source.clone());
    // Each once: somebody may wait with several changes.
    let seatless: Vec<SourceKey> = seatless.filter(|source| confirmed.held_back.insert(source.clone())).collect();
    // Only for so many it is worth another look as seats come free by this plan.
    confirmed.seatless = seatless.into_iter().take(seating.frees(plan, judged.admitted.changes())).collect();
}
