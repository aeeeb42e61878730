//! Who is connected, counted by address, so that nobody takes the connections of all others by holding many.
//!
//! An address gets one more only while it holds fewer than are still free. So one alone gets half of them at the most, the next
//! half of what it left, and so on: whoever comes finds room, and how much one may have needs no figure that somebody must
//! choose. Behind a proxy all come from one address: that has half of all connections, which is many more than are answered at
//! once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::failures::counted;

/// The connections of one listener.
#[derive(Clone, Debug)]
pub(super) struct Peers(Arc<Mutex<Held>>);

#[derive(Debug)]
struct Held {
    most: usize,
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// Why somebody is turned away.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany {
    /// How many connections the address holds.
    pub(super) holds: usize,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    /// Of a listener that has so many connections at the most.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Held { most, all: 0, by_address: BTreeMap::new() })))
    }

    /// Counts one more connection of an address.
    pub(super) fn take(&self, peer: IpAddr) -> Result<Place, TooMany> {
        let address = counted(peer);
        let mut held = self.held();
        let holds = held.by_address.get(&address).copied().unwrap_or(0);
        if holds >= held.most.saturating_sub(held.all) {
            return Err(TooMany { holds });
        }
        held.all += 1;
        held.by_address.insert(address, holds + 1);
        Ok(Place { peers: self.clone(), address })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.peers.held();
        held.all = held.all.saturating_sub(1);
        match held.by_address.get_mut(&self.address) {
            Some(many) if *many > 1 => *many -= 1,
            Some(_) | None => drop(held.by_address.remove(&self.address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    /// As many as an address gets.
    fn as_many(peers: &Peers, of: IpAddr) -> Vec<Place> {
        std::iter::from_fn(|| peers.take(of).ok()).collect()
    }

    #[test]
    fn each_address_leaves_room_for_the_next() {
        let peers = Peers::new(128);
        let got: Vec<Vec<Place>> = (1..=6).map(|number| as_many(&peers, address(number))).collect();
        assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), [64, 32, 16, 8, 4, 2]);
        assert_eq!(peers.take(address(1)).err(), Some(TooMany { holds: 64 }));
        assert!(peers.take(address(7)).is_ok(), "whoever comes finds room");
    }

    #[test]
    fn what_is_given_back_is_there_for_everybody_and_nothing_is_kept_of_who_has_gone() {
        let peers = Peers::new(8);
        let (mut one, other) = (as_many(&peers, address(1)), as_many(&peers, address(2)));
        assert_eq!((one.len(), other.len()), (4, 2));
        drop(other);
        drop(one.pop());
        assert!(peers.take(address(1)).is_ok());
        drop(one);
        let held = peers.held();
        assert!(held.by_address.is_empty() && held.all == 0, "{held:?}");
    }

    #[test]
    fn a_machine_has_one_count_whichever_address_of_its_network_it_takes() {
        let peers = Peers::new(8);
        let of = |number: u16| IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, number]);
        let places: Vec<Place> = (0..100).filter_map(|number| peers.take(of(number)).ok()).collect();
        assert_eq!(places.len(), 4);
        assert!(peers.take(IpAddr::from([0x2001, 0xdb8, 1, 3, 0, 0, 0, 1])).is_ok());
    }

    #[test]
    fn the_only_connection_is_had_by_whoever_comes_first() {
        let peers = Peers::new(1);
        let place = peers.take(address(1)).expect("it is free");
        assert!(peers.take(address(2)).is_err());
        drop(place);
        assert!(peers.take(address(2)).is_ok());
    }
}
