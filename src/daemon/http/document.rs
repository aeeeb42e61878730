//! The API's OpenAPI document, made from the code that answers: routes from where they are registered, answers from their
//! types, problems from the list of their kinds.

use std::collections::BTreeMap;

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi};

use super::problem::{Kind, MEDIA, Said};

/// What the document says beside its routes.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "rosterd",
        description = "How things are, and a person's word: the same as the commands `status`, `runs`, `show`, `retries`, `sync`, \
            `approve`, `reject`, `release` and `undo`. To look takes no token on the daemon's own machine, and a token from elsewhere; to \
            change something takes one with `may = \"write\"` everywhere. One with `may = \"metrics\"` reads `/metrics` and nothing else. Every answer below `/api/v1` that is no success is a problem detail (RFC \
            9457) with a `type` that never changes. Lists are told a page at a time: `next` is the address of the page after.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(Said)),
    modifiers(&Bearer),
    tags(
        (name = "look", description = "How things are, and were"),
        (name = "order", description = "What a person says. Kept with the name of the token"),
        (name = "health", description = "For whoever watches over the process")
    )
)]
pub struct About;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let scheme = SecurityScheme::Http(
            Http::builder().scheme(HttpAuthScheme::Bearer).description(Some("A token of `[daemon.tokens]`")).build(),
        );
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// The problems of these kinds as answers, those of one status together.
fn problems(kinds: &[Kind]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for kind in kinds {
        let (status, word, title) = kind.said();
        by_status.entry(status.as_str().to_owned()).or_default().push(format!("{title} (`{word}`)"));
    }
    let content = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let answer = |told: Vec<String>| ResponseBuilder::new().description(told.join(", or: ")).content(MEDIA, content()).build();
    by_status.into_iter().map(|(status, told)| (status, RefOr::T(answer(told)))).collect()
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $($kind:ident)*;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;
        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                problems(&[$(Kind::$kind),*])
            }
        }
    )*};
}

refusals! {
    /// Of whoever looks.
    Looking: Malformed Unauthorized Forbidden Foreign TooMany Unavailable;
    /// Of whoever looks at one thing.
    LookingAt: Malformed Unauthorized Forbidden Foreign Unknown TooMany Unavailable;
    /// Of whoever looks at a plan, which may be named by the beginning of its id.
    LookingAtPlan: Malformed Unauthorized Forbidden Foreign Unknown Ambiguous Expired NothingWaits TooMany Unavailable;
    /// Of whoever starts a run.
    Starting: Malformed Unauthorized Forbidden Foreign Unknown AtWork Resting Slow TooLarge Media Invalid TooMany Unavailable;
    /// Of whoever decides.
    Deciding: Malformed Unauthorized Forbidden Foreign Unknown Expired NothingWaits Slow TooLarge Media Invalid TooMany
        Unavailable;
    /// Of whoever undoes a run.
    Undoing: Malformed Unauthorized Forbidden Foreign Unknown AtWork Resting Observed NothingDone Slow TooLarge Media Invalid
        TooMany Unavailable;
    /// Of whoever releases.
    Releasing: Malformed Unauthorized Forbidden Foreign Unknown Slow TooLarge Media Invalid TooMany Unavailable;
}
