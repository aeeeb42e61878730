//! The lie of the land: what the probe finds out about a Bitbucket, and what the other readings build on.
//!
//! Since no account has a switch, who can log in follows from global permissions: a user can if a group of theirs, or they
//! themselves, hold one.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use super::wire::{
    Directories, Directory, GroupPermission, Licence, Properties, User, UserPermission, gives_access, gives_administration,
};
use super::{ADDS_PER_CALL, Bitbucket, TOKEN_HINT};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::target::{Capabilities, Deactivation, Expiry, Nature, Seats};
use crate::http::wire::{Answer, Call};
use crate::model::change::OpKind;
use crate::model::desired::Attributes;
use crate::model::key::{TargetKey, fold};
use crate::model::roster::TargetUser;

/// The first version that is supported.
const OLDEST: (u32, u32) = (7, 21);

/// What the readings build on.
#[derive(Clone, Debug, Default)]
pub(super) struct Land {
    /// The groups that give access, by name.
    pub(super) access: Vec<String>,
    /// The groups that give rights of administration, by name.
    admins: Vec<String>,
    /// Users who hold a global permission of their own, by folded name.
    granted: BTreeSet<String>,
    /// Whether memberships can be written at all.
    pub(super) groups_writable: bool,
    /// Directories that call themselves read-only.
    read_only: Vec<String>,
}

impl Land {
    /// Whether a user holds a global permission without any group.
    pub(super) fn is_granted(&self, name: &str) -> bool {
        self.granted.contains(&fold(name))
    }

    /// The user as the model has it. `has_access_group`: whether one of the user's groups gives access.
    pub(super) fn user(&self, user: &User, groups: Groups) -> TargetUser {
        // Without a single group that gives access nothing can be told from groups, and the account's own flag has to do.
        let is_let_in = self.access.is_empty() || groups == Groups::GiveAccess || self.is_granted(&user.name);
        TargetUser {
            key: user.key(),
            name: user.name.clone(),
            email: user.email_address.clone(),
            display_name: user.display_name.clone(),
            active: user.active.unwrap_or(true) && is_let_in,
            writable: user.mutable_details.unwrap_or(true),
        }
    }

    /// What some groups of a user mean for it.
    pub(super) fn groups(&self, names: &[String]) -> Groups {
        let access: BTreeSet<String> = self.access.iter().map(|name| fold(name)).collect();
        if names.iter().any(|name| access.contains(&fold(name))) { Groups::GiveAccess } else { Groups::GiveNone }
    }
}

/// What a user's groups mean for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    /// One of them gives access.
    GiveAccess,
    /// None of them does.
    GiveNone,
}

impl Groups {
    /// Of a user by key, given the keys of all members of groups that give access.
    pub(super) fn of(key: &TargetKey, let_in: &BTreeSet<TargetKey>) -> Self {
        if let_in.contains(key) { Self::GiveAccess } else { Self::GiveNone }
    }
}

impl Bitbucket {
    /// Asks for version, identity, rights and directories.
    pub(super) async fn explore(&self) -> Result<Capabilities, ConnectorError> {
        let version = self.version().await?;
        let acting_as = self.identity().await?;
        let land = self.survey().await?;
        let mut notes = Vec::new();
        let seats = match self.seats(&land).await? {
            Ok(seats) => vec![seats],
            Err(why) => {
                notes.push(format!("how many seats the licence has left is not known: {why}"));
                Vec::new()
            }
        };
        if land.access.is_empty() {
            notes
                .push("no group has a global permission, so that taking users out of groups does not deactivate them".to_owned());
        }
        for directory in &land.read_only {
            notes.push(format!("the user directory {directory:?} is read-only: users in it are left as they are"));
        }
        if !land.granted.is_empty() {
            let names: Vec<&str> = land.granted.iter().take(10).map(String::as_str).collect();
            notes.push(format!(
                "{} users hold a global permission of their own, which no group gives and which deactivation leaves ({}{})",
                land.granted.len(),
                names.join(", "),
                if land.granted.len() > names.len() { ", …" } else { "" }
            ));
        }
        Ok(Capabilities {
            product: NATURE.product,
            version,
            acting_as: Some(acting_as),
            can: OpKind::ALL.into_iter().filter(|kind| *kind != OpKind::ActivateUser).collect(),
            can_rename: true,
            can_update: true,
            needs_email: true,
            deactivation: Deactivation::StripGroups,
            adds_per_call: ADDS_PER_CALL,
            writes_at_once: self.concurrency,
            admin_groups: land.admins.clone(),
            groups_writable: land.groups_writable,
            seats,
            // Only a password can administer, and nobody tells when one expires.
            expires: Expiry::Never,
            refuse_user: NATURE.refuse_user,
            refuse_group: NATURE.refuse_group,
            notes,
        })
    }

