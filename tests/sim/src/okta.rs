//! A simulated Okta organisation over real HTTP: one app, all its users and groups, with the quirks of the real thing.
//!
//! It exists because the dangerous moments of a sync are those that a tidy stub does not have: a listing that leaves out
//! deactivated users while group members include them, a wrongly privileged app that sees `200 []`, pages whose order
//! moves under the reader, links in two header lines, tokens that lack a scope. Each is as documented at
//! <https://developer.okta.com/docs/api/> or as seen in the field, and can be switched at run time.

mod fault;
mod filter;
mod gate;
mod keys;
mod limits;
mod list;
mod oauth;
mod render;
mod routes;
mod state;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::http::HeaderValue;

pub use self::keys::KeyPair;
pub use self::limits::Limits;
pub use self::oauth::ServiceApp;
use crate::harness::{Clock, Log, Running, bind, locked};
use crate::world::{GroupKind, Person, Status, World};
use state::{Id, State};

/// How an organisation is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The API token that is accepted.
    pub token: String,
    /// The service app that may ask for access tokens.
    pub service_app: Option<ServiceApp>,
    /// The id of the one app.
    pub app_id: String,
    /// Its label.
    pub app_label: String,
    /// Whether there is a built-in group "Everyone".
    pub everyone: bool,
    /// The rate limits.
    pub limits: Limits,
    /// What is odd from the start.
    pub quirks: Quirks,
    /// The port; a free one if not given.
    pub port: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            token: "simulated-token".to_owned(),
            service_app: None,
            app_id: "0oa1gjh63g214q0Hq0g4".to_owned(),
            app_label: "Atlassian".to_owned(),
            everyone: true,
            limits: Limits::default(),
            quirks: Quirks::default(),
            port: None,
        }
    }
}

/// What is odd. Everything is off by default.
#[derive(Clone, Debug, Default)]
pub struct Quirks {
    /// Links come joined in one header line, as proxies and old servers send them.
    pub joined_links: bool,
    /// Links lead to this origin instead of the simulator's own.
    pub link_base: Option<String>,
    /// A full last page has a next link, to an empty page.
    pub empty_page_after_full: bool,
    /// Below `/apps` the next link loses `expand`.
    pub expand_lost: bool,
    /// From the second page on the next link repeats the cursor that was sent.
    pub repeated_cursor: bool,
    /// No page has more rows than this, whatever limit was asked for.
    pub page_cap: Option<usize>,
    /// The credential has no admin role: `/users` answers `200 []`, everything else 403.
    pub blind: bool,
    /// With more requests under way than this a request is refused with 429 and a limit of 0.
    pub at_once: Option<usize>,
}

/// What the endpoints share.
#[derive(Debug)]
struct Shared {
    base: String,
    clock: Clock,
    log: Log,
    state: Mutex<State>,
    windows: Mutex<limits::Windows>,
    tokens: Mutex<oauth::Tokens>,
    quirks: Mutex<Quirks>,
    ssws: Mutex<Option<String>>,
    /// The id of whoever made the API token.
    owner: Option<String>,
    requests: AtomicUsize,
}

impl Shared {
    fn quirks(&self) -> Quirks {
        locked(&self.quirks).clone()
    }

    fn request_id(&self) -> HeaderValue {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        HeaderValue::try_from(format!("simulated-{number}")).expect("digits are ASCII")
    }
}

/// A running organisation. Users are named by id or login, groups by id or name; changes take effect at once.
#[derive(Debug)]
pub struct Okta {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    /// The server, with its log, faults and clock.
    pub server: Running,
    /// The id of the app.
    pub app_id: String,
    shared: Arc<Shared>,
}

