//! The endpoints.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{BufMut, Bytes, BytesMut};

use super::fault::{Fault, reply};
use super::filter::{Filter, Grammar};
use super::list::{Listing, Place, Query, Wanted, page};
use super::state::{Group, Id, User};
use super::{Quirks, Shared, gate, render};
use crate::harness::locked;
use crate::world::Status;

type Okta = State<Arc<Shared>>;

const USER_FILTER: Grammar = Grammar {
    fields: &["status", "id", "profile.login", "profile.email", "profile.firstName", "profile.lastName"],
    ordered: &["lastUpdated"],
    search: false,
};
const USER_SEARCH: Grammar = Grammar {
    fields: &["status", "id", "type.id", "profile."],
    ordered: &["lastUpdated", "created", "activated", "statusChanged"],
    search: true,
};
const GROUP_FILTER: Grammar =
    Grammar { fields: &["id", "type"], ordered: &["lastUpdated", "lastMembershipUpdated"], search: false };

const USERS: Listing = Listing { name: "users", default: 200, max: 200 };
const USERS_SEARCHED: Listing = Listing { name: "users-searched", default: 200, max: 200 };
const USER_GROUPS: Listing = Listing { name: "user-groups", default: 200, max: 200 };
const GROUPS: Listing = Listing { name: "groups", default: 10_000, max: 10_000 };
const MEMBERS: Listing = Listing { name: "members", default: 1_000, max: 1_000 };
const APPS: Listing = Listing { name: "apps", default: 20, max: 200 };
const APP_USERS: Listing = Listing { name: "app-users", default: 50, max: 500 };
const APP_GROUPS: Listing = Listing { name: "app-groups", default: 20, max: 200 };

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/v1/users", get(users))
        .route("/api/v1/users/{id}", get(user))
        .route("/api/v1/users/{id}/groups", get(user_groups))
        .route("/api/v1/groups", get(groups))
        .route("/api/v1/groups/{id}", get(group))
        .route("/api/v1/groups/{id}/users", get(members))
        .route("/api/v1/apps", get(apps))
        .route("/api/v1/apps/{app}", get(app))
        .route("/api/v1/apps/{app}/users", get(app_users))
        .route("/api/v1/apps/{app}/users/{id}", get(app_user))
        .route("/api/v1/apps/{app}/groups", get(app_groups))
        .route("/api/v1/apps/{app}/groups/{id}", get(app_group))
        .route("/oauth2/v1/token", post(token))
        .fallback(async || Fault::no_path())
        .method_not_allowed_fallback(async || Fault::no_method())
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), gate::gate))
        .with_state(shared)
}

/// Path and query as sent.
struct Asked {
    path: String,
    query: Query,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        Ok(Self { path: parts.uri.path().to_owned(), query })
    }
}

impl Asked {
    fn place<'a>(&'a self, okta: &'a Shared) -> Place<'a> {
        Place { base: &okta.base, path: &self.path, query: &self.query, loses: None }
    }

    fn app_place<'a>(&'a self, okta: &'a Shared, quirks: &Quirks) -> Place<'a> {
        Place { loses: quirks.expand_lost.then_some("expand"), ..self.place(okta) }
    }

    fn filter(&self, name: &str, grammar: &Grammar) -> Result<Option<Filter>, Fault> {
        self.query.get(name).map(|text| Filter::parse(&text, grammar).map_err(Fault::bad_search)).transpose()
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        self.answer()
    }
}

async fn token(State(okta): Okta, headers: HeaderMap, form: String) -> Response {
    locked(&okta.tokens).token(&headers, &form, &okta.base, okta.clock.epoch())
}

