//! Single users and groups: the answers that prove an absence before access is taken away.
//!
//! Each of these draws from a bucket of its own that is far larger than the listings'. A 404 counts as absence only in
//! Okta's own words about that very object. Where an app is asked about a user, the same 404 with the same code comes when
//! the *app* is gone or no longer visible, which would make everybody a leaver: unless the answer names the user, the app
//! itself is asked for.

use serde::Deserialize;
use smol_str::SmolStr;

use super::dialect::OktaError;
use super::listing::{Listed, Listing};
use super::rights::Right;
use super::wire::{App, Group, User, read};
use super::{Okta, Scope};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::source::{Ask, GroupFact, Subject};
use crate::http::wire::{Answer, Call, segment};
use crate::model::key::SourceKey;

/// Any object, of which only the id matters.
#[derive(Deserialize)]
pub(super) struct Identified {
    pub(super) id: String,
}

/// One of those whom a search found.
#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) status: String,
}

impl Okta {
    /// Reads one user with their groups.
    pub(super) async fn subject(&self, key: &SourceKey, ask: &Ask) -> Result<Option<Subject>, ConnectorError> {
        let Some(answer) = self.one_user(key.as_str()).await? else { return Ok(None) };
        let user: User<'_> = read(&answer)?;
        self.insist_on_id(&answer, key.as_str(), &user.id)?;
        let user = self.unfold(&user, &ask.attributes, &answer)?.user;
        let (groups, assigned) = tokio::try_join!(self.groups_of(key.as_str()), self.is_assigned(Assigned::User, key.as_str()))?;
        // Deleted between the two requests.
        let Some(groups) = groups else { return Ok(None) };
        let in_scope = match &self.scope {
            Scope::Organisation => true,
            Scope::App(_) => assigned,
            Scope::Groups => groups.iter().any(|(_, name)| ask.groups.as_ref().is_none_or(|filter| (filter.0)(name))),
        };
        Ok(Some(Subject { user, in_scope, groups }))
    }

    /// Finds a user by id, login, the login's part before the `@` where it is unambiguous, or e-mail address.
    pub(super) async fn find_user(&self, text: &str) -> Result<Option<SourceKey>, ConnectorError> {
        // Nothing would list all users, and `me` is whoever the token belongs to, not somebody of that login.
        if text.is_empty() || text.eq_ignore_ascii_case("me") {
            return Ok(None);
        }
        // What is looked for may be an address: it stays out of what errors and logs say.
        let call = Call::get(format!("api/v1/users/{}", segment(text)), "find a user");
        if let Some(answer) = self.one(call, Right::Users).await? {
            let user: Identified = read(&answer)?;
            return Ok(Some(SourceKey::from(user.id)));
        }
        if !text.contains('@') {
            return Ok(None);
        }
        let doing = "search a user by e-mail address";
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        let listing =
            Listing::new("api/v1/users", doing, Right::Users, 20).with("search", format!("profile.email eq \"{quoted}\""));
        let mut found: Vec<Found> = Vec::new();
        self.list(&listing, |answer| {
            found.extend(read::<Vec<Found>>(answer)?);
            Ok(())
        })
        .await?;
        match &found[..] {
            [] => Ok(None),
            [one] => Ok(Some(SourceKey::from(one.id.as_str()))),
            several => {
                let ids: Vec<String> = several.iter().map(|user| format!("{} ({})", user.id, user.status)).collect();
                let why = format!("several users have this address: {}", ids.join(", "));
                Err(ConnectorError::new(self.api.system(), doing, Fault::Conflict, why)
                    .hint("give the id or the login of the one who is meant"))
            }
        }
    }

    /// Reads one group.
    pub(super) async fn group_fact(&self, key: &SourceKey) -> Result<Option<GroupFact>, ConnectorError> {
        let Some(answer) = self.one_group(key.as_str()).await? else { return Ok(None) };
        let group: Group<'_> = read(&answer)?;
        self.insist_on_id(&answer, key.as_str(), &group.id)?;
        let in_scope = self.takes_type(group.kind()) && self.is_assigned(Assigned::Group, key.as_str()).await?;
        Ok(Some(GroupFact { name: group.name().into(), in_scope }))
    }

