//! The metrics that there are. A test holds alert rules and dashboard to this list, and this list to what is really answered.

/// What sort of metric one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A value that goes up and down.
    Gauge,
    /// A number that only grows, from zero at the start of the process.
    Counter,
    /// A distribution of durations.
    Histogram,
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What it tells.
    pub help: &'static str,
    /// Of which sort it is.
    pub sort: Sort,
    /// Its labels.
    pub labels: &'static [&'static str],
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, help, sort: Sort::Gauge, labels }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, help, sort: Sort::Counter, labels }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, help, sort: Sort::Histogram, labels }
}

const AT: &[&str] = &["job_name", "target"];
const SYSTEM: &[&str] = &["system"];
const JOB: &[&str] = &["job_name"];

macro_rules! metrics {
    ($($const:ident = $metric:expr;)*) => {
        $(#[expect(missing_docs, reason = "its help says it")] pub const $const: Metric = $metric;)*
        /// All of them.
        pub const ALL: &[&Metric] = &[$(&$const),*];
    };
}

metrics! {
    BUILD = gauge("rosterd_build_info", &["version"], "1; the version that runs.");
    STARTED = gauge("rosterd_start_timestamp_seconds", &[], "When the process started.");
    HEARTBEAT = gauge("rosterd_supervisor_heartbeat_age_seconds", &[], "How long ago the supervisor was last heard.");
    READY = gauge("rosterd_ready", &[], "Whether every part of /readyz stands.");
    READABLE = gauge("rosterd_journal_readable", &[], "Whether the state store could be read for this answer. While it is 0, what comes of it is not told.");
    LOADED = gauge("rosterd_config_loaded_timestamp_seconds", &[], "When the configuration in force was read.");
    RELOADS = counter("rosterd_reloads_total", &["outcome"], "Reloads of the configuration.");
    RELOAD_FAILED = gauge("rosterd_last_reload_failed", &[], "Whether the last reload failed, so that the configuration before is in force.");

    TARGET = gauge("rosterd_target_info", &["job_name", "target", "source", "mode"], "1; which job writes to a target, or observes it, from which source.");
    RUNNING = gauge("rosterd_job_running", JOB, "Whether the job is at work.");
    NEXT = gauge("rosterd_next_run_timestamp_seconds", JOB, "When the job runs next by its schedule.");

    RUNS = counter("rosterd_runs_total", &["job_name", "target", "ended"], "Runs by how they ended, retries of single users among them.");
    RUN_SECONDS = histogram("rosterd_run_duration_seconds", AT, "How long runs took.");
    STAGE_SECONDS = histogram("rosterd_run_stage_duration_seconds", &["job_name", "target", "stage"], "How long the stages of runs took; the source is read once for all targets of a job.");
    CHANGES = counter("rosterd_changes_total", &["job_name", "target", "kind", "outcome"], "Changes by what came of them.");

    COMPLETE = gauge("rosterd_last_complete_run_timestamp_seconds", AT, "End of the last run that read both sides whole and left the target in step, but for what waits for a person, on the retry queue or in quarantine; where the job observes, that came to a plan.");
    APPLIED = gauge("rosterd_last_applied_run_timestamp_seconds", AT, "End of the last run that changed something at the target.");
    OVERDUE = gauge("rosterd_overdue_seconds", AT, "How long ago the next complete run was due, by the schedule and the last complete one (before any, the oldest run that is recorded); 0 if none is.");
    LAST_ENDED = gauge("rosterd_last_run_ended", &["job_name", "target", "ended"], "1 for how the last run over everything ended, 0 for all other ways.");
    BELIEVED = gauge("rosterd_source_believed", AT, "Whether the last run that judged the source believed it; if not, it was blind, however it ended, and removed nobody.");
    STAGED = gauge("rosterd_staged_removals", &["job_name", "target", "kind"], "Removals that wait for a person.");
    STAGED_OLDEST = gauge("rosterd_staged_oldest_timestamp_seconds", AT, "Since when the oldest of them waits.");
    RETRIES = gauge("rosterd_retry_entries", AT, "Subjects on the retry queue, those in quarantine left out.");
    RETRY_OLDEST = gauge("rosterd_retry_oldest_timestamp_seconds", AT, "When the oldest of them failed first.");
    QUARANTINED = gauge("rosterd_quarantined_subjects", AT, "Subjects whose attempts are spent: they rest until they heal or a person releases them.");
    HELD = gauge("rosterd_held_users", AT, "Users about whom nothing is written, after an undo.");
    RESTING = gauge("rosterd_system_resting", SYSTEM, "Whether the system is left alone for now, after failures or a refused credential.");
    FAILURES = gauge("rosterd_system_failures", SYSTEM, "Failures of the system in a row.");
    CREDENTIAL = gauge("rosterd_credential_expiry_timestamp_seconds", SYSTEM, "When the credential of the system expires, where the system tells.");

    REQUESTS = counter("rosterd_requests_total", &["system", "status_class"], "Requests by the class of their answers; none: no answer came.");
    LIMITED = counter("rosterd_requests_limited_total", SYSTEM, "Answers that said that a rate limit is used up (429).");
    WAITED = counter("rosterd_wait_seconds_total", &["system", "cause"], "How long requests have waited for room in a rate limit, or for another try.");
    LIMIT_USED = gauge("rosterd_rate_limit_used_ratio", &["system", "bucket"], "How much of a rate limit was used up, by anybody, at the last answer that told; 0 once its window is over.");
    CLOCK = gauge("rosterd_clock_offset_seconds", SYSTEM, "How far the clock of the system was ahead of ours at its last answer; not told once that is 26 hours ago.");
    CERTIFICATE = gauge("rosterd_tls_certificate_expiry_timestamp_seconds", SYSTEM, "When the certificate of the system ends, by its last answer; not told once that is 26 hours ago.");
}
