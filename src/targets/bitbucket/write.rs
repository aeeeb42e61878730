//! Writes to Bitbucket, and reads whether a write took effect.
//!
//! A user is created by a query string, password included, and nothing but 204 comes back. So the password is a random one
//! that is forgotten at once, and the account is read to learn its id.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;
use serde_json::json;
use smol_str::SmolStr;

use super::land::Groups;
use super::{ADDS_PER_CALL, Bitbucket};
use crate::contract::fault::{ConnectorError, Disposition, Fault};
use crate::contract::target::{Act, Applied, Holds, WantedUser, Who};
use crate::http::atlassian::random_password;
use crate::http::wire::Call;
use crate::model::desired::Attributes;
use crate::model::roster::TargetUser;

/// Bitbucket's own id of a request, where its answer told one.
type Told = Option<Box<str>>;

impl Bitbucket {
    /// Makes one call, or as few as the act takes.
    pub(super) async fn write(&self, act: Act<'_>) -> Result<Applied, ConnectorError> {
        let request = match act {
            Act::CreateGroup { name } => {
                let call = Call::post("rest/api/latest/admin/groups", format!("create the group {name:?}"));
                self.settle(call.query("name", name)).await?
            }
            Act::UpdateUser { user, before, after } => self.update_user(user, before, after).await?,
            Act::CreateUser { attributes } => {
                let (created, request) = self.create_user(attributes).await?;
                return Ok(Applied { created: Some(created), request, ..Applied::default() });
            }
            Act::ActivateUser { user } => {
                let doing = format!("activate the user {:?}", user.name);
                let why = "Bitbucket has no call that activates a user: groups that give access do";
                return Err(ConnectorError::new(self.system(), doing, Fault::Unsupported, why));
            }
            Act::AddMembers { group, users } => self.add_members(group, users).await?,
            Act::RemoveMember { group, user } => self.take_out(user, group).await?,
            Act::DeactivateUser { user } => {
                let (left_groups, request) = self.strip(user).await?;
                return Ok(Applied { left_groups, request, ..Applied::default() });
            }
            Act::DeleteUser { user } => {
                let call = Call::delete("rest/api/latest/admin/users", format!("delete the user {:?}", user.name));
                self.settle(call.query("name", user.name)).await?
            }
        };
        Ok(Applied { request, ..Applied::default() })
    }

    /// Reads whether what an act wants is so. Users are matched by id: a name may have gone to somebody else.
    pub(super) async fn verify(&self, act: Act<'_>) -> Result<Holds, ConnectorError> {
        match act {
            Act::CreateGroup { name } => Ok(yes_if(self.group(name).await?.is_some())),
            Act::CreateUser { attributes } => {
                let wanted = WantedUser { key: None, name: attributes.name.clone() };
                let found = self.read_with_groups(&wanted).await?;
                Ok(found.map_or(Holds::No, |(user, _)| Holds::Yes(Some(user))))
            }
            Act::UpdateUser { user, before: _, after } => {
                let Some(found) = self.find(Some(user.key), &after.name).await? else {
                    return Ok(Holds::No);
                };
                let same = |want: &Option<SmolStr>, have: &Option<SmolStr>| {
                    want.as_deref().is_none_or(|want| Some(want) == have.as_deref())
                };
                let is_so = *found.name == *after.name
                    && same(&after.email, &found.email_address)
                    && same(&after.display_name, &found.display_name);
                Ok(yes_if(is_so))
            }
            Act::ActivateUser { user } => {
                let found = self.read_with_groups(&wanted(user)).await?;
                Ok(yes_if(found.is_some_and(|(user, _)| user.active)))
            }
            Act::AddMembers { group, users } => {
                let members = self.members_if_any(group).await?;
                Ok(yes_if(members.is_some_and(|keys| users.iter().all(|user| keys.contains(user.key.as_str())))))
            }
            Act::RemoveMember { group, user } => {
                let members = self.members_if_any(group).await?;
                Ok(yes_if(members.is_none_or(|keys| !keys.contains(user.key.as_str()))))
            }
            Act::DeactivateUser { user } => {
                let found = self.read_with_groups(&wanted(user)).await?;
                Ok(yes_if(found.is_none_or(|(_, groups)| groups.is_empty())))
            }
            Act::DeleteUser { user } => Ok(yes_if(self.find(Some(user.key), user.name).await?.is_none())),
        }
    }

    async fn create_user(&self, attributes: &Attributes) -> Result<(TargetUser, Told), ConnectorError> {
        let doing = format!("create the user {:?}", attributes.name);
        let Some(email) = attributes.email.as_deref().filter(|email| !email.trim().is_empty()) else {
            let why = "there is no e-mail address, and Bitbucket creates no user without one";
            return Err(ConnectorError::new(self.system(), doing, Fault::Rejected, why)
                .hint("give the user an e-mail address at the source, or map one"));
        };
        let land = self.land().await?;
        let mut call = Call::post("rest/api/latest/admin/users", doing.clone())
            .query("name", &attributes.name)
            .query("displayName", attributes.display_name.as_ref().unwrap_or(&attributes.name))
            .query("emailAddress", email)
            // Else the user would be put into `stash-users`, which nobody asked for and which takes a seat.
            .query("addToDefaultGroup", false);
        call = match self.notify {
            true => call.query("notify", true),
            false => call.query("password", random_password().expose_secret()),
        };
        let request = self.settle(call).await?;
        match self.find(None, &attributes.name).await? {
            Some(user) => Ok((land.user(&user, Groups::GiveNone), request)),
            None => {
                let why = "Bitbucket says that it is done, but does not list the user yet";
                Err(ConnectorError::new(self.system(), doing, Fault::Unavailable { retry_after: None }, why).request(request))
            }
        }
    }

