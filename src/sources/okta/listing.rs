//! One listing, read to its last page or not at all.
//!
//! Three things go wrong with Okta's pages. A next link may have lost the listing's own parameters (`expand` on an app's
//! users), so that they are put onto each link anew. A cursor may come twice, so that the listing would never end. And a
//! page may be too large for the server, which then gives up: it is asked for a smaller one from the same place.
//! <https://developer.okta.com/docs/api/#link-header>

use super::Okta;
use super::dialect::{NO_SUCH_OBJECT, OktaError, SERVER_GAVE_UP};
use super::rights::Right;
use crate::contract::fault::{ConnectorError, Fault};
use crate::http::page::{Pages, next_link};
use crate::http::wire::{Answer, Call};

/// Okta leaves out what is costly to render if asked by these three words together.
/// <https://developer.okta.com/docs/api/openapi/okta-management/management/tag/User/#tag/User/operation/listUsers>
const LIGHT: &str = "application/json; okta-response=omitCredentials,omitCredentialsLinks,omitTransitioningToStatus";

/// No page is asked for that is smaller than this; some listings allow no smaller one.
const SMALLEST: u32 = 20;

/// What to list.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    path: String,
    pub(super) doing: String,
    right: Right,
    limit: Option<u32>,
    own: Vec<(&'static str, String)>,
    light: bool,
}

/// Whether there was anything to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// Every page was read.
    Whole,
    /// Okta definitely says that what was to be listed is not there.
    Gone,
}

impl Listing {
    /// A listing whose pages hold so many.
    pub(super) fn new(path: impl Into<String>, doing: impl Into<String>, right: Right, limit: u32) -> Self {
        Self { limit: Some(limit), ..Self::unsized_pages(path, doing, right) }
    }

    /// A listing that takes no size of its pages.
    pub(super) fn unsized_pages(path: impl Into<String>, doing: impl Into<String>, right: Right) -> Self {
        Self { path: path.into(), doing: doing.into(), right, limit: None, own: Vec::new(), light: false }
    }

    /// Adds a parameter of the listing's own.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.own.push((name, value.into()));
        self
    }

    /// Asks for users without what is costly to render.
    pub(super) fn light(mut self) -> Self {
        self.light = true;
        self
    }

    /// Makes a call this listing's: its own parameters, whatever a link says of them.
    fn dress(&self, mut call: Call, limit: Option<u32>) -> Call {
        if let Some(limit) = limit {
            call.query.retain(|(name, _)| name != "limit");
            call = call.query("limit", limit);
        }
        call.query.retain(|(name, _)| self.own.iter().all(|(own, _)| own != name));
        for (name, value) in &self.own {
            call = call.query(*name, value);
        }
        if self.light {
            call = call.header("content-type", LIGHT);
        }
        call.accept(404)
    }
}

impl Okta {
    /// Reads a listing page by page.
    ///
    /// # Errors
    /// Whatever kept any page from being read: then nothing that was read may be used.
    pub(super) async fn list(
        &self,
        listing: &Listing,
        mut page: impl FnMut(&Answer) -> Result<(), ConnectorError> + Send,
    ) -> Result<Listed, ConnectorError> {
        let mut pages = Pages::new(self.api.system(), &*listing.doing);
        let mut limit = listing.limit;
        let mut next = Call::get(&*listing.path, &*listing.doing);
        loop {
            let answer = match self.send(listing.dress(next.clone(), limit), listing.right).await {
                Ok(answer) => answer,
                Err(error) => match limit.filter(|limit| gave_up(&error) && *limit > SMALLEST) {
                    Some(size) => {
                        limit = Some((size / 2).max(SMALLEST));
                        continue;
                    }
                    None => return Err(error),
                },
            };
            if answer.status == 404 {
                self.insist_on_absence(&answer)?;
                return Ok(Listed::Gone);
            }
            page(&answer)?;
            let Some(link) = next_link(&answer.headers) else { return Ok(Listed::Whole) };
            next = self.api.follow(&link, &listing.doing)?;
            let cursor = next.query.iter().find(|(name, _)| name == "after").map(|(_, cursor)| cursor.clone());
            let Some(cursor) = cursor.filter(|_| next.path == listing.path) else {
                let why = "the link to the next page leads to another listing or has no cursor";
                return Err(ConnectorError::new(self.api.system(), &*listing.doing, Fault::Malformed, why));
            };
            pages.turn(cursor)?;
        }
    }

    /// Takes a 404 for "there is no such object" only if Okta itself says so: a proxy's or a wrong address's 404 is not an
    /// answer to the question.
    ///
    /// # Errors
    /// [`Fault::Malformed`] if it is any other 404.
    pub(super) fn insist_on_absence(&self, answer: &Answer) -> Result<(), ConnectorError> {
        let why = match OktaError::of(answer) {
            Some(error) if error.code == NO_SUCH_OBJECT => return Ok(()),
            Some(error) => format!("HTTP 404, which is not Okta's word for an object that does not exist, but {}", error.code),
            None => "HTTP 404 without Okta's word that the object does not exist".to_owned(),
        };
        Err(ConnectorError::new(self.api.system(), &*answer.doing, Fault::Malformed, why)
            .hint("check domain, and whatever stands between rosterd and Okta"))
    }
}

fn gave_up(error: &ConnectorError) -> bool {
    matches!(error.fault, Fault::Unavailable { .. }) && error.why.contains(SERVER_GAVE_UP)
}
