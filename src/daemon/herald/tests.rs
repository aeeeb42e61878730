//! Delivery over real sockets with a clock that stands still: what arrives, in which order, and what is tried again.

use std::sync::Mutex;

use async_trait::async_trait;
use mockito::{Matcher, Mock, Server, ServerGuard};

use super::*;
use crate::contract::notice::{Event, Notice};
use crate::http::secret::{SecretRef, Secrets};
use crate::model::key::SystemName;

struct Still(Mutex<DateTime<Utc>>);

impl Still {
    fn advance(&self, by: TimeDelta) {
        *self.0.lock().expect("not poisoned") += by;
    }
}

#[async_trait]
impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("not poisoned")
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A herald in parts: its rounds are made by the test.
struct Stage {
    round: Round,
    clock: Arc<Still>,
    /// Keeps the channel open.
    hooks: watch::Sender<Arc<Hooks>>,
}

fn hook(url: &str, format: Format) -> Hook {
    let reference = SecretRef { env: Some("HOOK".into()), file: None, credential: None };
    let secrets = Secrets::with_env([("HOOK".to_owned(), url.to_owned())].into());
    Hook { webhook: Webhook::new("url", &reference, &secrets).expect("loopback"), format }
}

async fn stage(hooks: Vec<(&str, Hook)>) -> Stage {
    let journal = crate::store::open_for("sqlite::memory:", crate::store::Access::Write).await.expect("opens");
    let clock = Arc::new(Still(Mutex::new(DateTime::from_timestamp(1_790_000_000, 0).expect("a time"))));
    let hooks: Hooks = hooks.into_iter().map(|(name, hook)| (name.to_owned(), hook)).collect();
    let (hooks, receive) = watch::channel(Arc::new(hooks));
    let round = Round {
        journal,
        clock: clock.clone(),
        draw: Arc::new(|| 1.0),
        holder: "here".into(),
        hooks: receive,
        halt: Halt::default(),
    };
    Stage { round, clock, hooks }
}

impl Stage {
    async fn post(&self, hook: &str, system: &str) {
        let event = Event::Failing { system: SystemName::from(system), fault: "unavailable".into(), cause: "it sleeps".into() };
        let notice = Notice { hook: hook.into(), event, at: self.clock.now() };
        self.round.journal.post(&[notice]).await.expect("posted");
    }

    async fn deliver(&self) {
        self.round.deliver().await.expect("the store works");
    }

    /// What waits, due or not.
    async fn waiting(&self) -> usize {
        let ages = self.clock.now() + TimeDelta::days(300);
        self.round.journal.notes_due(ages).await.expect("readable").len()
    }
}

async fn answering(server: &mut ServerGuard, path: &str, status: usize, times: usize) -> Mock {
    server.mock("POST", path).with_status(status).expect(times).create_async().await
}

