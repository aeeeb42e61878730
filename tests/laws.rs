//! The laws: what must hold in every world, checked in many.
//!
//! A world is a source with people who come, move and leave, a job with its rules, and a target that people also change by
//! hand. Each is drawn from a seed, and a seed that breaks a law prints itself. Nothing here reads a network, a store or a
//! clock, since the core that is tried does not either.

#[path = "laws/always.rs"]
mod always;
#[path = "laws/course.rs"]
mod course;
#[path = "laws/distrust.rs"]
mod distrust;
#[path = "laws/found.rs"]
mod found;
#[path = "laws/land.rs"]
mod land;
#[path = "laws/orders.rs"]
mod orders;
#[path = "laws/site.rs"]
mod site;
#[path = "laws/truth.rs"]
mod truth;

use fastrand::Rng;

/// Tells the seed of a world in which a law was broken.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the law was broken in the world of seed {}", self.0);
        }
    }
}

/// Tries a law in many worlds. `ROSTERD_SEED` in the environment names one to try alone.
fn in_worlds(seeds: std::ops::Range<u64>, law: impl Fn(&mut Rng)) {
    let alone: Option<u64> = std::env::var("ROSTERD_SEED").ok().map(|s| s.parse().expect("ROSTERD_SEED is a number"));
    for seed in seeds.filter(|s| alone.is_none_or(|a| a == *s)) {
        let _told = Seed(seed);
        law(&mut Rng::with_seed(seed));
    }
}
