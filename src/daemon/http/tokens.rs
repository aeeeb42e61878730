//! The bearer tokens of the API: who they are and what they may do. Their hashes are kept, never they themselves.

use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use crate::config::daemon::Right;

type Hash = [u8; 32];

/// A token as it is known.
struct Token {
    name: SmolStr,
    may: Right,
    hash: Hash,
}

/// The tokens in force.
#[derive(Default)]
pub struct Tokens(Vec<Token>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.0.iter().map(|token| (&token.name, &token.may))).finish()
    }
}

/// Who bears a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The token's name.
    pub name: SmolStr,
    /// What it may do.
    pub may: Right,
}

impl Bearer {
    /// As the journal names who asks.
    pub fn actor(&self) -> String {
        format!("token:{}", self.name)
    }
}

/// A token has so many characters at least: the hexadecimal digits of 16 random bytes.
const SHORTEST: usize = 32;

/// Why a secret is too weak for a token that may write, or that other machines can try. Tokens are hashed without being
/// stretched, and who guesses is hardly slowed down: only a long random one is safe.
pub fn flaw(secret: &str) -> Option<String> {
    if secret.contains(|c: char| !c.is_ascii_graphic()) {
        return Some("holds white space, or what is not ASCII, and no request can bear that".to_owned());
    }
    let length = secret.len();
    (length < SHORTEST).then(|| format!("has {length} characters, and {SHORTEST} are the least"))
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

impl Tokens {
    /// Adds a token. If another one is the same secret it is not added, and the name of the other is returned.
    pub fn add(&mut self, name: &str, may: Right, secret: &str) -> Option<SmolStr> {
        let hash = hash(secret);
        let same = self.0.iter().find(|token| token.hash == hash).map(|token| token.name.clone());
        if same.is_none() {
            self.0.push(Token { name: name.into(), may, hash });
        }
        same
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose token this is. Hashes are compared, in constant time and with every token: neither length nor beginning leaks,
    /// nor which of them comes first.
    pub fn find(&self, given: &str) -> Option<Bearer> {
        let given = hash(given);
        let is_it = |token: &&Token| aws_lc_rs::constant_time::verify_slices_are_equal(&token.hash, &given).is_ok();
        let found: Vec<&Token> = self.0.iter().filter(is_it).collect();
        found.first().map(|token| Bearer { name: token.name.clone(), may: token.may })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_of_one_piece() {
        let good = "0123456789abcdef0123456789ABCDEF";
        assert_eq!((good.len(), flaw(good), flaw(&good.repeat(2))), (32, None, None));
        assert!(flaw(&good[1..]).is_some_and(|why| why.contains("has 31 characters")));
        for broken in [format!("{good} "), format!("{good}\nmore"), format!(" {good}"), format!("{good}\t"), format!("{good}ä")]
        {
            assert!(flaw(&broken).is_some_and(|why| why.contains("white space") && !why.contains(good)), "{broken:?}");
        }
    }

    #[test]
    fn only_the_very_token_is_known_and_none_is_printed() {
        let mut tokens = Tokens::default();
        assert!(tokens.is_empty());
        assert_eq!(tokens.add("ops", Right::Write, "a-token"), None);
        assert_eq!(tokens.add("grafana", Right::Read, "another-token"), None);
        assert_eq!(tokens.add("copy", Right::Write, "another-token").as_deref(), Some("grafana"));
        let ops = tokens.find("a-token").expect("known");
        assert_eq!((ops.actor().as_str(), ops.may), ("token:ops", Right::Write));
        assert_eq!(tokens.find("another-token").expect("known").may, Right::Read);
        for wrong in ["a-toke", "a-token2", "A-token", "", "ops"] {
            assert_eq!(tokens.find(wrong), None, "{wrong}");
        }
        assert_eq!(format!("{tokens:?}"), r#"{"ops": Write, "grafana": Read}"#);
    }
}
