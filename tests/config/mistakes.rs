//! Mistakes that people make, and what they are told: one text a mistake, one message a snapshot.

use proptest::prelude::*;
use rosterd::config::{Layers, Severity, render};

use super::load;

/// A configuration that works, to be spoilt.
pub const WORKING: &str = r#"[sources.okta]
kind = "okta"
domain = "companyname.okta.com"
api_token = { env = "OKTA_API_TOKEN" }

[targets.jira]
kind = "jira"
url = "https://jira.example.com"
auth = { token = { env = "JIRA_TOKEN" } }

[jobs.staff]
source = "okta"
targets = ["jira"]
schedule = "hourly"
"#;

/// What is told of the working text with one part replaced.
fn spoilt(from: &str, to: &str) -> String {
    assert!(WORKING.contains(from), "{from} is not in the text");
    shown(&WORKING.replacen(from, to, 1))
}

/// What is told of the working text with more at its end.
fn with(more: &str) -> String {
    shown(&format!("{WORKING}{more}\n"))
}

/// What is told of the working job with this schedule.
fn scheduled(schedule: &str) -> String {
    spoilt("\"hourly\"", schedule)
}

fn shown(text: &str) -> String {
    match load(text) {
        Err(error) => error.render(false),
        Ok(checked) => render(&checked.warnings, false),
    }
}

#[test]
fn the_text_to_be_spoilt_works() {
    assert_eq!(shown(WORKING), "");
}

macro_rules! mistakes {
    ($($name:ident: $shown:expr;)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), $shown);
        }
    )*};
}

