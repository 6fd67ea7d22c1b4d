//! How often somebody may try a password.
//!
//! Attempts are counted for each address and for each name, and forgotten one by one. An address has a handful. A name
//! is never locked, or anybody could lock the administrator out: while too many fail for a name, wherever from, each
//! address has a single attempt at it instead. So somebody who has not failed from their own address always gets in.

use crate::server::problem::Problem;
use axum::http::StatusCode;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// Failures of an address before it must wait.
const PER_ADDRESS_MAX: u32 = 10;
/// Failures for a name, from all addresses, before each address has but one attempt.
const PER_NAME_MAX: u32 = 20;
/// Failures of an address for a name while that is so.
const PER_ADDRESS_HOT_MAX: u32 = 1;
/// Seconds after which one failure is forgotten.
const FORGET_SECONDS: i64 = 60;
/// Addresses, and names, that are remembered. Those that failed longest ago are forgotten first.
const REMEMBERED_MAX: usize = 20_000;

/// Counts attempts.
#[derive(Default)]
pub struct Limiter(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    addresses: Table<IpAddr>,
    names: Table<String>,
}

impl Limiter {
    /// Lets an attempt through, and counts it as a failure until [`Limiter::succeeded`] takes that back: so attempts
    /// at the same moment are counted too.
    ///
    /// # Errors
    /// 429 with the time to wait.
    pub fn attempt(&self, name: &str, address: IpAddr, now: i64) -> Result<(), Problem> {
        let (name, address) = keys(name, address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_hot = counts.names.failures(&name, now) >= PER_NAME_MAX;
        let max = if is_hot { PER_ADDRESS_HOT_MAX } else { PER_ADDRESS_MAX };
        if let Some(seconds) = counts.addresses.wait(&address, max, now) {
            return Err(too_many(seconds));
        }
        counts.addresses.count(address, now);
        counts.names.count(name, now);
        Ok(())
    }

    /// The attempt was none at guessing. Only itself is forgotten: whoever has an account must not be able to wash away
    /// their guesses at another.
    pub fn succeeded(&self, name: &str, address: IpAddr) {
        let (name, address) = keys(name, address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.addresses.take_back(&address);
        counts.names.take_back(&name);
    }
}

fn too_many(seconds: u64) -> Problem {
    let title = "Too many attempts";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", title)
        .hint(format!("try again in {seconds} seconds"))
        .retry_after(seconds)
}

/// A name in any case is one name; and who has one IPv6 address has its whole network of 64 bits.
fn keys(name: &str, address: IpAddr) -> (String, IpAddr) {
    let address = match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address @ IpAddr::V4(_) => address,
    };
    (name.to_lowercase(), address)
}

/// Failures by key.
struct Table<K>(HashMap<K, Failures>);

/// `count` failures at the time `since`; one less each [`FORGET_SECONDS`] after it.
struct Failures {
    count: u32,
    since: i64,
}

impl<K> Default for Table<K> {
    fn default() -> Table<K> {
        Table(HashMap::new())
    }
}

impl Failures {
    fn forget(&mut self, now: i64) {
        let periods = (now - self.since).max(0) / FORGET_SECONDS;
        self.count = self.count.saturating_sub(u32::try_from(periods).unwrap_or(u32::MAX));
        // A clock that was set back must not keep anybody waiting.
        self.since = if self.count == 0 { now } else { (self.since + periods * FORGET_SECONDS).min(now) };
    }
}

impl<K: Hash + Eq + Clone> Table<K> {
    fn failures(&mut self, key: &K, now: i64) -> u32 {
        self.0.get_mut(key).map_or(0, |failures| {
            failures.forget(now);
            failures.count
        })
    }

    /// Seconds until `key` has less than `max` failures; `None` when it does.
    fn wait(&mut self, key: &K, max: u32, now: i64) -> Option<u64> {
        let over = self.failures(key, now).checked_sub(max)?;
        let since = self.0.get(key)?.since;
        let until = since + (i64::from(over) + 1) * FORGET_SECONDS;
        Some(u64::try_from(until - now).unwrap_or(1).max(1))
    }

    fn count(&mut self, key: K, now: i64) {
        if self.0.len() >= REMEMBERED_MAX && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let failures = self.0.entry(key).or_insert(Failures { count: 0, since: now });
        failures.forget(now);
        failures.count = failures.count.saturating_add(1);
    }