impl Okta {
    /// Starts an organisation in which this world lives.
    ///
    /// # Errors
    /// If the port cannot be had.
    pub async fn start(world: World, options: Options) -> std::io::Result<Self> {
        let Options { token, service_app, app_id, app_label, everyone, limits, quirks, port } = options;
        let bound = bind(port).await?;
        let owner = world.people.iter().find(|p| p.status.works()).map(|p| p.id.clone());
        let state = State::new(world, &bound.url, bound.clock.clone(), (&app_id, &app_label), everyone);
        let shared = Arc::new(Shared {
            base: bound.url.clone(),
            clock: bound.clock.clone(),
            log: bound.log.clone(),
            state: Mutex::new(state),
            windows: Mutex::new(limits::Windows::new(limits)),
            tokens: Mutex::new(oauth::Tokens::new(service_app)),
            quirks: Mutex::new(quirks),
            ssws: Mutex::new(Some(token)),
            owner,
            requests: AtomicUsize::new(0),
        });
        let server = bound.serve(routes::router(Arc::clone(&shared)));
        Ok(Self { url: server.url.clone(), server, app_id, shared })
    }

    /// Everything as it is now: users by id, groups by id, without "Everyone".
    pub fn world(&self) -> World {
        self.state().world()
    }

    /// The id of a user.
    ///
    /// # Panics
    /// If there is none; so do all that name a user.
    pub fn user_id(&self, who: &str) -> String {
        let state = self.state();
        state.user(user(&state, who)).map(|u| u.id.to_string()).expect("it was just found")
    }

    /// The id of a group.
    ///
    /// # Panics
    /// If there is none; so do all that name a group.
    pub fn group_id(&self, which: &str) -> String {
        group(&self.state(), which).to_string()
    }

    /// The ids of a group's members, ascending.
    pub fn members(&self, which: &str) -> Vec<String> {
        let state = self.state();
        let members = state.group(&group(&state, which)).map(|g| g.members.keys().map(ToString::to_string).collect());
        members.unwrap_or_default()
    }

    /// Adds a user and gives the id; an empty id gets a fresh one.
    pub fn add_user(&self, person: Person) -> String {
        self.state().add_user(person).to_string()
    }

    /// Sets a user's status. Deactivation takes direct app assignments and leaves memberships.
    pub fn set_status(&self, who: &str, status: Status) {
        self.change_user(who, |p| p.status = status);
    }

    /// Deactivates a user.
    pub fn deactivate(&self, who: &str) {
        self.set_status(who, Status::Deprovisioned);
    }

    /// Suspends a user.
    pub fn suspend(&self, who: &str) {
        self.set_status(who, Status::Suspended);
    }

    /// Makes a user active (again).
    pub fn activate(&self, who: &str) {
        self.set_status(who, Status::Active);
    }

    /// Gives a user another login.
    pub fn rename_user(&self, who: &str, login: &str) {
        self.change_user(who, |p| login.clone_into(&mut p.login));
    }

    /// Gives a user another e-mail address, or none.
    pub fn set_email(&self, who: &str, email: Option<&str>) {
        self.change_user(who, |p| p.email = email.map(str::to_owned));
    }

    /// Sets a custom profile attribute; `None` unsets it.
    pub fn set_attribute(&self, who: &str, name: &str, value: Option<serde_json::Value>) {
        self.change_user(who, |p| match value {
            Some(value) => drop(p.extras.insert(name.to_owned(), value)),
            None => drop(p.extras.remove(name)),
        });
    }

    /// Changes a user in any way.
    pub fn change_user(&self, who: &str, change: impl FnOnce(&mut Person)) {
        let mut state = self.state();
        let at = user(&state, who);
        state.change_user(at, change);
    }

    /// Deletes a user for good, from any status.
    pub fn delete_user(&self, who: &str) {
        let mut state = self.state();
        let at = user(&state, who);
        state.delete_user(at);
    }

    /// Makes a group and gives its id.
    pub fn add_group(&self, name: &str, kind: GroupKind) -> String {
        self.state().add_group(name, kind).to_string()
    }

    /// Gives a group another name.
    pub fn rename_group(&self, which: &str, name: &str) {
        let mut state = self.state();
        let id = group(&state, which);
        state.rename_group(&id, name);
    }

