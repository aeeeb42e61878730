//! Writes to Confluence, and reads whether a write took effect.
//!
//! Most of its calls do no more when asked twice. Where they do (creations), Confluence answers 409, and the engine asks
//! [`Confluence::verify`].

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;

use super::wire::{Created, Started, Task};
use super::{Confluence, Version, names};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::target::{Act, Applied, Holds, Who};
use crate::http::atlassian::random_password;
use crate::http::wire::{Answer, Call, segment};
use crate::model::desired::Attributes;
use crate::model::key::{TargetKey, fold};
use crate::model::roster::TargetUser;

/// How long the deletion of a user is waited for. It goes on without us.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first wait of that time; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait of that time.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Confluence's own mark of a request, where its answer told one.
type Told = Option<Box<str>>;

impl Confluence {
    /// Makes one call.
    pub(super) async fn write(&self, act: Act<'_>) -> Result<Applied, ConnectorError> {
        let request = match act {
            Act::CreateGroup { name } => self.create_group(name).await?,
            Act::UpdateUser { user, before, after } => self.update_user(user, before, after).await?,
            Act::CreateUser { attributes } => {
                let (created, request) = self.create_user(attributes).await?;
                return Ok(Applied { created: Some(created), request, ..Applied::default() });
            }
            Act::ActivateUser { user } => self.switch(user, "enable", "activate").await?,
            Act::DeactivateUser { user } => self.switch(user, "disable", "deactivate").await?,
            Act::AddMembers { group, users } => {
                let mut last = None;
                for user in users {
                    let call = Call::put(membership(*user, group), format!("add user {:?} to group {group:?}", user.name));
                    last = self.settle(call).await?;
                }
                last
            }
            Act::RemoveMember { group, user } => {
                let doing = format!("take user {:?} out of group {group:?}", user.name);
                self.settle(Call::delete(membership(user, group), doing)).await?
            }
            Act::DeleteUser { user } => self.delete_user(user).await?,
        };
        Ok(Applied { request, ..Applied::default() })
    }

    /// Reads whether what an act wants is so.
    pub(super) async fn verify(&self, act: Act<'_>) -> Result<Holds, ConnectorError> {
        match act {
            Act::CreateGroup { name } => self.has_group(name).await.map(yes_if),
            Act::CreateUser { attributes } => {
                let found = self.read_user("username", &attributes.name, &attributes.name).await?;
                Ok(found.map_or(Holds::No, |user| Holds::Yes(Some(user))))
            }
            Act::UpdateUser { user, before, after } => {
                let Some(found) = self.read_user("key", user.key.as_str(), user.name).await? else {
                    return Ok(Holds::No);
                };
                // Both fields go in one call, so the one that can be read vouches for the other; alone, the address cannot be.
                let told = after.display_name != before.display_name;
                Ok(yes_if(told && found.display_name == after.display_name))
            }
            Act::ActivateUser { user } => {
                let found = self.read_user("key", user.key.as_str(), user.name).await?;
                Ok(yes_if(found.is_some_and(|user| user.active)))
            }
            Act::DeactivateUser { user } => {
                let found = self.read_user("key", user.key.as_str(), user.name).await?;
                Ok(yes_if(found.is_none_or(|user| !user.active)))
            }
            Act::AddMembers { group, users } => {
                for user in users {
                    if !self.is_member(*user, group).await?.unwrap_or(false) {
                        return Ok(Holds::No);
                    }
                }
                Ok(Holds::Yes(None))
            }
            Act::RemoveMember { group, user } => Ok(yes_if(!self.is_member(user, group).await?.unwrap_or(false))),
            Act::DeleteUser { user } => {
                // What is left of a deleted account may still answer by its key, as one that nobody can use or change.
                let found = self.read_user("key", user.key.as_str(), user.name).await?;
                Ok(yes_if(found.is_none_or(|user| !user.active && !user.writable)))
            }
        }
    }

    async fn create_group(&self, name: &str) -> Result<Told, ConnectorError> {
        // Without `type` some versions cannot read the body.
        let body = json!({ "type": "group", "name": name });
        self.settle(Call::post("rest/api/admin/group", format!("create the group {name:?}")).json(&body)).await
    }

    async fn create_user(&self, attributes: &Attributes) -> Result<(TargetUser, Told), ConnectorError> {
        let doing = format!("create the user {:?}", attributes.name);
        let reject = |why: String| ConnectorError::new(self.system(), doing.clone(), Fault::Rejected, why);
        if let Some(why) = names::refuse_user(attributes) {
            return Err(reject(why));
        }
        let Some(email) = &attributes.email else {
            return Err(reject("there is no e-mail address, and Confluence creates no user without one".into())
                .hint("give the user an e-mail address at the source, or map one"));
        };
        // A full name is demanded too. Where the mapping has none, the user name is better than nobody.
        let full_name = attributes.display_name.as_ref().unwrap_or(&attributes.name);
        let mut body = json!({
            "userName": attributes.name, "fullName": full_name, "email": email, "notifyViaEmail": self.notify,
        });
        if !self.notify {
            // Confluence insists on one of the two: a password, or the mail by which the user sets one.
            body["password"] = random_password().expose_secret().into();
        }
        let answer = self.send(Call::post("rest/api/admin/user", doing).json(&body)).await?;
        let created: Created = answer.json()?;
        let user = TargetUser {
            key: TargetKey::from(created.user_key),
            name: attributes.name.clone(),
            email: None,
            display_name: Some(full_name.clone()),
            active: true,
            writable: true,
        };
        Ok((user, answer.request))
    }

