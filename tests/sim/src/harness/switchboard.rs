//! The switchboard: what goes wrong, when, and for which requests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::locked;

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer instead of the real one; nothing takes effect.
    Answer {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Its body.
        body: String,
    },
    /// The connection breaks before anything takes effect.
    ResetBefore,
    /// The request takes effect, then the connection breaks instead of an answer.
    ResetAfter,
    /// The request takes effect; the answer is cut in the middle of its body.
    Cut,
    /// The real answer comes after this delay.
    Delay(Duration),
    /// The real answer comes in pieces with this pause between them.
    Dribble(Duration),
}

impl Fault {
    /// An answer with a JSON body.
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self::Answer { status, headers: vec![("content-type".into(), "application/json".into())], body: body.into() }
    }

    /// An answer with an HTML body, as a gateway or a login page gives it.
    pub fn html(status: u16, body: impl Into<String>) -> Self {
        Self::Answer { status, headers: vec![("content-type".into(), "text/html".into())], body: body.into() }
    }

    /// The same answer with one more header; other faults stay as they are.
    pub fn header(self, name: &str, value: &str) -> Self {
        match self {
            Self::Answer { status, mut headers, body } => {
                headers.push((name.to_owned(), value.to_owned()));
                Self::Answer { status, headers, body }
            }
            other @ (Self::ResetBefore | Self::ResetAfter | Self::Cut | Self::Delay(_) | Self::Dribble(_)) => other,
        }
    }
}

/// Which requests a fault meets.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The method; empty: any.
    pub method: String,
    /// Path and query (joined by `?` where there is a query) contain this text; empty: any.
    pub contains: String,
    /// So many matching requests are let through first.
    pub skip: usize,
    /// So many are met; `usize::MAX`: all.
    pub times: usize,
    /// What goes wrong.
    pub fault: Fault,
}

impl Rule {
    /// The next matching request is met.
    pub fn once(method: &str, contains: &str, fault: Fault) -> Self {
        Self { method: method.to_owned(), contains: contains.to_owned(), skip: 0, times: 1, fault }
    }

    /// Every matching request is met.
    pub fn always(method: &str, contains: &str, fault: Fault) -> Self {
        Self { times: usize::MAX, ..Self::once(method, contains, fault) }
    }

    /// The same, after so many matching requests.
    pub fn after(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// The same, for so many matching requests.
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    fn fits(&self, method: &str, target: &str) -> bool {
        (self.method.is_empty() || self.method == method) && target.contains(&self.contains)
    }
}

/// The switchboard of one simulator. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Switchboard {
    inner: Arc<Mutex<Board>>,
}

#[derive(Debug, Default)]
struct Board {
    rules: Vec<Rule>,
    hits: usize,
    latency: Duration,
    held: watch::Sender<bool>,
}

impl Switchboard {
    /// Adds a rule. Of several that match a request the first one added wins; one that lets the request through (`skip`)
    /// or is spent (`times`) leaves it to the next.
    pub fn add(&self, rule: Rule) {
        locked(&self.inner).rules.push(rule);
    }

    /// Takes all rules away. The latency stays.
    pub fn clear(&self) {
        locked(&self.inner).rules.clear();
    }

    /// Sets how long every answer takes at least.
    pub fn latency(&self, latency: Duration) {
        locked(&self.inner).latency = latency;
    }

    /// Keeps every answer back, or lets those go that wait.
    pub fn hold(&self, held: bool) {
        locked(&self.inner).held.send_replace(held);
    }

    /// Waits until no answer is kept back.
    pub(super) async fn let_go(&self) {
        let mut held = locked(&self.inner).held.subscribe();
        let _ = held.wait_for(|held| !held).await;
    }

    /// How many requests met a fault so far.
    pub fn hits(&self) -> usize {
        locked(&self.inner).hits
    }

    /// The fault that this request meets, and how long its answer takes at least.
    pub(super) fn meet(&self, method: &str, target: &str) -> (Option<Fault>, Duration) {
        let mut board = locked(&self.inner);
        let latency = board.latency;
        let mut met = None;
        for (at, rule) in board.rules.iter_mut().enumerate() {
            if !rule.fits(method, target) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if rule.times == 0 {
                continue;
            }
            if rule.times != usize::MAX {
                rule.times -= 1;
            }
            met = Some((at, rule.fault.clone()));
            break;
        }
        let Some((at, fault)) = met else { return (None, latency) };
        board.hits += 1;
        if board.rules[at].times == 0 {
            board.rules.remove(at);
        }
        (Some(fault), latency)
    }
}
