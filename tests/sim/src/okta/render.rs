//! Objects as JSON. They are written once for each change, not for each request: a page is then a matter of copying.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use chrono::{Datelike, Timelike};
use serde::Serialize;
use serde_json::{Value, json};

use super::state::{AppGroup, Assignment, Group, User};

/// The id of the one user type.
pub(super) const USER_TYPE: &str = "otySimulated00000000";

/// A time as Okta writes it: whole seconds, with a fraction that is always zero.
pub(super) fn time(epoch: i64) -> String {
    let at = chrono::DateTime::from_timestamp(epoch, 0).unwrap_or_default().naive_utc();
    let (day, hour, minute, second) = (at.date(), at.hour(), at.minute(), at.second());
    // Field by field: a format string would be parsed anew for each of a hundred thousand objects.
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.000Z", day.year(), day.month(), day.day())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserBody<'a> {
    id: &'a str,
    status: &'a str,
    created: String,
    activated: Option<String>,
    status_changed: Option<String>,
    last_login: Option<String>,
    last_updated: String,
    password_changed: Option<String>,
    r#type: Link<'a>,
    profile: Profile<'a>,
    credentials: Credentials,
    #[serde(rename = "_links")]
    links: SelfLink,
}

#[derive(Serialize)]
struct Link<'a> {
    id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Profile<'a> {
    login: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    first_name: &'a str,
    last_name: &'a str,
    // These two alone are there when they are not set.
    mobile_phone: Option<&'a str>,
    second_email: Option<&'a str>,
    user_type: &'a str,
    department: &'a str,
    employee_number: &'a str,
    #[serde(flatten)]
    extras: BTreeMap<&'a str, &'a Value>,
}

#[derive(Serialize)]
struct Credentials {
    password: Empty,
    provider: Provider,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Provider {
    r#type: &'static str,
    name: &'static str,
}

#[derive(Serialize)]
struct SelfLink {
    #[serde(rename = "self")]
    this: Href,
}

#[derive(Serialize)]
struct Href {
    href: String,
}

pub(super) fn user(base: &str, user: &User) -> Bytes {
    let person = &user.person;
    // An extra attribute may stand in for one of the named ones only where that is empty; twice the same key is no JSON.
    let named =
        ["login", "email", "firstName", "lastName", "mobilePhone", "secondEmail", "userType", "department", "employeeNumber"];
    let extras = person.extras.iter().filter(|(n, _)| !named.contains(&n.as_str()));
    let body = UserBody {
        id: &person.id,
        status: person.status.word(),
        created: time(user.created),
        activated: user.activated.map(time),
        status_changed: user.activated.map(|_| time(user.status_changed)),
        last_login: None,
        last_updated: time(user.last_updated),
        password_changed: user.activated.map(time),
        r#type: Link { id: USER_TYPE },
        profile: Profile {
            login: &person.login,
            email: person.email.as_deref(),
            first_name: &person.first,
            last_name: &person.last,
            mobile_phone: None,
            second_email: None,
            user_type: &person.user_type,
            department: &person.department,
            employee_number: &person.number,
            extras: extras.map(|(n, v)| (n.as_str(), v)).collect(),
        },
        credentials: Credentials { password: Empty {}, provider: Provider { r#type: "OKTA", name: "OKTA" } },
        links: SelfLink { this: Href { href: format!("{base}/api/v1/users/{}", person.id) } },
    };
    Bytes::from(serde_json::to_vec(&body).expect("plain values are JSON"))
}

pub(super) fn group(base: &str, group: &Group) -> Bytes {
    let url = format!("{base}/api/v1/groups/{}", group.id);
    let class = if group.kind == crate::world::GroupKind::App { "okta:windows_security_principal" } else { "okta:user_group" };
    let body = json!({
        "id": &*group.id,
        "created": time(group.created),
        "lastUpdated": time(group.last_updated),
        "lastMembershipUpdated": time(group.members_updated),
        "objectClass": [class],
        "type": group.kind.word(),
        "profile": { "name": group.name, "description": group.description },
        "_links": {
            "logo": [],
            "users": { "href": format!("{url}/users") },
            "apps": { "href": format!("{url}/apps") },
        },
    });
    Bytes::from(body.to_string())
}

pub(super) fn app_user(base: &str, app: &str, user: &User, assignment: &Assignment) -> Bytes {
    let text = |t: &str| serde_json::to_string(t).expect("text is JSON");
    let (id, since, login) = (&user.id, time(assignment.since), text(&user.person.login));
    let (scope, group) = match &assignment.group {
        None => ("USER", String::new()),
        Some((id, name)) => {
            let name = text(name);
            ("GROUP", format!(r#","group":{{"href":"{base}/api/v1/groups/{id}","name":{name}}}"#))
        }
    };
    let links = format!(r#"{{"app":{{"href":"{base}/api/v1/apps/{app}"}},"user":{{"href":"{base}/api/v1/users/{id}"}}{group}}}"#);
    let body = format!(
        r#"{{"id":"{id}","externalId":null,"created":"{since}","lastUpdated":"{since}","scope":"{scope}","status":"ACTIVE","statusChanged":"{since}","passwordChanged":null,"syncState":"DISABLED","lastSync":null,"credentials":{{"userName":{login}}},"profile":{{}},"_links":{links}}}"#
    );
    Bytes::from(body)
}

pub(super) fn app_group(base: &str, app: &str, group: &AppGroup, priority: usize) -> Bytes {
    let app = format!("{base}/api/v1/apps/{app}");
    let body = json!({
        "id": &*group.id,
        "lastUpdated": time(group.since),
        "priority": priority,
        "profile": {},
        "_links": {
            "app": { "href": app },
            "self": { "href": format!("{app}/groups/{}", group.id) },
            "group": { "href": format!("{base}/api/v1/groups/{}", group.id) },
        },
    });
    Bytes::from(body.to_string())
}

pub(super) fn app(base: &str, id: &str, label: &str) -> Bytes {
    let url = format!("{base}/api/v1/apps/{id}");
    let body = json!({
        "id": id,
        "name": "atlassian",
        "label": label,
        "status": "ACTIVE",
        "created": time(super::state::ORIGIN),
        "lastUpdated": time(super::state::ORIGIN),
        "features": [],
        "signOnMode": "SAML_2_0",
        "_links": { "users": { "href": format!("{url}/users") }, "groups": { "href": format!("{url}/groups") } },
    });
    Bytes::from(body.to_string())
}

/// Writes an object with something embedded; the object's last brace makes room for it.
pub(super) fn embed(body: &mut BytesMut, object: &[u8], name: &str, embedded: &[u8]) {
    body.put_slice(&object[..object.len() - 1]);
    body.put_slice(b",\"_embedded\":{\"");
    body.put_slice(name.as_bytes());
    body.put_slice(b"\":");
    body.put_slice(embedded);
    body.put_slice(b"}}");
}