mistakes! {
    an_unknown_key: spoilt("schedule", "scheduel");
    an_unknown_key_far_from_all: spoilt("schedule = \"hourly\"", "schedule = \"hourly\"\ncolour = \"red\"");
    an_unknown_section: with("[job.staff]\nsource = \"okta\"");
    an_unknown_key_that_needs_quotes: with("[\"jobs.staff\"]\nsource = \"okta\"");
    a_missing_key: spoilt("schedule = \"hourly\"\n", "");
    two_missing_keys: spoilt("source = \"okta\"\ntargets = [\"jira\"]\n", "");
    a_number_for_text: spoilt("\"okta\"\ntargets", "5\ntargets");
    files_looked_at_all_the_time: with("[daemon]\nwatch = \"1ms\"");
    text_for_a_number: with("guard = { admins_at_least = \"two\" }");
    text_for_a_table: with("guard = \"strict\"");
    a_table_for_a_list: with("users = { exclude = { a = 1 } }");
    a_syntax_error: spoilt("[\"jira\"]", "[\"jira\"");
    two_syntax_errors: shown(&WORKING.replacen("kind = \"okta\"", "kind = okta", 1).replacen("\"hourly\"", "hourly", 1));
    a_key_given_twice: spoilt("schedule", "source = \"okta\"\nschedule");
    a_syntax_error_beside_a_secret: spoilt("{ env = \"OKTA_API_TOKEN\" }", "\"hunter2-hunter2");
    a_number_too_large: with("guard = { admins_at_least = 99999999999999999999 }");
    a_negative_number: with("guard = { admins_at_least = -1 }");
    a_dangling_source: spoilt("source = \"okta\"", "source = \"okat\"");
    a_dangling_target: spoilt("[\"jira\"]", "[\"jira\", \"confluence\"]");
    no_target: spoilt("[\"jira\"]", "[]");
    a_target_twice: spoilt("[\"jira\"]", "[\"jira\", \"jira\"]");
    an_observed_target_of_another_name: spoilt("schedule", "observe = [\"jria\"]\nschedule");
    an_observed_target_twice: spoilt("schedule", "observe = [\"jira\", \"jira\"]\nschedule");
    an_unknown_kind: spoilt("kind = \"jira\"", "kind = \"jria\"");
    a_missing_kind: spoilt("kind = \"jira\"\n", "");
    an_unknown_key_of_a_connector: spoilt("url =", "ulr =");
    a_finding_of_a_connector: spoilt("https://jira", "http://jira");
    a_finding_about_the_whole_table: spoilt("api_token = { env = \"OKTA_API_TOKEN\" }\n", "");
    an_inline_secret: spoilt("{ env = \"OKTA_API_TOKEN\" }", "\"hunter2-hunter2\"");
    an_inline_secret_in_a_line_with_others: spoilt("{ token = { env = \"JIRA_TOKEN\" } }", "{ username = \"r\", password = \"hunter2-hunter2\", user = 1 }");
    a_secret_for_the_name_of_its_variable: spoilt("\"OKTA_API_TOKEN\"", "\"00hunter2-hunter2\"");
    a_webhook_s_url_for_the_name_of_its_variable: with("[notify.ops]\nurl = { env = \"https://hooks.example.com/T0/hunter2\" }");
    a_password_for_the_name_of_its_variable: with("[notify.ops]\nurl = { env = \"hunter2hunter2\" }");
    a_webhook_without_https: with("[notify.ops]\nurl = { env = \"PLAIN_HOOK_URL\" }");
    a_webhook_whose_url_stands_in_the_file: with("[notify.ops]\nurl = \"https://hooks.example.com/T0/hunter2-hunter2\"");
    a_webhook_whose_url_is_not_there: with("[notify.ops]\nurl = { env = \"NO_HOOK_URL\" }");
    an_unknown_word_for_a_webhook: with("[notify.ops]\nurl = { env = \"HOOK_URL\" }\non = [\"staged\", \"recoverd\"]");
    a_webhook_that_is_told_nothing: with("[notify.ops]\nurl = { env = \"HOOK_URL\" }\non = []");
    a_secret_for_the_whole_credential: spoilt("{ token = { env = \"JIRA_TOKEN\" } }", "\"hunter2-hunter2\"");
    a_password_in_the_state: with("[daemon]\nstate = \"postgres://rosterd:hunter2-hunter2@db/rosterd\"");
    a_password_among_the_parameters_of_the_state:
        with("[daemon]\nstate = \"postgres://rosterd@db/rosterd?sslmode=require&password=hunter2-hunter2\"");
    a_password_behind_an_empty_one: with("[daemon]\nstate = \"postgres://rosterd:@db/rosterd?password=hunter2-hunter2\"");
    a_secret_in_two_places: with("[daemon]\ntoken = { env = \"A\", file = \"/b\" }");
    a_token_that_stands_in_the_file: with("[daemon.tokens.ops]\nsecret = \"hunter2-hunter2\"\nmay = \"write\"");
    a_token_that_may_something_else: with("[daemon.tokens.ops]\nsecret = { env = \"OPS_TOKEN\" }\nmay = \"wirte\"");
    a_token_without_a_right: with("[daemon.tokens.ops]\nsecret = { env = \"OPS_TOKEN\" }");
    a_token_by_the_name_of_another: with("[daemon]\ntoken = { env = \"A_TOKEN\" }\n[daemon.tokens.token]\nsecret = { env = \"OPS_TOKEN\" }\nmay = \"write\"");
    a_token_with_two_words_for_a_name: with("[daemon.tokens.\"ops team\"]\nsecret = { env = \"OPS_TOKEN\" }\nmay = \"write\"");
    an_address_for_others_without_a_token: with("[daemon]\nlisten = \"0.0.0.0:9640\"");
    an_unknown_word_of_schedule: scheduled("\"houly\"");
    a_cron_expression_for_a_word: scheduled("\"0 6 * * *\"");
    an_interval_too_short: scheduled("\"100ms\"");
    six_fields_of_cron: scheduled("{ cron = \"0 0 6 * * *\" }");
    a_cron_expression_that_is_none: scheduled("{ cron = \"61 6 * * *\" }");
    a_cron_expression_that_never_fires: scheduled("{ cron = \"0 6 30 2 *\" }");
    neither_every_nor_cron: scheduled("{ at = \"06:30\" }");
    a_time_that_is_none: scheduled("{ every = \"daily\", at = \"25:00\" }");
    one_time_for_twice_daily: scheduled("{ every = \"twice_daily\", at = [\"06:30\"] }");
    a_time_for_hourly: scheduled("{ every = \"hourly\", at = \"06:30\" }");
    a_weekday_that_is_none: scheduled("{ every = \"weekly\", weekday = \"mondey\" }");
    an_unknown_key_of_a_schedule: scheduled("{ every = \"daily\", att = \"06:30\" }");
    a_jitter_too_long: scheduled("{ every = \"15m\", jitter = \"15m\" }");
    an_unknown_time_zone: with("[daemon]\ntimezone = \"Berlin\"");
    a_mistyped_time_zone: with("[daemon]\ntimezone = \"Europe/Belrin\"");
    a_span_without_a_unit: with("leavers = { grace = \"2\" }");
    a_number_for_a_span: with("leavers = { grace = 2 }");
    an_unknown_action: with("leavers = { disabled = \"deactivat\" }");
    an_unknown_log_level: with("[log]\nlevel = \"inof\"");
    a_log_filter_that_is_none: with("[log]\nlevel = \"rosterd=loud\"");
    an_address_that_is_none: with("[daemon]\nlisten = \"localhost\"");
    a_state_that_is_none: with("[daemon]\nstate = \"/var/lib/rosterd/state.db\"");
    a_glob_that_does_not_compile: with("groups = { include = [\"eng-*\", \"jira-[\"] }");
    a_pattern_that_does_not_compile: with("groups = { map = [{ pattern = \"^app-(.*$\", to = [\"x\"] }] }");
    a_capture_that_is_not_there: with("groups = { map = [{ pattern = \"^app-(.*)$\", to = [\"$1_users\", \"$2\"] }] }");
    a_rule_with_neither_from_nor_pattern: with("groups = { map = [{ to = [\"x\"] }] }");
    a_rule_that_leads_nowhere: with("groups = { map = [{ from = \"Engineering\", to = [] }] }");
    an_expression_that_does_not_compile: with("users = { filter = \"lower(login\" }");
    a_template_for_an_expression: with("users = { map = { username = \"{{ login }}\" } }");
    an_empty_gate: with("users = { member_of = [] }");
    a_share_in_percent: with("guard = { deactivations = { share = 10 } }");
    an_unknown_word_for_a_full_licence: with("guard = { seats = \"holds\" }");
    a_number_of_seats: with("guard = { seats = 500 }");
    an_expectation_of_nothing: with("guard = { expect = [{ group = \"jira-users\" }] }");
    a_deletion_before_the_grace_is_over: with("leavers = { grace = \"2d\", delete_after = \"1d\" }");
    a_deletion_of_nobody: with("leavers = { disabled = \"keep\", out_of_scope = \"keep\", deleted = \"remove_groups\", delete_after = \"90d\" }");
    waits_in_the_wrong_order: with("retry = { base = \"10m\", ceiling = \"1m\" }");
    a_name_that_cannot_be_one: spoilt("[jobs.staff]", "[jobs.\"all staff\"]");
    one_name_for_a_source_and_a_target: with("[targets.okta]\nkind = \"jira\"\nurl = \"https://j\"\nauth = {}");
    a_target_that_no_job_uses: with("[targets.wiki]\nkind = \"confluence\"\nurl = \"https://w\"\nauth = {}");
    two_jobs_that_write_to_one_target: with("[jobs.others]\nsource = \"okta\"\ntargets = [\"jira\"]\nschedule = \"daily\"\ngroups = { include = [\"eng-*\"] }");
    two_jobs_of_different_sources_at_one_target: with("[sources.other]\nkind = \"okta\"\ndomain = \"other.okta.com\"\napi_token = { env = \"OTHER_TOKEN\" }\n\n[jobs.others]\nsource = \"other\"\ntargets = \"jira\"\nschedule = \"daily\"");
    no_job_at_all: shown("[daemon]\n");
    everything_at_once: shown(EVERYTHING);
}

