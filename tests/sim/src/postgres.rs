//! A real PostgreSQL of the test's own: made by `initdb` in a folder of its own, gone when the test process is.
//!
//! The programs come with the operating system (Debian: `apt-get install postgresql`). Where they are not there, whoever asks
//! gets nothing, and a word on the error stream; with `ROSTERD_TEST_POSTGRES=required` in the environment that is a failure.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

/// Says that a missing PostgreSQL is a failure and no reason to skip.
const REQUIRED: &str = "ROSTERD_TEST_POSTGRES";
/// The password of everybody.
pub const PASSWORD: &str = "kein/Geheimnis?";
/// Waits for the end of the test process, however it comes, and clears up. Its arguments: where the programs are, the folder.
const CLEAR_UP: &str = r#"cat >/dev/null; "$1/pg_ctl" -D "$2/data" -m immediate -s stop; rm -rf "$2""#;

/// A server.
pub struct Cluster {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    made: AtomicU32,
    /// Ends when its input does.
    _clears_up: Child,
}

/// A database on it.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its address, without a password; a password is not asked for either.
    pub url: String,
    /// Its name.
    pub name: String,
}

/// Where the programs are; `None` if they are not.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .collect();
    found.sort_by_key(|bin| bin.parent().and_then(|v| v.file_name()?.to_str()?.parse::<u32>().ok()));
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    found.pop().or_else(|| on_path.into_iter().find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists()))
}

/// A port that is free, and that nobody is given who asks for any: a server binds it a while later, and again after a crash.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = (std::process::id() % 500) as u16 * 20;
    let ports = (0..10_000).map(|_| 20_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000);
    ports.into_iter().find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

impl Cluster {
    /// The one that the tests of this process share.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// One of its own, for who stops and starts it.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os(REQUIRED).is_none(), "there is no PostgreSQL here, and {REQUIRED} is set");
            // Past the test runner, which keeps to itself what a test that passes prints.
            let _ = writeln!(std::io::stderr(), "\nSKIPPED: there is no PostgreSQL here (apt-get install postgresql)\n");
            return None;
        };
        let folder = std::env::temp_dir().join(format!("rosterd-pg-{}-{}", std::process::id(), free_port()));
        std::fs::create_dir(&folder).expect("a folder");
        if is_root() {
            // The server refuses to run as root.
            checked(Command::new("chown").arg("postgres").arg(&folder));
        }
        let mut clears_up = as_user("sh");
        clears_up.args(["-c", CLEAR_UP, "sh"]).args([&programs, &folder]).stdin(Stdio::piped());
        // In a group of its own: what ends the tests from the keyboard does not end it before them.
        std::os::unix::process::CommandExt::process_group(&mut clears_up, 0);
        let clears_up = clears_up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell");
        let port = free_port();
        let cluster = Self { programs, folder, port, made: AtomicU32::new(0), _clears_up: clears_up };
        let data = cluster.data();
        let mut initdb = cluster.program("initdb");
        initdb.args(["--no-sync", "-A", "trust", "-U", "rosterd", "-E", "UTF8", "--locale=C.UTF-8", "-D"]).arg(&data);
        if cluster.version() >= 15 {
            // An order that is not that of bytes, as most databases have one: what relies on the latter shows. Before, only the
            // operating system had such locales, and most images of it have none.
            initdb.args(["--locale-provider=icu", "--icu-locale=en"]);
        }
        checked(&mut initdb);
        // Who gives a password is asked for it, through TCP as over the network.
        let rules = "local all all trust\nhost all rosterd 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        cluster.write("pg_hba.conf", rules);
        cluster.boot();
        cluster.sql("postgres", &format!("create role guarded login superuser password '{PASSWORD}'"));
        Some(cluster)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Writes a file into the data folder, for the server to read.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.data().join(name);
        std::fs::write(&path, text).expect("written");
        if is_root() {
            checked(Command::new("chown").arg("postgres").arg(&path));
        }
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("rights");
        path
    }

    /// The major version.
    pub fn version(&self) -> u32 {
        let said = checked(self.program("postgres").arg("--version"));
        let number = said.split(' ').find_map(|word| word.split('.').next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no version: {said}"))
    }

    fn program(&self, name: &str) -> Command {
        as_user(self.programs.join(name))
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts the server and waits until it serves.
    pub fn boot(&self) {
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=300",
            self.port,
            self.folder.display()
        );
        let log = self.folder.join("log");
        checked(self.program("pg_ctl").arg("-D").arg(self.data()).arg("-l").arg(log).args(["-w", "-s", "-o", &options, "start"]));
    }

    /// Ends the server as a crash does.
    pub fn crash(&self) {
        checked(self.program("pg_ctl").arg("-D").arg(self.data()).args(["-m", "immediate", "-w", "-s", "stop"]));
    }

    /// Makes the server read its settings again.
    pub fn reload(&self) {
        checked(self.program("pg_ctl").arg("-D").arg(self.data()).args(["-s", "reload"]));
    }

    /// Runs statements in a database, and returns what they print.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = self.program("psql");
        psql.arg("-h").arg(&self.folder).args(["-p", &self.port.to_string(), "-U", "rosterd", "-d", database, "-qAtX"]);
        checked(psql.args(["-v", "ON_ERROR_STOP=1", "-c", sql]))
    }

    /// Makes an empty database.
    pub fn database(&self) -> Database {
        let name = format!("d{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("create database {name}"));
        Database { url: format!("postgres://rosterd@127.0.0.1:{}/{name}?sslmode=disable", self.port), name }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A command as a user who may run a server.
fn as_user(program: impl AsRef<Path>) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program.as_ref());
        command
    } else {
        Command::new(program.as_ref())
    };
    command.current_dir("/").env("LC_ALL", "C.UTF-8");
    command
}

#[track_caller]
fn checked(command: &mut Command) -> String {
    // Into files would be simpler, were it not for the server, which inherits them and never closes them.
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let output = output.wait_with_output().expect("it ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
