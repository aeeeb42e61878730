//! A state file that is not right is refused before anything is read or written anywhere.

use std::io::{Seek, SeekFrom, Write};

use crate::site::{Site, small};

/// Fails unless every command that needs the state refuses it with these words and asks nobody anything.
async fn refused(site: &Site, parts: &[&str]) {
    let asked = site.estate.okta.server.log.len();
    for command in [&["plan"][..], &["sync"], &["status"], &["run"]] {
        let said = site.run(command).await.exits(1);
        assert_eq!(said.out, "");
        for part in parts {
            assert!(said.err.contains(part), "{part} is not in:\n{}", said.err);
        }
    }
    assert_eq!(site.estate.okta.server.log.len(), asked);
}

#[tokio::test]
async fn a_file_of_another_program_is_refused() {
    let site = Site::plain().await;
    let notes = "[notes]\nthis is no state file\n";
    std::fs::write(site.state(), notes).expect("written");
    refused(&site, &["is not a state file of rosterd", "state.db"]).await;
    assert_eq!(std::fs::read_to_string(site.state()).expect("there"), notes, "it stays as it is");
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let site = Site::with(small(), "schedule = \"hourly\"").await;
    site.run(&["sync"]).await.exits(0);
    let mut file = std::fs::OpenOptions::new().write(true).open(site.state()).expect("there");
    let length = file.metadata().expect("there").len();
    for at in (4096..length).step_by(4096) {
        file.seek(SeekFrom::Start(at)).expect("seeks");
        file.write_all(&[0xAA; 64]).expect("writes");
    }
    drop(file);
    refused(&site, &["is damaged", "state.db", "hint: "]).await;
}

#[tokio::test]
async fn a_file_of_a_newer_rosterd_is_refused() {
    let site = Site::plain().await;
    site.run(&["sync"]).await.exits(0);
    let url = format!("sqlite:{}", site.state().display());
    let options = url.parse::<sqlx::sqlite::SqliteConnectOptions>().expect("an address");
    let mut connection = sqlx::ConnectOptions::connect(&options).await.expect("opens");
    sqlx::query("update _sqlx_migrations set version = 99 where version = (select max(version) from _sqlx_migrations)")
        .execute(&mut connection)
        .await
        .expect("written");
    sqlx::Connection::close(connection).await.expect("closes");
    refused(&site, &["schema version 99", "run the newer rosterd again"]).await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_not_made() {
    let site = Site::plain().await;
    let text = std::fs::read_to_string(site.file()).expect("there");
    let missing = site.folder.path().join("volume");
    site.write(&text.replace("state.db", "volume/state.db"));
    for command in ["sync", "run", "plan"] {
        let said = site.run(&[command]).await.exits(1);
        assert!(said.err.contains("does not exist") && said.err.contains("volume"), "{}", said.err);
    }
    assert!(!missing.exists());
}
