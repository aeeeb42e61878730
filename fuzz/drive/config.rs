//! The configuration's text: it is taken, or refused with the place of each mistake. Secrets are stand-ins and no file is
//! read for them.
//!
//! An input is the text of a file.

use rosterd::config::{Finding, Layers, Place, Severity, check, render};
use rosterd::daemon::assemble::{build_job, checks, kit_of_stand_ins};

/// Checks the text, and builds the jobs of what was taken.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let kit = kit_of_stand_ins();
    let result = Layers::from_texts(&[("rosterd.toml", text)], &[]).and_then(|layers| check(&layers, &checks(&kit)));
    match result {
        Ok(checked) => {
            all_in(text, &checked.warnings);
            for (name, job) in &checked.config.jobs {
                build_job(name, job).unwrap_or_else(|why| panic!("job {name} was checked and cannot be built: {why}"));
            }
        }
        Err(error) => {
            assert!(error.findings.iter().any(|finding| finding.severity == Severity::Error), "refused without an error");
            all_in(text, &error.findings);
            let _ = (error.render(true), error.to_string());
        }
    }
}

fn all_in(text: &str, findings: &[Finding]) {
    let _ = render(findings, false);
    for finding in findings {
        let _ = finding.offending();
        match &finding.place {
            Place::File { file, line, column, width, text: shown } => {
                assert_eq!(file, "rosterd.toml");
                assert!((1..=text.split('\n').count()).contains(line), "{finding:?}");
                let there = text.split('\n').nth(line - 1).unwrap_or_default();
                // Blanks at the end are not shown.
                let most = shown.chars().count().max(there.chars().count());
                assert!((1..=most + 1).contains(column) && *width >= 1, "{finding:?}");
                assert!(!shown.contains('\n'), "{finding:?}");
            }
            // A section that is not there has no line.
            Place::Whole { .. } => assert!(["sources", "targets", "jobs"].contains(&&*finding.key), "no place: {finding:?}"),
            Place::Variable { .. } => panic!("there are no variables: {finding:?}"),
        }
    }
}
