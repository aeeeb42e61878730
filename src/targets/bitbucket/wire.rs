//! What Bitbucket says, as types: users, groups, permissions, directories, pages, errors.

use serde::Deserialize;
use smol_str::SmolStr;

use crate::model::key::TargetKey;

/// The application's properties.
#[derive(Debug, Deserialize)]
pub(super) struct Properties {
    /// Such as `8.19.4`.
    pub(super) version: String,
}

/// A user in detail, as every listing below `admin` tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    /// The stable id as a number.
    pub(super) id: u64,
    /// The user name. The slug is another thing, and changes with it.
    pub(super) name: SmolStr,
    /// The e-mail address.
    pub(super) email_address: Option<SmolStr>,
    /// The full name.
    pub(super) display_name: Option<SmolStr>,
    /// Left out means yes.
    pub(super) active: Option<bool>,
    /// Left out means yes.
    pub(super) mutable_details: Option<bool>,
    #[serde(rename = "type")]
    kind: Option<SmolStr>,
}

impl User {
    /// The stable id.
    pub(super) fn key(&self) -> TargetKey {
        TargetKey::from(self.id.to_string())
    }

    /// Whether it is an account of the application's own, which is nobody's.
    pub(super) fn is_service(&self) -> bool {
        self.kind.as_deref() == Some("SERVICE")
    }
}

/// A group.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    /// Its name.
    pub(super) name: String,
}

/// A group's highest global permission.
#[derive(Debug, Deserialize)]
pub(super) struct GroupPermission {
    /// Whose.
    pub(super) group: Group,
    /// Which.
    pub(super) permission: String,
}

/// A user's highest global permission of its own.
#[derive(Debug, Deserialize)]
pub(super) struct UserPermission {
    /// Whose.
    pub(super) user: Grantee,
    /// Which.
    pub(super) permission: String,
}

/// A user in short.
#[derive(Debug, Deserialize)]
pub(super) struct Grantee {
    /// The user name.
    pub(super) name: String,
}

/// Whether a global permission lets its holder log in. All four of today do; a word that is not known is not counted.
pub(super) fn gives_access(permission: &str) -> bool {
    matches!(permission, "LICENSED_USER" | "PROJECT_CREATE") || gives_administration(permission)
}

/// Whether a global permission gives rights of administration.
pub(super) fn gives_administration(permission: &str) -> bool {
    matches!(permission, "ADMIN" | "SYS_ADMIN")
}

/// The licence, with how much of it is taken.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Licence {
    maximum_number_of_users: Option<i64>,
    #[serde(default)]
    unlimited_number_of_users: bool,
    #[serde(default)]
    status: LicenceStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LicenceStatus {
    current_number_of_users: Option<u32>,
}

impl Licence {
    /// How many seats there are; `None`: as many as one likes.
    pub(super) fn of(&self) -> Option<u32> {
        self.maximum_number_of_users.filter(|_| !self.unlimited_number_of_users).and_then(|seats| u32::try_from(seats).ok())
    }

    /// How many are taken.
    pub(super) fn used(&self) -> Option<u32> {
        self.status.current_number_of_users
    }
}

/// A user directory.
#[derive(Debug, Deserialize)]
pub(super) struct Directory {
    /// Its name.
    #[serde(default)]
    pub(super) name: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    active: Option<bool>,
}

impl Directory {
    /// Whether users come from it at all.
    pub(super) fn is_active(&self) -> bool {
        self.active.unwrap_or(true)
    }

    /// Whether it calls itself read-only.
    pub(super) fn is_read_only(&self) -> bool {
        let told = self.told();
        told.contains("read only") || told.contains("read-only")
    }

    /// Whether its groups can be written all the same.
    pub(super) fn has_local_groups(&self) -> bool {
        self.told().contains("local groups")
    }

    fn told(&self) -> String {
        [&self.name, &self.kind, self.description.as_ref().unwrap_or(&self.kind)].map(|text| text.to_lowercase()).join(" ")
    }
}

/// The directories, in one of the shapes in which versions tell them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Directories {
    /// A bare list.
    List(Vec<Directory>),
    /// A page.
    Page {
        /// What is on it.
        values: Vec<Directory>,
    },
    /// The one.
    One(Directory),
}

impl Directories {
    /// As a list.
    pub(super) fn into_vec(self) -> Vec<Directory> {
        match self {
            Self::List(list) | Self::Page { values: list } => list,
            Self::One(one) => vec![one],
        }
    }
}

/// A page of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    /// What is on it.
    pub(super) values: Vec<T>,
    /// Where it begins.
    pub(super) start: Option<u64>,
    /// How many are on it.
    pub(super) size: Option<u64>,
    /// Required: without it a body must not pass for a last page.
    pub(super) is_last_page: bool,
    /// Absent on the last page. It is no sum of the others: what is filtered out in between counts.
    pub(super) next_page_start: Option<u64>,
}

/// Bitbucket's own error body, by which its errors are told from those of a proxy.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorBody {
    errors: Vec<ErrorItem>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorItem {
    message: Option<String>,
    exception_name: Option<String>,
}

impl ErrorBody {
    /// Reads a body; `None` if it is none of Bitbucket's errors.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|body| !body.errors.is_empty())
    }

    /// The name of the first exception without its packages: the part that programs may read.
    pub(super) fn exception(&self) -> &str {
        let names = self.errors.iter().filter_map(|error| error.exception_name.as_deref());
        names.map(|name| name.rsplit(['.', '$']).next().unwrap_or(name)).next().unwrap_or("")
    }

    /// The messages, in words.
    pub(super) fn words(&self) -> String {
        self.errors.iter().filter_map(|error| error.message.as_deref()).collect::<Vec<_>>().join("; ")
    }
}