async fn users(State(okta): Okta, asked: Asked) -> Result<Response, Fault> {
    let quirks = okta.quirks();
    let q = asked.query.get("q").map(|q| q.to_lowercase());
    let searched = asked.filter("search", &USER_SEARCH)?;
    if let Some(search) = searched {
        let wanted = Wanted::read(USERS_SEARCHED, &asked.query, &quirks)?;
        let state = locked(&okta.state);
        let rows = state.users_by_id(wanted.after.as_deref().map(Id::from));
        let rows = rows.filter_map(|(id, at)| state.user(at).map(|u| (id.to_string(), u)));
        let rows = rows.filter(|(_, u)| search.passes(&|field| user_field(u, field)));
        return Ok(page(&wanted, &asked.place(&okta), &quirks, rows, |u, out| out.put_slice(&u.json)));
    }
    let filter = asked.filter("filter", &USER_FILTER)?;
    let listing = if q.is_some() { Listing { default: 10, ..USERS } } else { USERS };
    let wanted = Wanted::read(listing, &asked.query, &quirks)?;
    let after = wanted.after.as_deref().map(class_and_id).transpose()?;
    let state = locked(&okta.state);
    let rows = state.users_from(after);
    let rows = rows.filter_map(|((class, id), at)| state.user(at).map(|u| (format!("{class}{id}"), u)));
    let rows = rows.filter(|(_, u)| match &filter {
        Some(filter) => filter.passes(&|field| user_field(u, field)),
        None => u.person.status != Status::Deprovisioned && q.as_ref().is_none_or(|q| starts(u, q)),
    });
    Ok(page(&wanted, &asked.place(&okta), &quirks, rows, |u, out| out.put_slice(&u.json)))
}

/// Reads the key of a row of the plain listing: a digit for the status class, then the id.
fn class_and_id(key: &str) -> Result<(u8, Id), Fault> {
    let mut chars = key.chars();
    let class = chars.next().and_then(|c| c.to_digit(10)).and_then(|d| u8::try_from(d).ok());
    class.map(|class| (class, Id::from(chars.as_str()))).ok_or_else(Fault::bad_cursor)
}

fn starts(user: &User, q: &str) -> bool {
    let p = &user.person;
    [Some(&p.first), Some(&p.last), p.email.as_ref(), Some(&p.login)]
        .into_iter()
        .flatten()
        .any(|v| v.to_lowercase().starts_with(q))
}

fn user_field(user: &User, field: &str) -> Option<String> {
    let p = &user.person;
    match field {
        "id" => Some(p.id.clone()),
        "status" => Some(p.status.word().to_owned()),
        "created" => Some(render::time(user.created)),
        "activated" => user.activated.map(render::time),
        "statusChanged" => Some(render::time(user.status_changed)),
        "lastUpdated" => Some(render::time(user.last_updated)),
        "type.id" => Some(render::USER_TYPE.to_owned()),
        "profile.login" => Some(p.login.clone()),
        "profile.email" => p.email.clone(),
        "profile.firstName" => Some(p.first.clone()),
        "profile.lastName" => Some(p.last.clone()),
        "profile.userType" => Some(p.user_type.clone()),
        "profile.department" => Some(p.department.clone()),
        "profile.employeeNumber" => Some(p.number.clone()),
        other => {
            let value = p.extras.get(other.strip_prefix("profile.")?)?;
            Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        }
    }
}

async fn user(State(okta): Okta, Path(key): Path<String>, headers: HeaderMap) -> Result<Response, Fault> {
    let state = locked(&okta.state);
    // `me` is whoever made the API token; behind a service app's access token there is no user.
    let personal = headers.get("authorization").is_some_and(|a| a.as_bytes().starts_with(b"SSWS "));
    let owner = okta.owner.as_ref().filter(|_| key == "me" && personal);
    let at = state.find_user(owner.unwrap_or(&key)).ok_or_else(|| Fault::not_found(&key, "User"))?;
    let user = state.user(at).ok_or_else(|| Fault::not_found(&key, "User"))?;
    Ok(reply(200, user.json.clone()))
}

