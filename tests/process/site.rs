//! A site: the simulated systems, a folder with configuration, secrets and state, and the binary that works on them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rosterd::contract::journal::{ChangeRecord, Journal, RunQuery, RunRecord};
use rosterd::store::{self, Access};
use rosterd_sim::directory::Directory;
use rosterd_sim::estate::{Estate, Options};
use rosterd_sim::harness::{Fault, Rule, Running, Seen};
use rosterd_sim::world::World;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

/// How long a test waits for what must come. Only a failing test waits so long.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// How often a state is looked at.
const PACE: Duration = Duration::from_millis(5);

/// A schedule that fires in no test: at a midnight every four years.
pub const NEVER: &str = "schedule = { cron = \"0 0 29 2 *\" }";

/// A job in which one deactivation at a time needs nobody, and which runs only when it is told to.
pub const ONE_AT_A_TIME: &str =
    "schedule = { cron = \"0 0 29 2 *\" }\n[jobs.staff.guard]\ndeactivations = { share = 0.0, floor = 1 }\n";

/// Waits until something is there.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    until_told(what, async || look().ok_or("")).await
}

/// Waits until an answer is what it should be; what it was instead is told when the waiting has been in vain.
pub async fn until_told<T, N: std::fmt::Display>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, N>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match ask().await {
            Ok(told) => return told,
            Err(instead) => assert!(Instant::now() < deadline, "waited in vain for {what}: {instead}"),
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Waits until something holds.
pub async fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(())).await;
}

/// A small world: enough for every kind of change, little enough for a hundred runs. Everybody has an e-mail address: the
/// targets create nobody without one, and every run would tell.
pub fn small() -> World {
    let mut world = World::seeded(7, 24, 4, 40);
    for person in &mut world.people {
        person.email.get_or_insert_with(|| format!("{}@example.com", person.number));
    }
    world
}

/// A port that nobody has.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// What a command came to.
#[derive(Debug)]
pub struct Said {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The standard output.
    pub out: String,
    /// The error stream.
    pub err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Demands this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// The standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

/// The binary with a clean environment.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rosterd"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs the binary to its end.
pub async fn rosterd(arguments: &[&str]) -> Said {
    finish(binary().args(arguments)).await
}

/// Runs a command to its end.
pub async fn finish(command: &mut Command) -> Said {
    let output = tokio::time::timeout(DEADLINE, command.output()).await.expect("the command ends").expect("it starts");
    Said::of(output)
}

/// A site.
pub struct Site {
    /// The simulated systems.
    pub estate: Estate,
    /// The folder.
    pub folder: tempfile::TempDir,
    /// Where the state is kept.
    pub url: String,
}

impl Site {
    /// A site over the small world with an hourly job.
    pub async fn plain() -> Self {
        Self::with(small(), "schedule = \"hourly\"").await
    }

    /// The same with a job that runs only when it is told to.
    pub async fn idle() -> Self {
        Self::with(small(), NEVER).await
    }

    /// A site over a world; `job` is put within `[jobs.staff]` and may open further tables.
    pub async fn with(world: World, job: &str) -> Self {
        let estate = Estate::start(world, Options::default()).await.expect("the simulators start");
        Self::over(estate, job)
    }

    /// A site over simulators that are there.
    pub fn over(estate: Estate, job: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("state.db").display());
        let site = Self { estate, folder, url };
        site.configure(job);
        site
    }

    /// The same with its state on a server.
    pub async fn on(url: &str, job: &str) -> Self {
        let mut site = Self::with(small(), job).await;
        site.url = url.to_owned();
        site.configure(job);
        site
    }

    /// Writes the configuration anew and returns its text.
    pub fn configure(&self, job: &str) -> String {
        let text = self.estate.configuration(self.folder.path(), "", job).expect("secrets are written");
        let text = text.replacen(&format!("sqlite:{}", self.state().display()), &self.url, 1);
        self.write(&text);
        text
    }

    /// Writes this text as configuration.
    pub fn write(&self, text: &str) {
        self.put("rosterd.toml", text);
    }

