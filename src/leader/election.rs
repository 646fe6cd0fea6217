//! Takes the Lease, renews it, and gives it back.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, Resource as _, api::ObjectMeta};
use tokio::{
    sync::watch,
    time::{sleep, sleep_until, timeout},
};

use super::{
    Fence, LEASE, Moment,
    candidate::{Candidate, Claim},
    members::Members,
};
use crate::machinery::{clock, post_params};

/// How often the leader renews.
const RENEW: Duration = Duration::from_secs(2);
/// How often the others check whether the lease is free.
pub const LOOK: Duration = Duration::from_secs(1);
/// How soon a failed renewal is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(2);

/// How many times a write is retried at once after a conflict.
const MOST_CONFLICTS: usize = 5;
/// The prefix of the holder of a Lease that several operators hold together. The number of shards follows it.
const TOGETHER: &str = "shards-of-";

/// Why a leader lost its leadership.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Another process has the lease.
    #[error("leadership lost: {0} holds the lease now")]
    ToAnother(String),
    /// The lease couldn't be renewed in time.
    #[error("leadership lost: the lease could not be renewed in time")]
    TimeIsOver,
}

/// This process's part in the election.
pub struct Election {
    leases: Api<Lease>,
    name: String,
    candidate: Candidate,
    /// The Lease as this process last wrote it.
    held: Option<Lease>,
    fence: Fence,
    /// The operators that hold the lease together. None if one process holds it alone.
    members: Option<Members>,
    /// The holder that was last reported.
    reported: Option<String>,
}

