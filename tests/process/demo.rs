//! The demo that a newcomer runs first.

use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

/// The demo's binary, built if it is missing: a run of this test file alone does not build examples.
async fn built() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_BIN_EXE_rosterd"));
    let demo = folder.parent().expect("it lies in a folder").join("examples/demo");
    if !demo.exists() {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let status =
            Command::new(cargo).args(["build", "--example", "demo"]).current_dir(env!("CARGO_MANIFEST_DIR")).status().await;
        assert!(status.expect("cargo starts").success());
    }
    demo
}

#[tokio::test]
async fn the_demo_ends_well_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut demo = Command::new(built().await);
    demo.arg("--folder").arg(folder.path()).env_remove("RUST_LOG").kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(900), demo.output()).await.expect("it ends").expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.lines().last().is_some_and(|l| l.starts_with("Done. ")), "{out}");
    assert!(folder.path().join("state.db").exists());
}