    /// Puts a file in the place of another at once: whoever watches sees no half of it.
    pub fn put(&self, name: &str, text: &str) {
        let half = self.folder.path().join(format!("{name}.half"));
        std::fs::write(&half, text).expect("written");
        std::fs::rename(half, self.folder.path().join(name)).expect("put in its place");
    }

    /// Sets more keys of `[daemon]`.
    pub fn daemon_keys(&self, keys: &str) {
        let text = std::fs::read_to_string(self.file()).expect("there is a configuration");
        self.write(&text.replacen("[daemon]\n", &format!("[daemon]\n{keys}\n"), 1));
    }

    /// The configuration's file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("rosterd.toml")
    }

    /// The state file.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    /// A command on this site's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command.args(arguments).arg("--config").arg(self.file());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Said {
        finish(&mut self.command(arguments)).await
    }

    /// Starts the daemon and waits until it is ready.
    pub async fn daemon(&self) -> Daemon {
        let daemon = Daemon::start(&mut self.command(&["run"]));
        daemon.line("is ready").await;
        daemon
    }

    /// The servers of the targets.
    pub fn targets(&self) -> [&Running; 3] {
        [&self.estate.jira.running, &self.estate.confluence.running, &self.estate.bitbucket.running]
    }

    /// The requests to the targets so far that changed something.
    pub fn writes(&self) -> usize {
        self.targets().iter().map(|t| t.log.writes().len()).sum()
    }

    /// Makes every answer of the targets take so long.
    pub fn latency(&self, latency: Duration) {
        self.targets().iter().for_each(|t| t.faults.latency(latency));
    }

    /// Makes the source refuse everything for now.
    pub fn okta_fails(&self, status: u16) {
        self.estate.okta.server.faults.add(Rule::always("", "", Fault::html(status, "<html>no</html>")));
    }

    /// What the targets hold.
    pub fn picture(&self) -> Vec<Picture> {
        vec![
            Picture::of(&self.estate.jira.directory()),
            Picture::of(&self.estate.confluence.directory()),
            Picture::of(&self.estate.bitbucket.directory()),
        ]
    }

    /// The journal, to read.
    pub async fn journal(&self) -> Arc<dyn Journal> {
        store::open_for(&self.url, Access::Read).await.expect("the journal opens")
    }

    /// Systems that rest since their credential was refused.
    pub async fn resting(&self) -> Vec<String> {
        let rests = self.journal().await.rests().await.expect("readable");
        let refused = rests
            .into_iter()
            .filter(|rest| rest.fault == rosterd::contract::fault::Fault::Refused.word())
            .map(|rest| rest.system.to_string());
        let mut names: Vec<String> = refused.collect();
        names.sort();
        names
    }

    /// All runs with their changes.
    pub async fn record(&self) -> Vec<(RunRecord, Vec<ChangeRecord>)> {
        let journal = self.journal().await;
        let mut record = Vec::new();
        for run in journal.runs(&RunQuery { limit: 10_000, ..RunQuery::default() }).await.expect("readable") {
            let changes = journal.changes(&run.start.id).await.expect("readable");
            record.push((run, changes));
        }
        record
    }

    /// Suspends so many people who work, more than the limits let go at once.
    pub fn lay_off(&self, many: usize) {
        let world = self.estate.okta.world();
        let working = world.people.iter().filter(|p| p.status.works() && p.email.is_some());
        working.take(many).for_each(|p| self.estate.okta.suspend(&p.id));
    }

    /// Fails if a change was made twice at a target.
    #[track_caller]
    pub fn nothing_was_done_twice(&self) {
        for target in self.targets() {
            let mut seen: BTreeMap<(String, String, Vec<u8>), usize> = BTreeMap::new();
            for Seen { method, path, query, body, status, .. } in target.log.writes() {
                if (200..300).contains(&status) {
                    *seen.entry((method, format!("{path}?{query}"), body.to_vec())).or_default() += 1;
                }
            }
            let twice: Vec<_> = seen.into_iter().filter(|(_, n)| *n > 1).collect();
            assert!(twice.is_empty(), "{}: made twice: {twice:?}", target.url);
        }
    }
}