const EVERYTHING: &str = r#"
[daemon]
timezon = "UTC"
drain = "soon"

[sources.okta]
kind = "okta"
domian = "companyname.okta.com"
api_token = "hunter2-hunter2"

[targets.jira]
kind = "jira"
url = 5
auth = { token = { evn = "JIRA_TOKEN" } }

[jobs.staff]
source = "octa"
targets = ["jira", "confluence"]
schedule = { every = "fortnightly" }
mode = "aply"

[jobs.staff.users]
exclude = ["svc-["]
map = { username = "lower(login" }
"#;

#[test]
fn a_job_that_only_observes_may_stand_beside_the_one_that_writes() {
    let beside = "[jobs.trial]\nmode = \"observe\"\nsource = \"okta\"\ntargets = [\"jira\"]\nschedule = \"daily\"";
    assert_eq!(with(beside), "");
    assert_eq!(with(&beside.replace("mode = \"observe\"", "observe = \"jira\"")), "");
}

#[test]
fn no_message_shows_a_secret() {
    let hooked = format!("{WORKING}[notify.ops]\nurl = {{ env = \"HOOK_URL\" }}\n");
    let places = [
        "{ env = \"HOOK_URL\" }",
        "{ env = \"OKTA_API_TOKEN\" }",
        "{ token = { env = \"JIRA_TOKEN\" } }",
        "{ env = \"JIRA_TOKEN\" }",
    ];
    let spoils = [
        "\"hunter2\"",
        "'hunter2'",
        "\"\"\"\nhunter2\n\"\"\"",
        "\"hunter2",
        "{ env = 5, password = \"hunter2\" }",
        "[\"hunter2\"]",
        "{ value = \"hunter2\" }",
        "{ token = { value = \"hunter2\" } }",
        "\"\"\"\nhunter2",
        "{ env = \"hunter2",
        "{ env = \"00-hunter2\" }",
        "{ token = { env = \"hunter2\" } , nonsense = 1 }",
    ];
    for place in places {
        for spoil in spoils {
            let text = hooked.replacen(place, spoil, 1);
            let shown = shown(&text);
            assert!(!shown.is_empty() && !shown.contains("hunter2"), "{place} as {spoil}:\n{shown}");
        }
    }
}

