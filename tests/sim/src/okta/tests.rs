//! The organisation as a client meets it.

mod changes;
mod lists;
mod tokens;
mod vendor;

use super::*;
use crate::harness::wire::{Got, get, send};

const SSWS: &str = "SSWS simulated-token";

async fn started(world: World) -> Okta {
    Okta::start(world, Options::default()).await.unwrap()
}

/// A world made by hand: three people, and a group of two of them.
fn hand() -> World {
    let mut world = World::default();
    let (anna, bob) = (world.add_person("Anna", "Müller"), world.add_person("Bob", "Stone"));
    world.add_person("Cleo", "O'Neill");
    world.add_group("staff", &[anna, bob]);
    world
}

async fn ask(okta: &Okta, target: &str) -> Got {
    get(&format!("{}{target}", okta.url), SSWS).await
}

/// The address of the next page, from whichever header line has it.
fn next(got: &Got) -> Option<String> {
    let lines = got.lines("link").join(", ");
    let link = lines.split(", ").find(|l| l.ends_with("rel=\"next\""))?;
    Some(link.trim_start_matches('<').split('>').next()?.to_owned())
}

/// The ids of all pages, and how many pages there were.
async fn walk(okta: &Okta, target: &str) -> (Vec<String>, usize) {
    let (mut ids, mut pages) = (Vec::new(), 0);
    let mut url = Some(format!("{}{target}", okta.url));
    while let Some(at) = url {
        let got = get(&at, SSWS).await;
        assert_eq!(got.status, 200, "{at}: {}", got.text());
        ids.extend(got.json().as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap().to_owned()));
        url = next(&got);
        pages += 1;
        assert!(pages < 1_000, "no end");
    }
    (ids, pages)
}

fn code(got: &Got) -> (u16, String) {
    (got.status, got.json()["errorCode"].as_str().unwrap_or_default().to_owned())
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}