/// Who is in a product and in which group.
#[derive(Debug, PartialEq, Eq)]
pub struct Picture {
    /// User names with e-mail address and whether they are active.
    pub users: BTreeMap<String, (String, bool)>,
    /// Groups with their members.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

impl Picture {
    fn of(directory: &Directory) -> Self {
        let user = |u: &rosterd_sim::directory::User| (u.name().to_owned(), (u.email.clone(), u.is_active()));
        let groups = directory.groups().map(|g| (g.name().to_owned(), directory.member_names(g.name())));
        Self { users: directory.users().map(user).collect(), groups: groups.collect() }
    }
}

/// A running process and what it has said so far.
pub struct Daemon {
    child: Child,
    pid: u32,
    said: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    /// Starts a command and listens to its error stream.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let said = Arc::new(Mutex::new(Vec::new()));
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let heard = said.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                heard.lock().expect("not poisoned").push(line);
            }
        });
        let pid = child.id().expect("it runs");
        Self { child, pid, said }
    }

    /// The lines said so far.
    pub fn lines(&self) -> Vec<String> {
        self.said.lock().expect("not poisoned").clone()
    }

    /// How many lines contain all of these.
    pub fn count(&self, parts: &[&str]) -> usize {
        self.lines().iter().filter(|line| parts.iter().all(|p| line.contains(p))).count()
    }

    /// Waits for a line that contains this.
    pub async fn line(&self, contains: &str) -> String {
        self.nth(&[contains], 1).await
    }

    /// Waits for so many lines that contain all of these, and returns the last of them.
    pub async fn nth(&self, parts: &[&str], many: usize) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let lines = self.lines();
            let mut fitting = lines.iter().filter(|line| parts.iter().all(|p| line.contains(p)));
            if let Some(line) = fitting.nth(many - 1) {
                return line.clone();
            }
            assert!(Instant::now() < deadline, "waited in vain for {many} lines with {parts:?} in:\n{}", lines.join("\n"));
            tokio::time::sleep(PACE).await;
        }
    }

    /// Waits until so many runs at each target found nothing to do.
    pub async fn converges(&self, many: usize) {
        for target in ["jira", "confluence", "bitbucket"] {
            self.nth(&["run converged", target], many).await;
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        self.signals(name, 1);
    }

    /// Sends many signals, one straight after the other.
    pub fn signals(&self, name: &str, many: usize) {
        let script = format!("i=0; while [ $i -lt {many} ]; do kill -{name} {}; i=$((i+1)); done", self.pid);
        let status = std::process::Command::new("sh").args(["-c", &script]).status().expect("sh starts");
        assert!(status.success());
    }

    /// Waits for the end and returns the exit code; `None` if a signal ended it.
    pub async fn ends(&mut self) -> Option<i32> {
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        status.unwrap_or_else(|_| panic!("it does not end:\n{}", self.lines().join("\n"))).expect("it can be waited for").code()
    }

    /// Ends it as an idle daemon should end.
    pub async fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(self.ends().await, Some(0), "{}", self.lines().join("\n"));
    }
}

/// What systemd would hear.
pub struct Systemd {
    said: Arc<Mutex<Vec<String>>>,
    socket: PathBuf,
}

impl Systemd {
    /// Listens in a folder.
    pub fn listen(folder: &Path) -> Self {
        let socket = folder.join("notify.sock");
        let listener = UnixDatagram::bind(&socket).expect("a socket");
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = said.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length) = listener.recv(&mut buffer).await {
                heard.lock().expect("not poisoned").push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        });
        Self { said, socket }
    }

    /// Tells a process where to speak.
    pub fn tell(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", &self.socket);
    }

    /// The messages so far.
    pub fn heard(&self) -> Vec<String> {
        self.said.lock().expect("not poisoned").clone()
    }

    /// Waits for a message with all of these after so many messages, and returns it with its place.
    pub async fn message(&self, after: usize, parts: &[&str]) -> (usize, String) {
        let look = || {
            let heard = self.heard();
            let found = heard.iter().enumerate().skip(after).find(|(_, m)| parts.iter().all(|p| m.contains(p)));
            found.map(|(at, m)| (at, m.clone()))
        };
        until(&format!("a message with {parts:?}"), look).await
    }
}
