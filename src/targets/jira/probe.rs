//! The probe: which Jira this is, as whom we stand there, with which rights, how many seats are free, and whether it can list
//! all users.

use super::wire::{Permissions, Role, Roles, ServerInfo, User};
use super::{CONTEXT_PATH, Jira};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::target::{Capabilities, Deactivation, Nature, Seats};
use crate::http::wire::Call;
use crate::model::change::OpKind;
use crate::model::desired::Attributes;

/// Major and minor number of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub u32, pub u32);

/// Older releases refuse personal access tokens or the deactivation by REST, and are out of the vendor's support.
const OLDEST: Version = Version(8, 20);
/// The newest line whose API was compared with what is written here.
const NEWEST_MAJOR: u32 = 11;
/// Where `user/list` may be: from 10.3.12 on within 10.3, not in 10.4 to 10.7, and in 11. The server is asked.
const MAYBE_LISTS: Version = Version(10, 3);

/// What a reading must know of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub version: Version,
    /// Whether `user/list` is there.
    pub lists_users: bool,
}

pub(super) async fn probe(jira: &Jira) -> Result<(Facts, Capabilities), ConnectorError> {
    let (version, told) = version(jira).await?;
    let mut notes = Vec::new();
    if version.0 > NEWEST_MAJOR {
        notes.push(format!("jira {told} is newer than the releases rosterd was made for (up to {NEWEST_MAJOR})"));
    }
    let acting_as = identity(jira).await?;
    notes.extend(rights(jira).await?);
    let seats = match seats(jira).await? {
        Ok(seats) => seats,
        Err(why) => {
            notes.push(format!("how many seats the licence has left is not known: {why}"));
            Vec::new()
        }
    };
    let expires = jira.lifetime.expiry(&jira.api).await?;
    let lists_users = lists_users(jira, version).await?;
    let capabilities = Capabilities {
        product: NATURE.product,
        version: told,
        acting_as: Some(acting_as),
        can: OpKind::ALL.to_vec(),
        can_rename: true,
        can_update: true,
        needs_email: true,
        deactivation: Deactivation::Flag,
        adds_per_call: 1,
        writes_at_once: jira.fanout,
        admin_groups: jira.admin_groups.clone(),
        groups_writable: true,
        seats,
        expires,
        refuse_user: NATURE.refuse_user,
        refuse_group: NATURE.refuse_group,
        notes,
    };
    Ok((Facts { version, lists_users }, capabilities))
}

/// Asks for the version. Needs no right, and so is the request by which a refused credential and a wrong address show.
async fn version(jira: &Jira) -> Result<(Version, String), ConnectorError> {
    let doing = "ask for jira's version";
    let answer = jira.send(Call::get("rest/api/2/serverInfo", doing)).await?;
    let info: ServerInfo = answer.json().map_err(|error| error.hint(CONTEXT_PATH))?;
    if info.deployment_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("cloud")) {
        let error = jira.error(doing, Fault::Unsupported, "this is Jira Cloud, and this connector speaks to Data Center");
        return Err(error.hint("point url at a Data Center instance"));
    }
    let Some(version) = parse(&info) else {
        return Err(jira.error(doing, Fault::Malformed, "the answer's version is not one"));
    };
    if version < OLDEST {
        let why = format!("jira {} is older than {}.{}", info.version, OLDEST.0, OLDEST.1);
        let error = jira.error(doing, Fault::Unsupported, why);
        return Err(error.hint("upgrade Jira to a supported release (8.20 or later)"));
    }
    Ok((version, info.version))
}

fn parse(info: &ServerInfo) -> Option<Version> {
    if let [major, minor, ..] = info.version_numbers[..] {
        return Some(Version(major, minor));
    }
    let mut numbers = info.version.split(['.', '-']).map(|part| part.parse().ok());
    Some(Version(numbers.next()??, numbers.next()??))
}

/// Asks who we are. This resource refuses anonymous callers, where others answer them with less.
async fn identity(jira: &Jira) -> Result<String, ConnectorError> {
    let doing = "ask jira who we are";
    let myself: User = jira.send(Call::get("rest/api/2/myself", doing)).await?.json()?;
    if !myself.active || myself.deleted {
        return Err(jira.error(doing, Fault::Refused, "the account that rosterd acts with is inactive"));
    }
    Ok(myself.name.into())
}

/// Asks for the right to administer; what a person should know comes back as notes.
async fn rights(jira: &Jira) -> Result<Option<String>, ConnectorError> {
    let doing = "ask for our rights in jira";
    let call = Call::get("rest/api/2/mypermissions", doing).accept(400).accept(404);
    let answer = jira.send(call).await?;
    // Where the shape is another one the rights show at the first request that needs them.
    let told: Permissions = if answer.status == 200 { answer.json().unwrap_or_default() } else { Permissions::default() };
    match (told.has("ADMINISTER"), told.has("SYSTEM_ADMIN")) {
        (_, Some(true)) => Ok(None),
        (Some(true), _) => Ok(Some(
            "the account is a Jira administrator and no system administrator: it cannot change members of system \
             administrators' groups"
                .to_owned(),
        )),
        (None, None) => Ok(Some("jira does not tell whether the account may administer users".to_owned())),
        (Some(false), _) | (None, Some(false)) => {
            let error = jira.error(doing, Fault::Forbidden, "the account has no right to administer users and groups");
            Err(error.hint("give it the global permission Jira Administrators (Administration, System, Global permissions)"))
        }
    }
}