    async fn update_user(&self, user: Who<'_>, before: &Attributes, after: &Attributes) -> Result<Told, ConnectorError> {
        let doing = format!("update the user {:?}", user.name);
        let mut last = None;
        if before.name != after.name {
            let body = json!({ "name": user.name, "newName": after.name });
            let call = Call::post("rest/api/latest/admin/users/rename", format!("rename the user {:?}", user.name));
            last = self.settle(call.json(&body)).await?;
        }
        let differs = |after: &Option<SmolStr>, before: &Option<SmolStr>| after.is_some() && after != before;
        if !differs(&after.email, &before.email) && !differs(&after.display_name, &before.display_name) {
            return Ok(last);
        }
        // Both are sent where both are known: it is not documented what the absence of one means.
        let mut body = json!({ "name": after.name });
        if let Some(name) = after.display_name.as_ref().or(before.display_name.as_ref()) {
            body["displayName"] = json!(name);
        }
        if let Some(email) = after.email.as_ref().or(before.email.as_ref()) {
            body["email"] = json!(email);
        }
        self.settle(Call::put("rest/api/latest/admin/users", doing).json(&body)).await
    }

    async fn add_members(&self, group: &str, users: &[Who<'_>]) -> Result<Told, ConnectorError> {
        let mut last = None;
        for some in users.chunks(ADDS_PER_CALL) {
            let names: Vec<&str> = some.iter().map(|user| user.name).collect();
            let doing = match names.as_slice() {
                [one] => format!("add user {one:?} to group {group:?}"),
                many => format!("add {} users to group {group:?}", many.len()),
            };
            let body = json!({ "group": group, "users": names });
            last = self.settle(Call::post("rest/api/latest/admin/groups/add-users", doing).json(&body)).await?;
        }
        Ok(last)
    }

    async fn take_out(&self, user: Who<'_>, group: &str) -> Result<Told, ConnectorError> {
        let doing = format!("take user {:?} out of group {group:?}", user.name);
        let body = json!({ "context": user.name, "itemName": group });
        self.settle(Call::post("rest/api/latest/admin/users/remove-group", doing).json(&body)).await
    }

    /// Takes a user out of every group, and tells out of which, also when one fails: what has been done then is done, and
    /// the next try finds the rest.
    async fn strip(&self, user: Who<'_>) -> Result<(Vec<String>, Told), ConnectorError> {
        let doing = format!("deactivate the user {:?}", user.name);
        let mut groups = self.groups_of(user.name).await?;
        if groups.is_empty() && self.land().await?.is_granted(user.name) {
            let why = "the user is in no group and can log in all the same, by a global permission of its own";
            return Err(ConnectorError::new(self.system(), doing, Fault::Rejected, why)
                .hint("revoke it under Global permissions: rosterd could not give it back"));
        }
        // What gives access goes first: should one of the others not be left, nobody can log in for it.
        let land = self.land().await?;
        groups.sort_by_key(|group| land.groups(std::slice::from_ref(group)) == Groups::GiveNone);
        let mut left: Vec<String> = Vec::with_capacity(groups.len());
        let mut last = None;
        for group in &groups {
            let error = match self.take_out(user, group).await {
                Ok(request) => {
                    last = request;
                    left.push(group.clone());
                    continue;
                }
                Err(error) => error,
            };
            let unknown = error.fault.effect_unknown();
            if (unknown || error.fault.disposition() == Disposition::Replan) && self.is_out(user, group).await {
                // Without a clear answer it was us, else somebody was faster.
                left.extend(unknown.then(|| group.clone()));
                continue;
            }
            let why = format!("{} of its {} groups are left, then group {group:?}: {}", left.len(), groups.len(), error.why);
            return Err(ConnectorError { doing, why, ..error }.having_left(left));
        }
        Ok((left, last))
    }

    /// Whether a user is known not to be in a group.
    async fn is_out(&self, user: Who<'_>, group: &str) -> bool {
        self.groups_of(user.name).await.is_ok_and(|groups| !groups.iter().any(|held| held == group))
    }

    /// The keys of a group's members; `None` if there is no such group.
    async fn members_if_any(&self, group: &str) -> Result<Option<BTreeSet<String>>, ConnectorError> {
        match self.members(group).await {
            Err(error) if error.fault == Fault::NotFound => Ok(None),
            other => other.map(|members| Some(members.iter().map(|user| user.key().as_str().to_owned()).collect())),
        }
    }

    /// Sends a write whose answer says nothing more than that it was done.
    async fn settle(&self, call: Call) -> Result<Told, ConnectorError> {
        let answer = self.send(call).await?;
        let kind = answer.headers.get(reqwest::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        // With 200, a login page would pass for success. An empty answer may be called HTML and is no page.
        if kind.to_ascii_lowercase().contains("html") && !answer.body.is_empty() {
            let why = "a web page instead of an answer of the API";
            return Err(ConnectorError::new(self.system(), answer.doing, Fault::Malformed, why)
                .request(answer.request)
                .hint("a login page or a proxy stands in between: let rosterd past it"));
        }
        Ok(answer.request)
    }
}

fn wanted(user: Who<'_>) -> WantedUser {
    WantedUser { key: Some(user.key.clone()), name: user.name.into() }
}

fn yes_if(so: bool) -> Holds {
    if so { Holds::Yes(None) } else { Holds::No }
}
