//! Decides whether this process may lead, and until when. It reads no clock: the caller passes the monotonic time in.
//!
//! A leader counts its time from before it sent a renewal. A process that waits for the lease counts from after it saw
//! that renewal, and counts longer. So the leader has stopped before another begins, whatever their clocks show.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Moment;

/// How long a lease stays valid without a renewal. After that, another process may take it.
pub const LEASE: Duration = Duration::from_secs(10);
/// How long a leader goes on after it sent the last renewal that succeeded.
pub const STOP: Duration = Duration::from_secs(7);

/// The fields of a Lease that decide who may take it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The holder's identity.
    pub holder: Option<String>,
    /// When the holder renewed it, by the holder's clock. Only whether this value changes counts.
    pub renewed: Option<Timestamp>,
    /// How long its holder asked others to wait.
    pub duration: Option<Duration>,
}

/// A process that may become the leader.
#[derive(Debug)]
pub struct Candidate {
    identity: String,
    /// The claim that was seen last, and when it was first seen.
    seen: Option<(Claim, Instant)>,
    /// When the last successful request to take or renew the lease was sent.
    renewed: Option<Moment>,
}

impl Candidate {
    /// Returns a candidate with this identity. No other process may have the same one.
    pub fn new(identity: String) -> Self {
        Self {
            identity,
            seen: None,
            renewed: None,
        }
    }

    /// Returns its identity.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Notes what the Lease says. An unchanged claim keeps the time at which it was first seen.
    pub fn sees(&mut self, claim: Claim, now: Instant) {
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != claim) {
            self.seen = Some((claim, now));
        }
    }

    /// Returns whether the lease may be taken. A deleted Lease still belongs to its last holder until its time is over.
    pub fn may_take(&self, now: Instant) -> bool {
        let Some((claim, since)) = &self.seen else {
            return true;
        };
        let holder = claim.holder.as_deref().unwrap_or_default();
        let duration = claim.duration.unwrap_or(LEASE);
        holder.is_empty() || holder == self.identity || now.duration_since(*since) >= duration
    }

    /// Notes that a request sent at that time took or renewed the lease.
    pub fn renewed(&mut self, sent: Moment) {
        self.renewed = Some(sent);
    }

    /// Returns until when it leads. None if it never took the lease.
    pub fn leads_until(&self) -> Option<Moment> {
        self.renewed.map(|sent| sent.after(STOP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(holder: &str, renewed: i64) -> Claim {
        Claim {
            holder: Some(holder.into()),
            renewed: Timestamp::from_second(renewed).ok(),
            duration: Some(LEASE),
        }
    }

    /// The case; the claims that were seen: holder, second of the renewal, second at which it was seen; the second of
    /// the question; the expected answer.
    type Case = (&'static str, &'static [(&'static str, i64, u64)], u64, bool);

    #[test]
    fn a_lease_is_taken_only_if_it_is_free_or_has_expired() {
        let cases: &[Case] = &[
            ("there is none", &[], 0, true),
            ("it was released", &[("", 1, 0)], 0, true),
            ("it is held", &[("other", 1, 0)], 0, false),
            ("it is still held", &[("other", 1, 0)], 9, false),
            ("its time is over", &[("other", 1, 0)], 10, true),
            (
                "it says the same again, and its time is over",
                &[("other", 1, 0), ("other", 1, 8)],
                10,
                true,
            ),
            (
                "it was renewed",
                &[("other", 1, 0), ("other", 2, 8)],
                10,
                false,
            ),
            (
                "it was renewed, and that is long ago",
                &[("other", 1, 0), ("other", 2, 8)],
                18,
                true,
            ),
            (
                "another took it",
                &[("other", 1, 0), ("third", 1, 9)],
                10,
                false,
            ),
            (
                "its holder's clock is an hour behind",
                &[("other", -3600, 0)],
                9,
                false,
            ),
            (
                "its holder's clock is a year ahead",
                &[("other", 31_536_000, 0)],
                10,
                true,
            ),
            (
                "the answer to an own take was lost",
                &[("me", 1, 0)],
                0,
                true,
            ),
        ];
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (case, seen, now, expected) in cases {
            let mut candidate = Candidate::new("me".into());
            for (holder, renewed, when) in *seen {
                candidate.sees(claim(holder, *renewed), at(*when));
            }
            assert_eq!(candidate.may_take(at(*now)), *expected, "{case}");
        }
    }

    #[test]
    fn a_longer_lease_duration_of_the_holder_is_respected() {
        let start = Instant::now();
        let mut candidate = Candidate::new("me".into());
        let duration = Some(Duration::from_mins(1));
        candidate.sees(
            Claim {
                duration,
                ..claim("other", 1)
            },
            start,
        );
        assert!(!candidate.may_take(start + Duration::from_secs(59)));
        assert!(candidate.may_take(start + Duration::from_mins(1)));
    }

    #[test]
    fn a_leader_stops_before_another_may_take_its_lease() {
        let start = Moment::now();
        // How long the renewal takes to the API server and from there to the waiting process.
        for way in [
            Duration::ZERO,
            Duration::from_millis(1),
            Duration::from_secs(6),
        ] {
            let (mut leader, mut waiting) =
                (Candidate::new("me".into()), Candidate::new("other".into()));
            assert_eq!(leader.leads_until(), None, "it has no lease yet");
            leader.renewed(start);
            waiting.sees(claim("me", 1), start.monotonic + way);
            let stops = leader.leads_until().expect("it leads").monotonic;
            assert!(!waiting.may_take(stops), "{way:?}");
            assert!(!waiting.may_take(stops + Duration::from_secs(2)), "{way:?}");
        }
    }

    #[test]
    fn a_renewal_counts_from_the_time_when_it_was_sent() {
        let start = Moment::now();
        let mut leader = Candidate::new("me".into());
        leader.renewed(start);
        leader.renewed(start.after(Duration::from_secs(2)));
        assert_eq!(
            leader.leads_until(),
            Some(start.after(Duration::from_secs(2)).after(STOP))
        );
    }
}