    async fn update_user(&self, user: Who<'_>, before: &Attributes, after: &Attributes) -> Result<Told, ConnectorError> {
        let doing = format!("update the user {:?}", user.name);
        let unsupported = |why: &str| ConnectorError::new(self.system(), doing.clone(), Fault::Unsupported, why);
        if fold(&before.name) != fold(&after.name) {
            return Err(unsupported("Confluence has no call that changes a user name")
                .hint("rename the user under User management; rosterd follows it by its key"));
        }
        if self.learnt().version.is_some_and(|version| version < Version::UPDATES) {
            return Err(unsupported("this version of Confluence has no call that changes full name and e-mail address")
                .hint("upgrade to Confluence 9.4 or later"));
        }
        // Both are sent where both are known: it is not documented what the absence of one means.
        let mut body = serde_json::Map::new();
        if let Some(name) = after.display_name.as_ref().or(before.display_name.as_ref()) {
            body.insert("fullName".into(), json!(name));
        }
        if let Some(email) = after.email.as_ref().or(before.email.as_ref()) {
            body.insert("email".into(), json!(email));
        }
        let path = format!("rest/api/admin/user/{}", segment(user.name));
        self.settle(Call::put(path, doing).json(&body)).await
    }

    async fn switch(&self, user: Who<'_>, verb: &str, doing: &str) -> Result<Told, ConnectorError> {
        let path = format!("rest/api/admin/user/{}/{verb}", segment(user.name));
        self.settle(Call::put(path, format!("{doing} the user {:?}", user.name))).await
    }

    /// Deletes a user, which Confluence does behind its answer: it rewrites the user's content.
    async fn delete_user(&self, user: Who<'_>) -> Result<Told, ConnectorError> {
        let doing = format!("delete the user {:?}", user.name);
        let path = format!("rest/api/admin/user/{}", segment(user.name));
        let answer = self.send(Call::delete(path, doing.clone())).await?;
        let started: Started = answer.json()?;
        let request = answer.request;
        let (mut waited, mut wait) = (Duration::ZERO, FIRST_WAIT);
        while waited < PATIENCE {
            tokio::time::sleep(wait).await;
            waited += wait;
            wait = (wait * 2).min(LONGEST_WAIT);
            let call = Call::get(format!("rest/api/longtask/{}", segment(&started.id)), doing.clone());
            let task: Task = match self.send(call).await {
                // Tasks that are done are forgotten after a while, or at once by another node: the account itself tells.
                Err(e) if e.fault == Fault::NotFound => break,
                other => other?.json()?,
            };
            if task.percentage_complete < 100 {
                continue;
            }
            if task.successful {
                return Ok(request);
            }
            let said = crate::http::atlassian::quoted(&task.message());
            let error = ConnectorError::new(self.system(), doing, Fault::Rejected, format!("the deletion failed: {said}"));
            return Err(error.request(request));
        }
        if self.read_user("key", user.key.as_str(), user.name).await?.is_none_or(|user| !user.active && !user.writable) {
            return Ok(request);
        }
        let why = "the deletion has begun and is not done yet";
        Err(ConnectorError::new(self.system(), doing, Fault::Unavailable { retry_after: Some(PATIENCE) }, why).request(request))
    }

    /// Sends a write whose answer says nothing more than that it was done.
    async fn settle(&self, call: Call) -> Result<Told, ConnectorError> {
        let answer = self.send(call).await?;
        if is_page(&answer) {
            return Err(ConnectorError::new(
                self.system(),
                answer.doing,
                Fault::Malformed,
                "a web page instead of an answer of the API",
            )
            .request(answer.request)
            .hint("a login page or a proxy stands in between: let rosterd past it"));
        }
        Ok(answer.request)
    }

    async fn has_group(&self, name: &str) -> Result<bool, ConnectorError> {
        let call = Call::get(format!("rest/api/group/{}", segment(name)), format!("read the group {name:?}"));
        match self.send(call).await {
            Err(e) if e.fault == Fault::NotFound => Ok(false),
            other => other?.json::<super::wire::Group>().map(|group| fold(&group.name) == fold(name)),
        }
    }

    /// Whether a user is in a group; `None` if there is no such user.
    async fn is_member(&self, user: Who<'_>, group: &str) -> Result<Option<bool>, ConnectorError> {
        match self.groups_of(user.key.as_str(), user.name).await {
            Err(e) if e.fault == Fault::NotFound => Ok(None),
            other => other.map(|groups| Some(groups.iter().any(|name| fold(name) == fold(group)))),
        }
    }
}

fn membership(user: Who<'_>, group: &str) -> String {
    format!("rest/api/user/{}/group/{}", segment(user.name), segment(group))
}

fn yes_if(so: bool) -> Holds {
    if so { Holds::Yes(None) } else { Holds::No }
}

/// Whether a login page stands where an answer should be: with 200, it would pass for success. An empty answer may be
/// called HTML and is no page.
fn is_page(answer: &Answer) -> bool {
    let kind = answer.headers.get(reqwest::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    kind.to_ascii_lowercase().contains("html") && !answer.body.is_empty()
}