async fn user_groups(State(okta): Okta, Path(key): Path<String>, asked: Asked) -> Result<Response, Fault> {
    let quirks = okta.quirks();
    let wanted = Wanted::read(USER_GROUPS, &asked.query, &quirks)?;
    let state = locked(&okta.state);
    let user = state.find_user(&key).and_then(|at| state.user(at)).ok_or_else(|| Fault::not_found(&key, "User"))?;
    let after = wanted.after.as_deref();
    let ids = user.groups.iter().filter(|id| after.is_none_or(|after| &***id > after));
    let rows = ids.filter_map(|id| state.group(id)).map(|g| (g.id.to_string(), g));
    Ok(page(&wanted, &asked.place(&okta), &quirks, rows, |g, out| out.put_slice(&g.json)))
}

async fn groups(State(okta): Okta, asked: Asked) -> Result<Response, Fault> {
    let quirks = okta.quirks();
    let filter = asked.filter("filter", &GROUP_FILTER)?;
    let q = asked.query.get("q").map(|q| q.to_lowercase());
    let stats = asked.query.names("expand", "stats");
    let wanted = Wanted::read(GROUPS, &asked.query, &quirks)?;
    let state = locked(&okta.state);
    let after = wanted.after.as_deref().map(|key| name_and_id(key).ok_or_else(Fault::bad_cursor)).transpose()?;
    let rows = state.groups_from(after).map(|((name, id), g)| (format!("{id}\n{name}"), g));
    let rows = rows.filter(|(_, g)| filter.as_ref().is_none_or(|f| f.passes(&|field| group_field(g, field))));
    let rows = rows.filter(|(_, g)| q.as_ref().is_none_or(|q| g.name.to_lowercase().starts_with(q)));
    Ok(page(&wanted, &asked.place(&okta), &quirks, rows, |g, out| {
        let (json, members) = g.shown();
        if stats {
            let apps = usize::from(state.app_group(&g.id).is_some());
            let stats = format!(
                "{{\"usersCount\":{},\"appsCount\":{apps},\"groupPushMappingsCount\":0,\"hasAdminPrivileges\":false}}",
                members.len()
            );
            render::embed(out, json, "stats", stats.as_bytes());
        } else {
            out.put_slice(json);
        }
    }))
}

/// Reads the key of a row of the group listing: the id, then the name that orders it.
fn name_and_id(key: &str) -> Option<(String, Id)> {
    let (id, name) = key.split_once('\n')?;
    Some((name.to_owned(), Id::from(id)))
}

fn group_field(group: &Group, field: &str) -> Option<String> {
    match field {
        "id" => Some(group.id.to_string()),
        "type" => Some(group.kind.word().to_owned()),
        "lastUpdated" => Some(render::time(group.last_updated)),
        "lastMembershipUpdated" => Some(render::time(group.members_updated_shown())),
        _ => None,
    }
}

async fn group(State(okta): Okta, Path(id): Path<String>) -> Result<Response, Fault> {
    let state = locked(&okta.state);
    let group = state.group(&id).ok_or_else(|| Fault::not_found(&id, "UserGroup"))?;
    Ok(reply(200, group.shown().0.clone()))
}

async fn members(State(okta): Okta, Path(id): Path<String>, asked: Asked) -> Result<Response, Fault> {
    use std::ops::Bound::{Excluded, Unbounded};
    let quirks = okta.quirks();
    let wanted = Wanted::read(MEMBERS, &asked.query, &quirks)?;
    let mut state = locked(&okta.state);
    let group = state.group(&id).ok_or_else(|| Fault::not_found(&id, "UserGroup"))?;
    let after = wanted.after.as_deref().map_or(Unbounded, |key| Excluded(Id::from(key)));
    let rows = group.shown().1.range((after, Unbounded));
    let rows = rows.filter_map(|(id, at)| state.user(*at).map(|u| (id.to_string(), u)));
    let response = page(&wanted, &asked.place(&okta), &quirks, rows, |u, out| out.put_slice(&u.json));
    if let Some(group) = state.group_mut(&id) {
        group.was_read();
    }
    Ok(response)
}

