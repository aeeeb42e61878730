//! Wrong tokens are counted, so that nobody tries many: for each address, and for all together.
//!
//! Each count is a bucket that a wrong token fills and time empties. An address whose bucket is full is not listened to, not
//! even with the right token: else a guess would still be told from a miss. The bucket of all bounds whoever has many
//! addresses; an address that has shown a right token of late is spared by it, so that strangers cannot lock an operator out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};

/// So many wrong tokens an address may send at once.
const EACH: i32 = 10;
/// After so long one of them is forgotten.
const EACH_FORGOTTEN: TimeDelta = TimeDelta::seconds(6);
/// So many all addresses together may.
const ALL: i32 = 100;
/// After so long one of these is forgotten.
const ALL_FORGOTTEN: TimeDelta = TimeDelta::milliseconds(600);
/// For so long an address is known that has shown a right token.
const KNOWN: TimeDelta = TimeDelta::hours(1);
/// So many addresses are remembered: what that costs is bounded, whoever asks.
const REMEMBERED: usize = 1024;

/// When a bucket is empty again; each wrong token moves that on.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket(DateTime<Utc>);

impl Bucket {
    fn fill(&mut self, now: DateTime<Utc>, most: i32, forgotten: TimeDelta) {
        // A clock that was set back must not make the bucket deeper than it is.
        self.0 = self.0.clamp(now, now + forgotten * most) + forgotten;
    }

    /// How long it stays full.
    fn full(self, now: DateTime<Utc>, most: i32, forgotten: TimeDelta) -> Option<TimeDelta> {
        let over = self.0.min(now + forgotten * (most + 1)) - now - forgotten * (most - 1);
        (over > TimeDelta::zero()).then_some(over)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    bucket: Bucket,
    right: Option<DateTime<Utc>>,
}

/// What is remembered of those who ask.
#[derive(Debug, Default)]
pub struct Failures {
    peers: BTreeMap<IpAddr, Peer>,
    all: Bucket,
}

/// An address as it is counted: of IPv6 the network, since one machine has as many addresses there as it likes.
fn counted(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => std::net::Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

impl Failures {
    /// How long an address is not listened to, if it is not.
    pub fn held(&self, peer: IpAddr, now: DateTime<Utc>) -> Option<TimeDelta> {
        let peer = self.peers.get(&counted(peer)).copied().unwrap_or_default();
        let is_known = peer.right.is_some_and(|at| now - at < KNOWN);
        let own = peer.bucket.full(now, EACH, EACH_FORGOTTEN);
        own.or_else(|| self.all.full(now, ALL, ALL_FORGOTTEN).filter(|_| !is_known))
    }

    /// Notes a wrong token. True if that is the one after which the address is not listened to any more.
    pub fn wrong(&mut self, peer: IpAddr, now: DateTime<Utc>) -> bool {
        self.all.fill(now, ALL, ALL_FORGOTTEN);
        let peer = self.remembered(peer);
        peer.bucket.fill(now, EACH, EACH_FORGOTTEN);
        peer.bucket.full(now, EACH, EACH_FORGOTTEN).is_some()
    }

    /// Notes a right token.
    pub fn right(&mut self, peer: IpAddr, now: DateTime<Utc>) {
        self.remembered(peer).right = Some(now);
    }

    /// Where there is no room for another address, the one is forgotten that has done nothing for longest.
    fn remembered(&mut self, peer: IpAddr) -> &mut Peer {
        let peer = counted(peer);
        if !self.peers.contains_key(&peer) && self.peers.len() >= REMEMBERED {
            let last = |peer: &Peer| peer.right.map_or(peer.bucket.0, |right| right.max(peer.bucket.0));
            if let Some(oldest) = self.peers.iter().min_by_key(|(_, peer)| last(peer)).map(|(address, _)| *address) {
                self.peers.remove(&oldest);
            }
        }
        self.peers.entry(peer).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).expect("a time")
    }

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[test]
    fn an_address_is_not_listened_to_after_ten_wrong_tokens_and_then_one_every_six_seconds() {
        let mut failures = Failures::default();
        for number in 1..=10 {
            assert_eq!(failures.held(address(1), now()), None, "{number}");
            assert_eq!(failures.wrong(address(1), now()), number == 10);
        }
        assert_eq!(failures.held(address(1), now()), Some(TimeDelta::seconds(6)));
        assert_eq!(failures.held(address(2), now()), None, "another is");
        let later = now() + TimeDelta::seconds(6);
        assert_eq!(failures.held(address(1), later), None);
        assert!(failures.wrong(address(1), later));
        assert_eq!(failures.held(address(1), later + TimeDelta::seconds(2)), Some(TimeDelta::seconds(4)));
        assert_eq!(failures.held(address(1), later + TimeDelta::minutes(2)), None);
    }

    #[test]
    fn all_together_have_a_limit_that_spares_those_who_are_known() {
        let mut failures = Failures::default();
        failures.right(address(0), now());
        for number in 1..=100 {
            failures.wrong(address(number), now());
        }
        assert!(failures.held(address(5000), now()).is_some(), "a stranger is not listened to");
        assert_eq!(failures.held(address(0), now()), None);
        assert!(failures.held(address(0), now() + TimeDelta::hours(1)).is_none(), "the bucket is empty by then");
        assert!(failures.held(address(5000), now() + TimeDelta::seconds(1)).is_none());
    }

    #[test]
    fn memory_is_bounded_and_a_clock_set_back_locks_nobody_out_for_long() {
        let mut failures = Failures::default();
        for number in 0..3 * u32::try_from(REMEMBERED).expect("small") {
            failures.wrong(address(number), now());
        }
        assert_eq!(failures.peers.len(), REMEMBERED);
        let mut failures = Failures::default();
        (0..50).for_each(|_| assert!(failures.wrong(address(1), now()) || failures.held(address(1), now()).is_none()));
        let before = now() - TimeDelta::days(365);
        assert!(failures.held(address(1), before).is_some_and(|held| held <= TimeDelta::minutes(2)));
    }

    #[test]
    fn a_machine_has_one_count_however_many_addresses_of_its_network_it_takes() {
        let mut failures = Failures::default();
        for number in 0..10 {
            failures.wrong(format!("2001:db8:1:2::{number}").parse().expect("an address"), now());
        }
        assert!(failures.held("2001:db8:1:2:ffff::1".parse().expect("an address"), now()).is_some());
        assert!(failures.held("2001:db8:1:3::1".parse().expect("an address"), now()).is_none());
        (0..10).for_each(|n| assert_eq!(failures.wrong(address(1), now()), n == 9));
        assert!(failures.held("::ffff:10.0.0.1".parse().expect("an address"), now()).is_some());
    }
}