#[test]
fn a_rendered_message_is_coloured_only_if_asked_for() {
    let error = load(&WORKING.replace("hourly", "houly")).expect_err("it is wrong");
    assert!(error.render(true).contains("\x1b[1;31m") && !error.render(false).contains('\x1b'));
    let finding = &error.findings[0];
    assert_eq!((finding.file(), finding.line(), finding.offending().as_str()), (Some("rosterd.toml"), Some(14), "\"houly\""));
    assert_eq!(finding.severity, Severity::Error);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Layers::read(&["/nonexistent/rosterd.toml".into()], &[]).expect_err("it is not there");
    assert!(error.to_string().starts_with("/nonexistent/rosterd.toml: the file cannot be read"), "{error}");
}

#[test]
fn a_later_file_lies_over_an_earlier_one() {
    let over = "[jobs.staff]\nschedule = \"daily\"\ntargets = [\"jria\"]\n";
    let layers = Layers::from_texts(&[("base.toml", WORKING), ("over.toml", over)], &[]).expect("both are TOML");
    let kit = rosterd::http::kind::Kit { secrets: Default::default(), meters: Default::default(), latches: Default::default() };
    let registry = &super::stand_ins::REGISTRY;
    let checks = rosterd::config::Checks { expression: &super::expression, registry, kit: &kit };
    let error = rosterd::config::check(&layers, &checks).expect_err("there is no such target");
    assert_eq!(error.to_string(), "over.toml:3:12: jobs.staff.targets[0]: there is no target `jria` (did you mean `jira`?)");
}

/// Pieces that are likely to go wrong together.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[jobs.staff]\n".to_owned()),
        Just("[sources.okta]\n".to_owned()),
        Just("[[jobs]]\n".to_owned()),
        Just("schedule = ".to_owned()),
        Just("api_token = \"ä".to_owned()),
        Just("\"\"\"\n".to_owned()),
        Just("{ every = \"daily\", at = [\"é\"] }\n".to_owned()),
        Just("guard.deactivations.share = nan\n".to_owned()),
        Just("groups.map = [{ pattern = \"(\", to = \"$\" }]\n".to_owned()),
        "[a-z_]{1,8}( = |\\.)",
        "[\"'\\[\\]{}#=\\n\\r\\t ,.]{1,4}",
        any::<String>(),
        any::<i128>().prop_map(|number| format!("{number}\n")),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_loader_panic(text in pieces()) {
        let _ = shown(&text);
        let _ = shown(&format!("{WORKING}{text}"));
        let _ = shown(&WORKING.replacen("\"hourly\"", &text, 1));
    }

    #[test]
    fn no_variable_makes_the_loader_panic(name in "[A-Za-z_.\\[\\]0-9]{0,20}", value in pieces()) {
        let name = format!("ROSTERD__{name}");
        let _ = super::load_with(WORKING, &[(&name, &value), ("ROSTERD__JOBS__STAFF__SCHEDULE", &value)]);
    }
}