    /// What the last probe found; finds it now if there was none.
    pub(super) async fn land(&self) -> Result<Arc<Land>, ConnectorError> {
        let known = self.land.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(land) => Ok(land),
            None => self.survey().await,
        }
    }

    async fn version(&self) -> Result<String, ConnectorError> {
        let doing = "ask for the version";
        let properties: Properties = self.send(Call::get("rest/api/latest/application-properties", doing)).await?.json()?;
        let mut parts = properties.version.trim().split(['.', '-']).map(|part| part.parse::<u32>().ok());
        let (Some(Some(major)), Some(Some(minor))) = (parts.next(), parts.next()) else {
            return Err(ConnectorError::new(self.system(), doing, Fault::Malformed, "the version that it tells is no version"));
        };
        if (major, minor) < OLDEST {
            let why = format!("Bitbucket {} is older than 7.21, the first that rosterd knows", properties.version);
            return Err(ConnectorError::new(self.system(), doing, Fault::Unsupported, why)
                .hint("upgrade Bitbucket, or let it take its users from Crowd or from Jira as user server and sync that"));
        }
        Ok(properties.version)
    }

    /// The account that the credential belongs to, which only a header tells.
    async fn identity(&self) -> Result<String, ConnectorError> {
        let doing = "ask whose the credential is";
        let answer = self.send(Call::get("rest/api/latest/admin/users", doing).query("limit", 1)).await?;
        // A page of users and not just any 200: a login page would be one as well.
        let _: super::wire::Page<User> = answer.json()?;
        user_name(&answer).ok_or_else(|| {
            ConnectorError::new(self.system(), doing, Fault::Refused, "Bitbucket takes us for anonymous").hint(
                "basic authentication may be switched off, or a proxy drops the Authorization header: let both pass for this account",
            )
        })
    }

    async fn survey(&self) -> Result<Arc<Land>, ConnectorError> {
        let mut land = Land::default();
        let call = Call::get("rest/api/latest/admin/permissions/groups", "list which groups have global permissions");
        self.pages(&call, |granted: GroupPermission| {
            if gives_administration(&granted.permission) {
                land.admins.push(granted.group.name.clone());
            }
            if gives_access(&granted.permission) {
                land.access.push(granted.group.name);
            }
            Ok(())
        })
        .await
        .map_err(|error| self.explain(error))?;

        let call = Call::get("rest/api/latest/admin/permissions/users", "list which users have global permissions");
        self.pages(&call, |granted: UserPermission| {
            if gives_access(&granted.permission) {
                land.granted.insert(fold(&granted.user.name));
            }
            Ok(())
        })
        .await
        .map_err(|error| self.explain(error))?;

        let directories = self.directories().await?;
        land.groups_writable = directories.is_empty() || !directories.iter().all(|d| d.is_read_only() && !d.has_local_groups());
        land.read_only = directories.into_iter().filter(Directory::is_read_only).map(|d| d.name).collect();

        let land = Arc::new(land);
        *self.land.lock().unwrap_or_else(PoisonError::into_inner) = Some(land.clone());
        Ok(land)
    }

    /// Asks for the licence; why it is not told, if it is not. Nothing but the count of seats depends on it, so that only a
    /// refused credential ends the probe here.
    async fn seats(&self, land: &Land) -> Result<Result<Seats, String>, ConnectorError> {
        // Bitbucket says 401 to whoever may not ask, too; the credential has been accepted by the questions before.
        let call = Call::get("rest/api/latest/admin/license", "ask for the seats of the licence").accept(401).accept(404);
        let licence = match self.send(call).await {
            Ok(answer) if answer.status == 200 => answer.json::<Licence>(),
            Ok(answer) if answer.status == 401 => return Ok(Err("the account may not see the licence".to_owned())),
            Ok(_) => return Ok(Err("Bitbucket says that no licence is installed".to_owned())),
            Err(error) => Err(error),
        };
        match licence {
            Ok(licence) => Ok(licence.used().map_or_else(
                || Err("the licence does not tell how many seats are taken".to_owned()),
                |used| {
                    let product = "Bitbucket".to_owned();
                    Ok(Seats { product, used, of: licence.of(), groups: land.access.clone(), taken_by_creation: false })
                },
            )),
            Err(error) if error.fault == Fault::Refused => Err(error),
            Err(error) => Ok(Err(error.why)),
        }
    }

    async fn directories(&self) -> Result<Vec<Directory>, ConnectorError> {
        let call = Call::get("rest/api/latest/admin/user-directories", "list the user directories");
        let directories: Directories = self.send(call).await?.json()?;
        Ok(directories.into_vec().into_iter().filter(Directory::is_active).collect())
    }

    /// Says of a refusal of what only an administrator may read that it is the token's fault, where it is: it was good enough
    /// for the request before.
    fn explain(&self, error: ConnectorError) -> ConnectorError {
        if !self.has_token || !matches!(error.fault, Fault::Refused | Fault::Forbidden) {
            return error;
        }
        ConnectorError { fault: Fault::Forbidden, ..error }.hint(TOKEN_HINT)
    }
}

/// The user name that the answer's header tells, which is percent-encoded; `None` for anonymous.
fn user_name(answer: &Answer) -> Option<String> {
    let told = answer.headers.get("x-ausername")?.to_str().ok()?;
    let name = url::form_urlencoded::parse(format!("n={}", told.replace('+', "%2B")).as_bytes()).next()?.1.into_owned();
    (!name.is_empty() && name != "anonymous").then_some(name)
}

/// What no probe finds.
pub(super) const NATURE: Nature = Nature { product: "Bitbucket Data Center", refuse_user, refuse_group };

/// Why Bitbucket cannot hold this user. It documents no rule but the length, which its tables set.
fn refuse_user(user: &Attributes) -> Option<String> {
    if user.name.trim().is_empty() {
        return Some("the user name is blank".into());
    }
    if user.name.chars().count() > 255 {
        return Some(format!("the user name {:?} is longer than 255 characters", user.name));
    }
    user.display_name.as_deref().filter(|name| name.trim().is_empty()).map(|_| "the full name is blank".into())
}

/// Why Bitbucket cannot hold a group of this name.
fn refuse_group(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        return Some("the group name is blank".into());
    }
    (name.chars().count() > 255).then(|| format!("the group name {name:?} is longer than 255 characters"))
}