async fn apps(State(okta): Okta, asked: Asked) -> Result<Response, Fault> {
    let quirks = okta.quirks();
    let wanted = Wanted::read(APPS, &asked.query, &quirks)?;
    let state = locked(&okta.state);
    let rows = std::iter::once((state.app.to_string(), ())).filter(|(id, ())| Some(id) != wanted.after.as_ref());
    Ok(page(&wanted, &asked.place(&okta), &quirks, rows, |(), out| out.put_slice(&state.app_json)))
}

/// The state of the one app there is.
fn in_app<'a>(okta: &'a Shared, app: &str) -> Result<std::sync::MutexGuard<'a, super::state::State>, Fault> {
    let state = locked(&okta.state);
    if *state.app == *app { Ok(state) } else { Err(Fault::not_found(app, "AppInstance")) }
}

async fn app(State(okta): Okta, Path(app): Path<String>) -> Result<Response, Fault> {
    Ok(reply(200, in_app(&okta, &app)?.app_json.clone()))
}

async fn app_users(State(okta): Okta, Path(app): Path<String>, asked: Asked) -> Result<Response, Fault> {
    let quirks = okta.quirks();
    let wanted = Wanted::read(APP_USERS, &asked.query, &quirks)?;
    let embed = asked.query.names("expand", "user");
    let state = in_app(&okta, &app)?;
    let rows = state.app_users_from(wanted.after.as_deref().map(Id::from)).map(|(id, u)| (id.to_string(), u));
    Ok(page(&wanted, &asked.app_place(&okta, &quirks), &quirks, rows, |u, out| write_app_user(u, embed, out)))
}

fn write_app_user(user: &User, embed: bool, out: &mut BytesMut) {
    let Some(assignment) = &user.assignment else { return };
    if embed {
        render::embed(out, &assignment.json, "user", &user.json);
    } else {
        out.put_slice(&assignment.json);
    }
}

async fn app_user(State(okta): Okta, Path((app, id)): Path<(String, String)>, asked: Asked) -> Result<Response, Fault> {
    let state = in_app(&okta, &app)?;
    let user = state.find_user(&id).and_then(|at| state.user(at)).filter(|u| u.assignment.is_some());
    let user = user.ok_or_else(|| Fault::not_found(&id, "AppUser"))?;
    let mut body = BytesMut::new();
    write_app_user(user, asked.query.names("expand", "user"), &mut body);
    Ok(reply(200, body.freeze()))
}

async fn app_groups(State(okta): Okta, Path(app): Path<String>, asked: Asked) -> Result<Response, Fault> {
    let quirks = okta.quirks();
    let wanted = Wanted::read(APP_GROUPS, &asked.query, &quirks)?;
    let after = wanted.after.as_deref().map(|key| key.parse().map_err(|_| Fault::bad_cursor())).transpose()?;
    let embed = asked.query.names("expand", "group");
    let state = in_app(&okta, &app)?;
    let rows = state.app_groups_from(after).filter_map(|(at, g)| {
        let whole = state.group(&g.id)?;
        Some((at.to_string(), (&g.json, embed.then(|| whole.shown().0))))
    });
    Ok(page(&wanted, &asked.app_place(&okta, &quirks), &quirks, rows, |(json, whole), out| {
        write_app_group(json, *whole, out);
    }))
}

fn write_app_group(json: &Bytes, whole: Option<&Bytes>, out: &mut BytesMut) {
    match whole {
        Some(group) => render::embed(out, json, "group", group),
        None => out.put_slice(json),
    }
}

async fn app_group(State(okta): Okta, Path((app, id)): Path<(String, String)>, asked: Asked) -> Result<Response, Fault> {
    let state = in_app(&okta, &app)?;
    let missing = || Fault::not_found(&id, "ApplicationGroupAssignment");
    let (found, group) = (state.app_group(&id).ok_or_else(missing)?, state.group(&id).ok_or_else(missing)?);
    let mut body = BytesMut::new();
    let embed = asked.query.names("expand", "group").then(|| group.shown().0);
    write_app_group(&found.json, embed, &mut body);
    Ok(reply(200, body.freeze()))
}