/// Asks how many seats are taken, role by role; why that is not told, if it is not. Nothing but the count of seats depends on
/// it, so that only a refused credential ends the probe here.
async fn seats(jira: &Jira) -> Result<Result<Vec<Seats>, String>, ConnectorError> {
    let call = Call::get("rest/api/2/applicationrole", "ask for the seats of jira's licence");
    // The credential has been accepted by the questions before: a 401 to this one is about rights.
    let call = [401, 403, 404].into_iter().fold(call, Call::accept);
    let roles = match jira.send(call).await {
        Ok(answer) if answer.status == 200 => answer.json::<Roles>(),
        Ok(answer) => return Ok(Err(format!("jira answered {} to the question for it", answer.status))),
        Err(error) => Err(error),
    };
    match roles {
        Ok(roles) => Ok(Ok(roles.into_vec().into_iter().filter_map(|role| seats_of(jira, role)).collect())),
        Err(error) if error.fault == Fault::Refused => Err(error),
        Err(error) => Ok(Err(error.why)),
    }
}

/// A role as seats. One that no group gives has nothing to do with what is done here.
fn seats_of(jira: &Jira, role: Role) -> Option<Seats> {
    let taken_by_creation = jira.application_keys.contains(&role.key);
    let (used, of) = (role.used()?, role.of());
    (taken_by_creation || !role.groups.is_empty()).then(|| Seats {
        product: role.name.unwrap_or(role.key),
        used,
        of,
        groups: role.groups,
        taken_by_creation,
    })
}

/// Asks whether users can be listed, unless that was found out before for the same version: an upgrade needs a restart of
/// Jira, and a minor version changes with it in all but the 10.3 line, where a stale "no" costs requests and nothing else.
async fn lists_users(jira: &Jira, version: Version) -> Result<bool, ConnectorError> {
    if version < MAYBE_LISTS {
        return Ok(false);
    }
    if let Some(known) = jira.known().filter(|facts| facts.version == version) {
        return Ok(known.lists_users);
    }
    let call = Call::get("rest/api/2/user/list", "ask whether jira lists users").query("maxResults", 1).accept(404);
    Ok(jira.send(call).await?.status == 200)
}

/// The longest name that a directory's table takes, in characters.
const LONGEST: usize = 255;

/// What no probe finds.
pub(super) const NATURE: Nature = Nature { product: "Jira", refuse_user, refuse_group };

fn refuse_user(user: &Attributes) -> Option<String> {
    let name = &user.name;
    if name.trim().is_empty() {
        return Some("the user name is empty".to_owned());
    }
    if let Some(sign) = name.chars().find(|sign| matches!(sign, '<' | '>' | '&')) {
        return Some(format!("the user name contains {sign}, which Jira does not take"));
    }
    let fields =
        [("user name", Some(name)), ("e-mail address", user.email.as_ref()), ("display name", user.display_name.as_ref())];
    let long = fields.into_iter().find(|(_, text)| text.is_some_and(|text| text.chars().count() > LONGEST));
    long.map(|(field, _)| format!("the {field} is longer than {LONGEST} characters"))
}

fn refuse_group(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        return Some("the group name is empty".to_owned());
    }
    (name.chars().count() > LONGEST).then(|| format!("the group name is longer than {LONGEST} characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, numbers: &[u32]) -> ServerInfo {
        ServerInfo { version: version.into(), version_numbers: numbers.to_vec(), deployment_type: None }
    }

    #[test]
    fn a_version_is_read_from_its_numbers_or_its_text() {
        assert_eq!(parse(&info("whatever", &[10, 4, 0])), Some(Version(10, 4)));
        assert_eq!(parse(&info("11.0-m0012", &[])), Some(Version(11, 0)));
        assert_eq!(parse(&info("9.12.4-SNAPSHOT", &[])), Some(Version(9, 12)));
        assert_eq!(parse(&info("next", &[])), None);
        assert!(Version(8, 19) < OLDEST && Version(10, 0) > OLDEST);
    }

    #[test]
    fn names_that_jira_cannot_hold_are_refused_with_the_reason() {
        let user = |name: &str| Attributes { name: name.into(), email: None, display_name: None };
        assert_eq!(refuse_user(&user("ada+test@example.com")), None);
        assert!(refuse_user(&user("a&b")).unwrap().contains('&'));
        assert!(refuse_user(&user(" ")).unwrap().contains("empty"));
        assert_eq!(refuse_user(&user(&"ä".repeat(255))), None);
        assert!(refuse_user(&user(&"ä".repeat(256))).unwrap().contains("255"));
        assert_eq!(refuse_group("Team A/B + 50% \"C\" #1 🚀"), None);
        assert!(refuse_group("").is_some() && refuse_group(&"g".repeat(256)).is_some());
    }
}
