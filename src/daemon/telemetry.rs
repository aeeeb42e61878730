//! Logs: text or JSON to the error stream, and rolling files beside it. The level can be changed while the daemon runs.
//!
//! Files are written by a thread of their own that loses nothing: it slows the daemon down rather than drop a line. What it
//! still holds at exit is written when [`Telemetry`] is dropped, so it lives in `main`, outside the runtime.

use std::io::IsTerminal;
use std::path::PathBuf;

use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// When a new file is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotate {
    /// At midnight UTC.
    Daily,
    /// At the full hour.
    Hourly,
    /// Once a week.
    Weekly,
    /// Never.
    Never,
}

/// Log files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The folder; it must exist, or its parent so that it can be made.
    pub directory: PathBuf,
    /// When a new file is begun.
    pub rotate: Rotate,
    /// How many are kept.
    pub keep: usize,
}

/// What to log, how and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or a filter in tracing's syntax.
    pub level: String,
    /// How lines look.
    pub format: Format,
    /// Files beside the error stream.
    pub files: Option<Files>,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("the log level {level:?} is not a level or filter: {why}")]
    Level {
        /// As written.
        level: String,
        /// Why.
        why: String,
    },
    /// The files cannot be written.
    #[error("log files cannot be written to {directory:?}: {why}")]
    Files {
        /// Where.
        directory: PathBuf,
        /// Why.
        why: String,
    },
    /// Logging was set up before.
    #[error("logging was set up before: {0}")]
    Twice(String),
}

/// Logging as it stands. Dropping it writes what is still held.
pub struct Telemetry {
    filter: reload::Handle<EnvFilter, Registry>,
    _files: Option<WorkerGuard>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

/// The filter of a level: what libraries say of their own workings is kept down. That a machine has no store of authorities
/// is no news: the public ones are compiled in.
fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let quiet = "tokio_cron_scheduler=warn,hyper=warn,reqwest=warn,rustls=warn,rustls_platform_verifier=error,sqlx=warn,h2=warn";
    let plain = !level.contains(['=', ',']);
    let text = if plain { format!("{level},{quiet}") } else { level.to_owned() };
    EnvFilter::try_new(text).map_err(|e| LogError::Level { level: level.to_owned(), why: e.to_string() })
}

/// Whether the error stream leads to systemd's journal. The variable alone says little: it is inherited by whatever is
/// started with a stream of its own.
fn into_journal() -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(told) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|stream| told == format!("{}:{}", stream.dev(), stream.ino()))
}

/// Lines for systemd's journal, which knows the time by itself, and takes the level from the beginning of each line
/// (<https://www.freedesktop.org/software/systemd/man/latest/sd-daemon.html>).
struct ForJournal(fmt::format::Format<fmt::format::Full, ()>);

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        let mut text = String::new();
        self.0.format_event(context, Writer::new(&mut text), event)?;
        let level = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        text.lines().try_for_each(|line| writeln!(writer, "<{level}>{line}"))
    }
}

/// One object a line. What is said within a run has the run at `span`; what that in its turn lies within is never of use.
fn json<S>() -> fmt::Layer<S, fmt::format::JsonFields, fmt::format::Format<fmt::format::Json>> {
    fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false)
}

impl Telemetry {
    /// Sets logging up for the process.
    ///
    /// # Errors
    /// A filter that does not parse, files that cannot be written.
    pub fn start(settings: &LogSettings) -> Result<Self, LogError> {
        let (filter, handle) = reload::Layer::new(filter(&settings.level)?);
        let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let stderr: Box<dyn Layer<_> + Send + Sync> = match settings.format {
            Format::Text if into_journal() => fmt::layer()
                .with_writer(std::io::stderr)
                .event_format(ForJournal(fmt::format().without_time().with_ansi(false).with_target(false)))
                .boxed(),
            Format::Text => fmt::layer().with_writer(std::io::stderr).with_ansi(color).with_target(false).boxed(),
            Format::Json => json().with_writer(std::io::stderr).with_target(false).boxed(),
        };
        let (files, guard) = match &settings.files {
            None => (None, None),
            Some(files) => {
                let (writer, guard) = NonBlockingBuilder::default().lossy(false).finish(appender(files)?);
                let layer: Box<dyn Layer<_> + Send + Sync> = match settings.format {
                    Format::Text => fmt::layer().with_writer(writer).with_ansi(false).with_target(false).boxed(),
                    Format::Json => json().with_writer(writer).with_target(false).boxed(),
                };
                (Some(layer), Some(guard))
            }
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(stderr)
            .with(files)
            .try_init()
            .map_err(|e| LogError::Twice(e.to_string()))?;
        Ok(Self { filter: handle, _files: guard })
    }

    /// Changes the level.
    ///
    /// # Errors
    /// A filter that does not parse; the one before stays.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        let fresh = filter(level)?;
        self.filter.reload(fresh).map_err(|e| LogError::Level { level: level.to_owned(), why: e.to_string() })
    }
}

fn appender(files: &Files) -> Result<tracing_appender::rolling::RollingFileAppender, LogError> {
    let failed = |why: String| LogError::Files { directory: files.directory.clone(), why };
    std::fs::create_dir_all(&files.directory).map_err(|e| failed(e.to_string()))?;
    let rotation = match files.rotate {
        Rotate::Daily => Rotation::DAILY,
        Rotate::Hourly => Rotation::HOURLY,
        Rotate::Weekly => Rotation::WEEKLY,
        Rotate::Never => Rotation::NEVER,
    };
    // The library deletes whatever has this beginning and end, and keeps one less than told after a restart: hence a
    // beginning that only our own files have, and one more.
    Builder::new()
        .rotation(rotation)
        .filename_prefix("rosterd")
        .filename_suffix("log")
        .max_log_files(files.keep.max(1) + 1)
        .build(&files.directory)
        .map_err(|e| failed(e.to_string()))
}

/// For a command: warnings and errors to the error stream, more if `RUST_LOG` asks for it.
///
/// # Errors
/// A filter that does not parse.
pub fn for_command(verbose: bool) -> Result<Telemetry, LogError> {
    let asked = std::env::var("RUST_LOG").ok().filter(|l| !l.is_empty());
    let level = asked.unwrap_or_else(|| if verbose { "info" } else { "error" }.to_owned());
    Telemetry::start(&LogSettings { level, format: Format::Text, files: None })
}