    /// Deletes a group.
    pub fn delete_group(&self, which: &str) {
        let mut state = self.state();
        let id = group(&state, which);
        state.delete_group(&id);
    }

    /// Adds a user to a group.
    pub fn add_member(&self, which: &str, who: &str) {
        self.set_member(which, who, true);
    }

    /// Takes a user out of a group.
    pub fn remove_member(&self, which: &str, who: &str) {
        self.set_member(which, who, false);
    }

    fn set_member(&self, which: &str, who: &str, member: bool) {
        let mut state = self.state();
        let (id, at) = (group(&state, which), user(&state, who));
        state.set_member(&id, at, member);
    }

    /// Assigns the app to a user directly.
    pub fn assign_user(&self, who: &str) {
        let mut state = self.state();
        let at = user(&state, who);
        state.assign_user(at, true);
    }

    /// Takes a user's direct assignment of the app away; one through a group stays.
    pub fn unassign_user(&self, who: &str) {
        let mut state = self.state();
        let at = user(&state, who);
        state.assign_user(at, false);
    }

    /// Assigns the app to a group, and so to its members.
    pub fn assign_group(&self, which: &str) {
        let mut state = self.state();
        let id = group(&state, which);
        state.assign_group(&id, true);
    }

    /// Takes the app away from a group.
    pub fn unassign_group(&self, which: &str) {
        let mut state = self.state();
        let id = group(&state, which);
        state.assign_group(&id, false);
    }

    /// From now on a group's object and member list stay as they are for so many readings of the list (pages count each);
    /// what a user's own groups are is never stale.
    pub fn lag(&self, which: &str, readings: usize) {
        let mut state = self.state();
        let id = group(&state, which);
        state.freeze(&id, readings);
    }

    /// Takes back the API token and all access tokens; new access tokens can be asked for.
    pub fn revoke_tokens(&self) {
        *locked(&self.shared.ssws) = None;
        locked(&self.shared.tokens).revoke();
    }

    /// Accepts this API token from now on, and no other.
    pub fn set_token(&self, token: &str) {
        *locked(&self.shared.ssws) = Some(token.to_owned());
    }

    /// Grants the service app these scopes from now on; tokens that are out keep what they have.
    pub fn grant(&self, scopes: &[&str]) {
        if let Some(app) = locked(&self.shared.tokens).app.as_mut() {
            app.granted = scopes.iter().map(|s| (*s).to_owned()).collect();
        }
    }

    /// Wants another DPoP nonce from now on.
    pub fn renew_nonce(&self) {
        locked(&self.shared.tokens).renew_nonce();
    }

    /// Wants a DPoP nonce at `/api/v1` too.
    pub fn nonce_everywhere(&self, wanted: bool) {
        locked(&self.shared.tokens).nonce_everywhere = wanted;
    }

    /// Takes the admin role away from the credential, or gives it back.
    pub fn blind(&self, blind: bool) {
        self.quirks(|q| q.blind = blind);
    }

    /// Changes what is odd.
    pub fn quirks(&self, change: impl FnOnce(&mut Quirks)) {
        change(&mut locked(&self.shared.quirks));
    }

    /// Sets a bucket's limit; see [`Limits::buckets`] for their names. Windows that are open go on.
    pub fn limit(&self, bucket: &'static str, limit: u32) {
        locked(&self.shared.windows).limits.buckets.insert(bucket, limit);
    }

    /// Sets how long a window of the rate limits is.
    pub fn window(&self, window: Duration) {
        locked(&self.shared.windows).limits.window = window;
    }

    /// How many requests were refused with 429.
    pub fn refused(&self) -> usize {
        locked(&self.shared.windows).refused()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.shared.state)
    }
}

fn user(state: &State, who: &str) -> usize {
    state.find_user(who).unwrap_or_else(|| panic!("the organisation has nobody with the id or login {who:?}"))
}

fn group(state: &State, which: &str) -> Id {
    state.find_group(which).unwrap_or_else(|| panic!("the organisation has no group with the id or name {which:?}"))
}

#[cfg(test)]
mod tests;