    fn take_back(&mut self, key: &K) {
        if let Some(failures) = self.0.get_mut(key) {
            failures.count = failures.count.saturating_sub(1);
            if failures.count == 0 {
                self.0.remove(key);
            }
        }
    }

    /// Forgets who has nothing left to forget, and if that is not enough, the oldest half: the work is done once for
    /// many.
    fn make_room(&mut self, now: i64) {
        self.0.retain(|_, failures| {
            failures.forget(now);
            failures.count > 0
        });
        if self.0.len() >= REMEMBERED_MAX {
            let mut times: Vec<i64> = self.0.values().map(|failures| failures.since).collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().unwrap_or(now);
            let mut excess = REMEMBERED_MAX / 2;
            self.0.retain(|_, failures| {
                let is_old = failures.since <= middle && excess > 0;
                excess -= usize::from(is_old);
                !is_old
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "root";

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn fail(limiter: &Limiter, times: u32, from: &str, now: i64) {
        for _ in 0..times {
            limiter.attempt(NAME, address(from), now).unwrap();
        }
    }

    fn is_refused(limiter: &Limiter, from: &str, now: i64) -> bool {
        let attempt = limiter.attempt(NAME, address(from), now);
        attempt.is_err_and(|problem| problem.status() == StatusCode::TOO_MANY_REQUESTS)
    }

    #[test]
    fn an_address_waits_after_some_failures_and_may_then_try_again() {
        let limiter = Limiter::default();
        fail(&limiter, PER_ADDRESS_MAX, "10.0.0.1", 1000);

        assert!(is_refused(&limiter, "10.0.0.1", 1000));
        assert!(is_refused(&limiter, "10.0.0.1", 1059));
        assert!(!is_refused(&limiter, "10.0.0.2", 1000));
        assert!(!is_refused(&limiter, "10.0.0.1", 1060));
        assert!(is_refused(&limiter, "10.0.0.1", 1060));
        // A clock that was set back does not lock anybody out.
        assert!(!is_refused(&limiter, "10.0.0.1", 0) || !is_refused(&limiter, "10.0.0.1", 61));
    }

    #[test]
    fn an_attack_from_everywhere_slows_guessing_but_locks_nobody_out() {
        let limiter = Limiter::default();
        for host in 0..40 {
            assert!(!is_refused(&limiter, &format!("10.0.1.{host}"), 0));
        }

        assert!(is_refused(&limiter, "10.0.1.7", 0), "a second guess at once");
        assert!(!is_refused(&limiter, "192.168.0.1", 0), "the administrator is locked out");
        limiter.succeeded(NAME, address("192.168.0.1"));
        assert!(!is_refused(&limiter, "192.168.0.1", 0), "the administrator logs in a second time");
    }

    #[test]
    fn who_logs_in_does_not_wash_away_guesses_at_others() {
        let limiter = Limiter::default();
        for _ in 0..PER_ADDRESS_MAX {
            limiter.attempt(NAME, address("10.0.0.1"), 0).unwrap();
            if limiter.attempt("mallory", address("10.0.0.1"), 0).is_ok() {
                limiter.succeeded("mallory", address("10.0.0.1"));
            }
        }

        assert!(is_refused(&limiter, "10.0.0.1", 0));
    }

    #[test]
    fn addresses_of_one_network_and_spellings_of_one_name_count_together() {
        assert_eq!(keys("Root", address("2001:db8::1")), keys("root", address("2001:db8::ffff:1")));
        assert_ne!(keys("root", address("2001:db8::1")), keys("root", address("2001:db8:0:1::1")));
        assert_eq!(keys("root", address("::ffff:10.0.0.1")), keys("root", address("10.0.0.1")));
    }

    #[test]
    fn tables_are_bounded_and_keep_the_newest() {
        let mut table = Table::default();
        for key in 0..REMEMBERED_MAX * 3 {
            table.count(key, i64::try_from(key / 1000).unwrap());
        }

        assert!(table.0.len() <= REMEMBERED_MAX);
        assert_eq!(table.failures(&(REMEMBERED_MAX * 3 - 1), 60), 1);
    }
}
