//! Wrong tokens are counted, so that who tries many is slowed down and told of in the log: for each address, and for all.
//!
//! Each count is a bucket that a wrong token fills and time empties; while one is full, wrong tokens are answered so. A right
//! token passes in any case: several people may have one address (a proxy, a NAT, this machine), and nobody must be able
//! to lock the others out. What makes guessing hopeless is the length that tokens must have, not this.

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

/// What is remembered of wrong tokens.
#[derive(Debug, Default)]
pub struct Failures {
    peers: BTreeMap<IpAddr, Bucket>,
    all: Bucket,
}

/// An address as it is counted: of IPv6 the network, since one machine has as many addresses there as it likes.
pub(super) fn counted(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => std::net::Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

impl Failures {
    /// For how long wrong tokens from an address are too many, if they are.
    pub fn held(&self, peer: IpAddr, now: DateTime<Utc>) -> Option<TimeDelta> {
        let own = self.peers.get(&counted(peer)).and_then(|bucket| bucket.full(now, EACH, EACH_FORGOTTEN));
        own.or_else(|| self.all.full(now, ALL, ALL_FORGOTTEN))
    }

    /// Notes a wrong token. True if that is the one after which they are too many from this address.
    pub fn wrong(&mut self, peer: IpAddr, now: DateTime<Utc>) -> bool {
        self.all.fill(now, ALL, ALL_FORGOTTEN);
        let bucket = self.remembered(peer);
        bucket.fill(now, EACH, EACH_FORGOTTEN);
        bucket.full(now, EACH, EACH_FORGOTTEN).is_some()
    }

    /// Where there is no room for another address, the one is forgotten whose bucket is empty first.
    fn remembered(&mut self, peer: IpAddr) -> &mut Bucket {
        let peer = counted(peer);
        if !self.peers.contains_key(&peer)
            && self.peers.len() >= REMEMBERED
            && let Some(emptiest) = self.peers.iter().min_by_key(|(_, bucket)| bucket.0).map(|(address, _)| *address)
        {
            self.peers.remove(&emptiest);
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
    fn wrong_tokens_are_too_many_after_ten_and_then_one_every_six_seconds_passes() {
        let mut failures = Failures::default();
        for number in 1..=10 {
            assert_eq!(failures.held(address(1), now()), None, "{number}");
            assert_eq!(failures.wrong(address(1), now()), number == 10);
        }
        assert_eq!(failures.held(address(1), now()), Some(TimeDelta::seconds(6)));
        assert_eq!(failures.held(address(2), now()), None, "another has a count of its own");
        let later = now() + TimeDelta::seconds(6);
        assert_eq!(failures.held(address(1), later), None);
        assert!(failures.wrong(address(1), later));
        assert_eq!(failures.held(address(1), later + TimeDelta::seconds(2)), Some(TimeDelta::seconds(4)));
        assert_eq!(failures.held(address(1), later + TimeDelta::minutes(2)), None);
    }

    #[test]
    fn all_together_have_a_limit() {
        let mut failures = Failures::default();
        for number in 1..=100 {
            failures.wrong(address(number), now());
        }
        assert!(failures.held(address(5000), now()).is_some(), "wrong ones from anywhere are too many");
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