#[tokio::test]
async fn each_webhook_gets_its_own_format() {
    let mut server = Server::new_async().await;
    let json = server
        .mock("POST", "/json")
        .match_header("content-type", "application/json")
        .match_body(Matcher::PartialJsonString(r#"{"event":"failing","system":"jira","topic":"quarantine"}"#.into()))
        .create_async()
        .await;
    let slack = server
        .mock("POST", "/slack")
        .match_body(Matcher::JsonString(r#"{"text":"*rosterd*: jira fails (unavailable): it sleeps"}"#.into()))
        .create_async()
        .await;
    let url = |path: &str| format!("{}{path}", server.url());
    let stage = stage(vec![("a", hook(&url("/json"), Format::Json)), ("b", hook(&url("/slack"), Format::Slack))]).await;
    stage.post("a", "jira").await;
    stage.post("b", "jira").await;
    stage.deliver().await;
    json.assert_async().await;
    slack.assert_async().await;
    assert_eq!(stage.waiting().await, 0);
}

#[tokio::test]
async fn what_fails_is_tried_again_at_its_time_and_keeps_its_place_while_others_go_on() {
    let mut server = Server::new_async().await;
    let url = server.url();
    let stage =
        stage(vec![("sick", hook(&format!("{url}/sick"), Format::Json)), ("well", hook(&format!("{url}/well"), Format::Json))])
            .await;
    let failing = answering(&mut server, "/sick", 500, 1).await;
    let well = answering(&mut server, "/well", 200, 2).await;
    for (hook, system) in [("sick", "jira"), ("sick", "wiki"), ("well", "jira"), ("well", "wiki")] {
        stage.post(hook, system).await;
    }
    stage.deliver().await;
    stage.deliver().await;
    failing.assert_async().await;
    well.assert_async().await;
    failing.remove_async().await;
    let first = server
        .mock("POST", "/sick")
        .match_body(Matcher::PartialJsonString(r#"{"system":"jira"}"#.into()))
        .with_status(429)
        .with_header("retry-after", "300")
        .expect(1)
        .create_async()
        .await;
    stage.clock.advance(TimeDelta::seconds(10));
    stage.deliver().await;
    first.assert_async().await;
    first.remove_async().await;
    let both = answering(&mut server, "/sick", 204, 2).await;
    stage.clock.advance(TimeDelta::seconds(299));
    stage.deliver().await;
    assert_eq!(stage.waiting().await, 1, "asked to wait longer than its own backoff");
    stage.clock.advance(TimeDelta::seconds(1));
    stage.deliver().await;
    both.assert_async().await;
    assert_eq!(stage.waiting().await, 0);
}

#[tokio::test]
async fn a_message_is_given_up_when_it_is_refused_or_its_attempts_are_spent() {
    let mut server = Server::new_async().await;
    let stage = stage(vec![("ops", hook(&server.url(), Format::Json))]).await;
    let refusing = answering(&mut server, "/", 404, 1).await;
    stage.post("ops", "jira").await;
    stage.deliver().await;
    refusing.assert_async().await;
    assert_eq!(stage.waiting().await, 0, "a refusal is for good");
    refusing.remove_async().await;
    let failing = answering(&mut server, "/", 503, ATTEMPTS as usize).await;
    stage.post("ops", "jira").await;
    for _ in 0..ATTEMPTS {
        assert_eq!(stage.waiting().await, 1);
        stage.deliver().await;
        stage.clock.advance(TimeDelta::hours(1));
    }
    failing.assert_async().await;
    assert_eq!(stage.waiting().await, 0);
}

#[tokio::test]
async fn what_nobody_can_be_told_any_more_is_dropped() {
    let mut server = Server::new_async().await;
    let silent = answering(&mut server, "/", 200, 0).await;
    let stage = stage(vec![("ops", hook(&server.url(), Format::Json))]).await;
    stage.post("gone", "jira").await;
    stage.post("ops", "jira").await;
    stage.clock.advance(TimeDelta::days(4));
    stage.deliver().await;
    silent.assert_async().await;
    assert_eq!(stage.waiting().await, 0);
}

#[tokio::test]
async fn another_process_that_delivers_is_not_joined() {
    let mut server = Server::new_async().await;
    let once = answering(&mut server, "/", 200, 1).await;
    let stage = stage(vec![("ops", hook(&server.url(), Format::Json))]).await;
    stage.post("ops", "jira").await;
    let (name, ttl) = LEASE;
    let journal = &stage.round.journal;
    let lease = journal.lease(name, "elsewhere", ttl, stage.clock.now()).await.expect("leased").expect("free");
    stage.deliver().await;
    assert_eq!(stage.waiting().await, 1);
    journal.unlease(&lease).await.expect("given back");
    stage.deliver().await;
    once.assert_async().await;
}

#[tokio::test]
async fn a_reload_brings_the_new_url() {
    let mut server = Server::new_async().await;
    let (old, new) = (answering(&mut server, "/old", 500, 1).await, answering(&mut server, "/new", 200, 1).await);
    let url = server.url();
    let stage = stage(vec![("ops", hook(&format!("{url}/old"), Format::Json))]).await;
    stage.post("ops", "jira").await;
    stage.deliver().await;
    stage.hooks.send_replace(Arc::new([("ops".to_owned(), hook(&format!("{url}/new"), Format::Json))].into()));
    stage.clock.advance(TimeDelta::seconds(10));
    stage.deliver().await;
    old.assert_async().await;
    new.assert_async().await;
}

/// A webhook that takes the connection and never answers. Tells when it was asked.
async fn hanging() -> (String, tokio::sync::oneshot::Receiver<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (tell, asked) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (_kept, _) = listener.accept().await.expect("a connection");
        let _ = tell.send(());
        std::future::pending::<()>().await;
    });
    (url, asked)
}

#[tokio::test]
async fn a_webhook_that_hangs_is_let_go_at_the_deadline_and_its_message_and_the_lease_are_not_lost() {
    let (url, asked) = hanging().await;
    let stage = stage(vec![("ops", hook(&url, Format::Json))]).await;
    stage.post("ops", "jira").await;
    let Stage { round, clock, hooks } = stage;
    let (journal, halt) = (round.journal.clone(), round.halt.clone());
    let herald = Herald { hooks, halt, task: tokio::spawn(round.go()) };
    asked.await.expect("it was asked");
    let (name, ttl) = LEASE;
    assert!(journal.lease(name, "elsewhere", ttl, clock.now()).await.expect("the store works").is_none(), "it is at work");
    // The drain's deadline is over already.
    herald.stop(Instant::now()).await;
    assert!(journal.lease(name, "elsewhere", ttl, clock.now()).await.expect("the store works").is_some(), "the next may go on");
    assert_eq!(journal.notes_due(clock.now()).await.expect("readable").len(), 1, "nobody was told");
}