    /// Reads a user; `None` if Okta says that there is no such user.
    pub(super) async fn one_user(&self, id: &str) -> Result<Option<Answer>, ConnectorError> {
        let call = Call::get(format!("api/v1/users/{}", segment(id)), format!("read user {id}"));
        self.one(call, Right::Users).await
    }

    /// Reads a group; `None` if Okta says that there is no such group.
    pub(super) async fn one_group(&self, id: &str) -> Result<Option<Answer>, ConnectorError> {
        let call = Call::get(format!("api/v1/groups/{}", segment(id)), format!("read group {id}"));
        self.one(call, Right::Groups).await
    }

    async fn one(&self, call: Call, right: Right) -> Result<Option<Answer>, ConnectorError> {
        let answer = self.send(call.accept(404), right).await?;
        if answer.status != 404 {
            return Ok(Some(answer));
        }
        self.insist_on_absence(&answer)?;
        Ok(None)
    }

    /// The groups of a user that take part; `None` if the user is gone. The documentation knows of no pages here, the
    /// server makes them.
    async fn groups_of(&self, id: &str) -> Result<Option<Vec<(SourceKey, SmolStr)>>, ConnectorError> {
        let path = format!("api/v1/users/{}/groups", segment(id));
        let listing = Listing::unsized_pages(path, format!("list the groups of user {id}"), Right::Groups);
        let mut groups = Vec::new();
        let listed = self
            .list(&listing, |answer| {
                let page: Vec<Group<'_>> = read(answer)?;
                let taken = page.iter().filter(|group| self.takes_type(group.kind()));
                groups.extend(taken.map(|group| (SourceKey::from(&*group.id), SmolStr::from(group.name()))));
                Ok(())
            })
            .await?;
        groups.sort_unstable();
        groups.dedup_by(|a, b| a.0 == b.0);
        Ok((listed == Listed::Whole).then_some(groups))
    }

    /// Whether a user or group is assigned to the app; true where there is none.
    async fn is_assigned(&self, what: Assigned, id: &str) -> Result<bool, ConnectorError> {
        let Scope::App(app) = &self.scope else { return Ok(true) };
        let path = format!("api/v1/apps/{}/{}/{}", segment(app), what.path(), segment(id));
        let call = Call::get(path, format!("read the assignment of {} {id} to the app", what.word())).accept(404);
        let answer = self.send(call, Right::Apps).await?;
        if answer.status != 404 {
            let found: Identified = read(&answer)?;
            self.insist_on_id(&answer, id, &found.id)?;
            return Ok(true);
        }
        self.insist_on_absence(&answer)?;
        let summary = OktaError::of(&answer).map(|error| error.summary).unwrap_or_default();
        if !summary.contains(id) || summary.contains(app.as_str()) {
            self.app(app).await?;
        }
        Ok(false)
    }

    /// Reads the app: its status and label.
    ///
    /// # Errors
    /// [`Fault::NotFound`] if it is not there or not visible.
    pub(super) async fn app(&self, app: &str) -> Result<(String, Option<String>), ConnectorError> {
        let call = Call::get(format!("api/v1/apps/{}", segment(app)), format!("read app {app}"));
        let answer = self.send(call, Right::Apps).await.map_err(|error| {
            let gone = error.fault == Fault::NotFound;
            if gone { error.hint(format!("check app_id; {}", Right::Apps.hint())) } else { error }
        })?;
        let app: App<'_> = read(&answer)?;
        Ok((app.status.clone().into_owned(), app.label.map(|label| label.0.into_owned())))
    }

    /// Okta also finds users by login: an answer about another id is no answer.
    fn insist_on_id(&self, answer: &Answer, asked: &str, told: &str) -> Result<(), ConnectorError> {
        if asked == told {
            return Ok(());
        }
        let why = "answered about another object than the one asked for";
        Err(ConnectorError::new(self.api.system(), &*answer.doing, Fault::Malformed, why))
    }
}

/// What is assigned to an app.
#[derive(Clone, Copy)]
enum Assigned {
    User,
    Group,
}

impl Assigned {
    fn path(self) -> &'static str {
        match self {
            Assigned::User => "users",
            Assigned::Group => "groups",
        }
    }
    fn word(self) -> &'static str {
        match self {
            Assigned::User => "user",
            Assigned::Group => "group",
        }
    }
}