impl Election {
    /// Takes part in the election for the Lease of that name. No other process may have the same identity. `fence` is
    /// open while this process leads.
    pub fn new(
        client: Client,
        namespace: &str,
        name: String,
        identity: String,
        fence: Fence,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name,
            candidate: Candidate::new(identity),
            held: None,
            fence,
            members: None,
            reported: None,
        }
    }

    /// Takes part in holding the Lease together with all operators that divide the clusters into `shards` shards. For
    /// every other operator, somebody else holds it: also for operators with another number of shards, and for those
    /// that don't know shards.
    pub fn together(
        client: Client,
        namespace: &str,
        name: String,
        identity: &str,
        shards: u32,
        fence: Fence,
    ) -> Self {
        Self {
            members: Some(Members::new(identity)),
            ..Self::new(
                client,
                namespace,
                name,
                format!("{TOGETHER}{shards}"),
                fence,
            )
        }
    }

    /// Returns how many operators hold the lease together, this process included.
    pub fn members(&self) -> watch::Receiver<usize> {
        let members = self.members.as_ref();
        members.map_or_else(|| watch::channel(1).1, Members::living)
    }

    /// Returns the name of its Lease.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the fence, which is open while this process leads.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Waits until this process leads.
    pub async fn lead(&mut self) {
        while !self.try_to_lead(true).await {
            sleep(LOOK).await;
        }
    }

    /// Checks the lease, and takes it if it may be taken and `wants` is true. Returns whether this process leads. Only
    /// repeated calls show for how long a lease wasn't renewed.
    pub async fn try_to_lead(&mut self, wants: bool) -> bool {
        match self.try_to_take(wants).await {
            Ok(Looked::Taken) => return true,
            Ok(Looked::Held(holder)) => self.report(holder.as_deref()),
            Ok(Looked::Free) => {}
            // Another process was faster.
            Err(error) if error.is_conflict() => {}
            Err(error) => {
                tracing::warn!(lease = self.name, %error, "failed to take the lease, trying again");
            }
        }
        false
    }

    fn report(&mut self, holder: Option<&str>) {
        let words = holder.unwrap_or("nobody (the Lease was deleted)");
        if self.reported.as_deref() == Some(words) {
            return;
        }
        let are_together = self.members.is_some() || words.starts_with(TOGETHER);
        if are_together && holder.is_some() {
            tracing::warn!(
                lease = self.name,
                holder = words,
                "standing by: operators with another number of shards manage these clusters, and have to stop first"
            );
        } else {
            tracing::info!(lease = self.name, holder = words, "standing by");
        }
        self.reported = Some(words.to_owned());
    }

    /// Renews the lease until it is lost. Returns why it is lost.
    pub async fn keep(&mut self) -> Lost {
        let mut pause = RENEW;
        loop {
            // A process that slept learns here that its time is over, before it does anything else.
            let Some(over) = self
                .candidate
                .leads_until()
                .filter(|over| over.is_ahead_of(&Moment::now()))
            else {
                return Lost::TimeIsOver;
            };
            let renewed = tokio::select! {
                biased;
                () = sleep_until(over.monotonic.into()) => return Lost::TimeIsOver,
                renewed = async { sleep(pause).await; self.renew().await } => renewed,
            };
            pause = match renewed {
                Ok(None) => RENEW,
                Ok(Some(holder)) => return Lost::ToAnother(holder),
                Err(error) => {
                    tracing::warn!(lease = self.name, %error, "failed to renew the lease, trying again");
                    RETRY
                }
            };
        }
    }

    /// Gives the lease back, so that another process doesn't have to wait. After that, this process writes nothing any
    /// more.
    pub async fn release(self) {
        self.release_after(std::future::ready(())).await;
    }

    /// Like `release`, but waits for `ended` before it gives the lease back: for the end of work other than writes.
    pub async fn release_after(mut self, ended: impl Future<Output = ()>) {
        if timeout(REQUEST, self.fence.close()).await.is_err() {
            tracing::warn!(
                lease = self.name,
                "not releasing the lease, because a write is in flight: another process can take it when it expires"
            );
            return;
        }
        ended.await;
        match self.give_back().await {
            Ok(()) => tracing::info!(lease = self.name, "released the lease"),
            Err(error) => {
                tracing::warn!(lease = self.name, %error, "failed to release the lease: another process can take it when it expires");
            }
        }
    }

    async fn give_back(&mut self) -> Result<(), Failure> {
        let mut conflicts = 0;
        loop {
            // Read it again: a renewal may have been in flight.
            let found = answered(self.leases.get_opt(&self.name)).await?;
            let is_mine = |lease: &Lease| holder(lease) == Some(self.candidate.identity());
            let Some(mut lease) = found.filter(is_mine) else {
                return Ok(());
            };
            self.leave(&mut lease);
            let params = post_params();
            match answered(self.leases.replace(&self.name, &params, &lease)).await {
                Err(error) if error.is_conflict() && conflicts < MOST_CONFLICTS => conflicts += 1,
                written => return written.map(|_| ()),
            }
        }
    }

    /// Removes this process from the lease, and frees the lease if nobody else holds it.
    fn leave(&mut self, lease: &mut Lease) {
        let now = Instant::now();
        let is_last = self.members.as_mut().is_none_or(|members| {
            members.see(lease, now);
            members.leave(lease, now)
        });
        if is_last {
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some(String::new());
            spec.renew_time = Some(MicroTime(clock::now()));
        }
    }

    /// Takes the lease if it may be taken and is wanted.
    async fn try_to_take(&mut self, wants: bool) -> Result<Looked, Failure> {
        let found = answered(self.leases.get_opt(&self.name)).await?;
        if let Some(lease) = &found {
            self.sees(lease);
        }
        if !self.candidate.may_take(Instant::now()) {
            let holder = found.as_ref().and_then(holder);
            return Ok(Looked::Held(holder.map(ToOwned::to_owned)));
        }
        self.reported = None;
        if !wants {
            return Ok(Looked::Free);
        }
        self.write(found).await?;
        Ok(Looked::Taken)
    }

    fn sees(&mut self, lease: &Lease) {
        let now = Instant::now();
        self.candidate.sees(claim(lease), now);
        if let Some(members) = &mut self.members {
            members.see(lease, now);
        }
    }

    /// Renews the lease. Returns the holder if this process lost it.
    async fn renew(&mut self) -> Result<Option<String>, Failure> {
        // If others renew it too, the Lease that this process last wrote is out of date.
        if self.members.is_none() {
            match self.write(self.held.clone()).await {
                Err(Failure::Api(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                }
                result => return result.map(|()| None),
            }
        }
        let mut conflicts = 0;
        loop {
            // Somebody changed or deleted it. Only its holder shows whether another process took it.
            let found = answered(self.leases.get_opt(&self.name)).await?;
            match found.as_ref().and_then(holder) {
                Some(holder) if holder != self.candidate.identity() => {
                    return Ok(Some(holder.to_owned()));
                }
                None if found.is_some() => return Ok(Some("nobody".into())),
                _ => {}
            }
            if let Some(lease) = &found {
                self.sees(lease);
            }
            match self.write(found).await {
                Err(error) if error.is_conflict() && conflicts < MOST_CONFLICTS => conflicts += 1,
                written => return written.map(|()| None),
            }
        }
    }

    /// Writes the Lease with this process as its holder, based on the Lease that was found.
    async fn write(&mut self, found: Option<Lease>) -> Result<(), Failure> {
        let sent = Moment::now();
        let lease = self.as_mine(found, clock::now());
        let written = if lease.meta().resource_version.is_some() {
            answered(self.leases.replace(&self.name, &post_params(), &lease)).await?
        } else {
            answered(self.leases.create(&post_params(), &lease)).await?
        };
        self.sees(&written);
        self.candidate.renewed(sent);
        self.held = Some(written);
        if let Some(until) = self.candidate.leads_until() {
            self.fence.extend(until);
        }
        Ok(())
    }

    fn as_mine(&self, found: Option<Lease>, now: Timestamp) -> Lease {
        let me = self.candidate.identity();
        let (mut metadata, before) = match found {
            Some(lease) => (lease.metadata, lease.spec.unwrap_or_default()),
            None => (ObjectMeta::default(), LeaseSpec::default()),
        };
        metadata.name = Some(self.name.clone());
        metadata.managed_fields = None;
        let is_mine = before.holder_identity.as_deref() == Some(me);
        let transitions = before.lease_transitions.unwrap_or_default();
        let spec = LeaseSpec {
            holder_identity: Some(me.to_owned()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: before
                .acquire_time
                .filter(|_| is_mine)
                .or(Some(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions + i32::from(!is_mine)),
            ..before
        };
        let mut lease = Lease {
            metadata,
            spec: Some(spec),
        };
        if let Some(members) = &self.members {
            members.note(&mut lease, now, Instant::now());
        }
        lease
    }
}

/// The result of a check of the lease.
enum Looked {
    /// This process holds it now.
    Taken,
    /// It may be taken.
    Free,
    /// Another process holds it. None if the Lease was deleted.
    Held(Option<String>),
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("no answer within {REQUEST:?}")]
    NoAnswer,
}

impl Failure {
    /// Returns whether another process wrote the Lease first.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 409)
    }
}

async fn answered<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match timeout(REQUEST, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::NoAnswer),
    }
}

fn claim(lease: &Lease) -> Claim {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    Claim {
        holder: spec.holder_identity,
        renewed: spec.renew_time.map(|time| time.0),
        duration: seconds.map(Duration::from_secs),
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}
