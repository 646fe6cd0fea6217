//! The operators that share the shards. They hold one Lease together. Each notes in an annotation of the Lease when it
//! last renewed it. As with a lease, Belay only checks whether a note changes, and since when it hasn't changed. It
//! never compares two clocks.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use tokio::sync::watch;

use super::LEASE;

/// The annotation of the Lease with its members: when each last renewed the Lease, by name.
pub const MEMBERS: &str = "belay.dev/members";

/// How long the note of a dead member is kept.
const KEPT: Duration = Duration::from_mins(1);

/// The notes of the members, by name.
type Notes = BTreeMap<String, String>;

/// The members that share a Lease, as one of them sees them.
#[derive(Debug)]
pub struct Members {
    me: String,
    /// The notes of the others, and since when each has been seen unchanged.
    others: BTreeMap<String, (String, Instant)>,
    living: watch::Sender<usize>,
}

impl Members {
    /// Returns the members before a Lease was seen: only the one with that name.
    pub fn new(me: &str) -> Self {
        Self {
            me: me.to_owned(),
            others: BTreeMap::new(),
            living: watch::Sender::new(1),
        }
    }

    /// Returns how many members live, this one included.
    pub fn living(&self) -> watch::Receiver<usize> {
        self.living.subscribe()
    }

    /// Notes what the Lease says.
    pub fn see(&mut self, lease: &Lease, now: Instant) {
        let mut notes = notes(lease);
        notes.remove(&self.me);
        self.others.retain(|name, _| notes.contains_key(name));
        for (name, note) in notes {
            let known = self.others.get(&name);
            if known.is_none_or(|(known, _)| *known != note) {
                self.others.insert(name, (note, now));
            }
        }
        let living = self.living_at(now) + 1;
        self.living.send_if_modified(|known| {
            let is_new = *known != living;
            *known = living;
            is_new
        });
    }

    /// Notes in the Lease that this member lives, and removes members that died long ago.
    pub fn note(&self, lease: &mut Lease, renewed: Timestamp, now: Instant) {
        let mut notes = notes(lease);
        let is_long_dead = |name: &String| {
            let other = self.others.get(name);
            other.is_some_and(|(_, since)| now.duration_since(*since) > LEASE + KEPT)
        };
        notes.retain(|name, _| !is_long_dead(name));
        notes.insert(self.me.clone(), renewed.to_string());
        write(lease, &notes);
    }

    /// Removes this member from the Lease. Returns whether it was the last living member.
    pub fn leave(&self, lease: &mut Lease, now: Instant) -> bool {
        let mut notes = notes(lease);
        notes.remove(&self.me);
        write(lease, &notes);
        self.living_at(now) == 0
    }

    /// Returns how many of the others live.
    fn living_at(&self, now: Instant) -> usize {
        let since = self.others.values().map(|(_, since)| *since);
        since
            .filter(|since| now.duration_since(*since) < LEASE)
            .count()
    }
}

/// Returns the notes of a Lease. An annotation that can't be parsed counts as empty: living members note themselves
/// again.
fn notes(lease: &Lease) -> Notes {
    let text = lease.annotations().get(MEMBERS);
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn write(lease: &mut Lease, notes: &Notes) {
    let text = serde_json::json!(notes).to_string();
    lease.annotations_mut().insert(MEMBERS.into(), text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// Returns a Lease with the notes of these members.
    fn lease(notes: &[(&str, i64)]) -> Lease {
        let mut lease = Lease::default();
        for (name, second) in notes {
            Members::new(name).note(&mut lease, at(*second), Instant::now());
        }
        lease
    }

    #[test]
    fn a_member_is_alive_if_it_renewed_within_the_lease_time_whatever_its_clock_shows() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut members = Members::new("me");
        let living = members.living();
        assert_eq!(*living.borrow(), 1, "nobody else was seen");
        members.see(&lease(&[("me", 0), ("a", 5000), ("b", 1)]), start);
        assert_eq!(*living.borrow(), 3);
        members.see(&lease(&[("me", 2), ("a", -5000), ("b", 1)]), after(9));
        assert_eq!(*living.borrow(), 3, "a renewed");
        members.see(&lease(&[("me", 4), ("a", -5000), ("b", 1)]), after(10));
        assert_eq!(*living.borrow(), 2, "b didn't");
        members.see(&lease(&[("me", 6), ("a", -5000), ("b", 2)]), after(11));
        assert_eq!(*living.borrow(), 3, "b lives after all");
        members.see(&lease(&[("me", 8), ("a", -4999)]), after(12));
        assert_eq!(*living.borrow(), 2, "b left");
    }

    #[test]
    fn a_member_that_died_long_ago_is_removed_but_not_one_that_died_recently() {
        let start = Instant::now();
        let mut members = Members::new("me");
        let mut lease = lease(&[("dead", 1)]);
        members.see(&lease, start);
        let names = |lease: &Lease| notes(lease).into_keys().collect::<Vec<_>>();
        members.note(&mut lease, at(2), start + LEASE);
        assert_eq!(names(&lease), ["dead", "me"]);
        let long = start + LEASE + KEPT + Duration::from_secs(1);
        members.note(&mut lease, at(3), long);
        assert_eq!(names(&lease), ["me"]);
    }

    #[test]
    fn the_last_living_member_knows_it_when_it_leaves() {
        let start = Instant::now();
        let mut members = Members::new("me");
        let mut lease = lease(&[("me", 1), ("a", 1)]);
        members.see(&lease, start);
        assert!(!members.leave(&mut lease, start));
        assert!(members.leave(&mut lease, start + LEASE), "a is dead");
        assert!(!notes(&lease).contains_key("me"));
    }

    #[test]
    fn an_unreadable_members_annotation_is_overwritten() {
        let mut lease = Lease::default();
        lease.annotations_mut().insert(MEMBERS.into(), "[1".into());
        let mut members = Members::new("me");
        members.see(&lease, Instant::now());
        assert_eq!(*members.living().borrow(), 1);
        members.note(&mut lease, at(1), Instant::now());
        assert_eq!(notes(&lease).len(), 1);
    }
}
