//! What is measured against: the simulators, in a process of their own, told what to do by lines on its standard input.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rosterd_sim::directory::{Directory, GroupId, UserId};
use rosterd_sim::estate::{Estate, Options};
use rosterd_sim::okta::Limits;
use rosterd_sim::world::World;

use crate::{Anything, Case};

/// The window of Okta's limits in the limited case, and how many requests each bucket allows in it. The length is Okta's
/// own, since a window's end is told in whole seconds: in a shorter one that alone would be a good part of the time.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
pub(crate) const ALLOWED: u32 = 60;

/// The simulators' process, as the measuring one sees it. Ends with it.
pub(crate) struct Ground {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Ground {
    /// Starts the process and waits until the four answer. The configuration is in the folder then.
    pub(crate) fn start(case: Case, folder: &Path) -> Result<Self, Anything> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", case.word()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let mut ground = Self { child, orders, answers };
        ground.heard()?;
        Ok(ground)
    }

    /// Changes a hundredth of the memberships at Okta.
    pub(crate) fn change(&mut self) -> Result<String, Anything> {
        writeln!(self.orders, "change")?;
        self.heard()
    }

    /// Ends the process, and tells how often Okta said 429.
    pub(crate) fn end(mut self) -> Result<String, Anything> {
        writeln!(self.orders, "end")?;
        let refused = self.heard()?;
        self.child.wait()?;
        Ok(refused)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn heard(&mut self) -> Result<String, Anything> {
        Ok(self.answers.next().ok_or("the simulators have died")??)
    }
}

/// Serves until told to end.
pub(crate) async fn serve(case: Case, folder: &Path) -> Result<(), Anything> {
    let size = case.size();
    let world = World::seeded(1, size.people, size.groups, size.memberships);
    let mut options = Options::default();
    if case == Case::Limited {
        options.okta.limits = Limits { window: WINDOW, ..Limits::default() };
    }
    let estate = Estate::start(world.clone(), options).await?;
    let quiet = [&estate.okta.server, &estate.jira.running, &estate.confluence.running, &estate.bitbucket.running];
    quiet.iter().for_each(|s| s.log.quiet(true));
    if case.targets_hold_everything() {
        for mut directory in [estate.jira.directory(), estate.confluence.directory(), estate.bitbucket.directory()] {
            fill(&mut directory, &world);
        }
    }
    let mut okta = String::new();
    if case == Case::Latency {
        estate.okta.server.faults.latency(Duration::from_millis(100));
        okta.push_str("http = { concurrency = 16 }\n");
    }
    if case == Case::Limited {
        ["users", "groups"].iter().for_each(|bucket| estate.okta.limit(bucket, ALLOWED));
        okta.push_str("http = { rate_share = 1.0 }\n");
    }
    let text = estate.configuration(folder, &okta, "schedule = \"hourly\"")?;
    std::fs::write(folder.join("rosterd.toml"), text)?;
    say("ready")?;
    // On a thread of the runtime's that may block: the servers have others.
    tokio::task::block_in_place(|| {
        for line in std::io::stdin().lines() {
            match line?.as_str() {
                "change" => say(&change(&estate, &world))?,
                _ => break,
            }
        }
        say(&estate.okta.refused().to_string())
    })
}

fn say(line: &str) -> Result<(), Anything> {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}

/// Gives a target what a job with the default mapping wants of it.
fn fill(directory: &mut Directory, world: &World) {
    let account = |at: usize| {
        let person = &world.people[at];
        let email = person.email.as_deref().filter(|_| person.status.works())?;
        let name = person.login.split('@').next()?.to_lowercase();
        Some((name, email.to_owned(), format!("{} {}", person.first, person.last)))
    };
    let accounts: Vec<Option<UserId>> = (0..world.people.len())
        .map(|at| account(at).and_then(|(name, email, shown)| directory.add_user(&name, &email, &shown).ok()))
        .collect();
    for group in &world.groups {
        let Ok(id): Result<GroupId, _> = directory.add_group(&group.name) else { continue };
        for user in group.members.iter().filter_map(|at| accounts[*at]) {
            directory.join_ids(id, user).expect("both were added");
        }
    }
}

/// Takes every two-hundredth membership away, and makes somebody else a member of the same group instead.
fn change(estate: &Estate, world: &World) -> String {
    const EVERY: usize = 200;
    let (mut seen, mut changed) = (0, 0);
    for group in &world.groups {
        for at in &group.members {
            seen += 1;
            if seen % EVERY != 0 {
                continue;
            }
            let other = (at + 1..world.people.len()).find(|other| group.members.binary_search(other).is_err());
            estate.okta.remove_member(&group.id, &world.people[*at].id);
            changed += 1;
            if let Some(other) = other {
                estate.okta.add_member(&group.id, &world.people[other].id);
                changed += 1;
            }
        }
    }
    format!("{changed} memberships of {seen}")
}
