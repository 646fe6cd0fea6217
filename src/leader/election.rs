//! Takes the Lease, renews it, and gives it back.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, Resource as _, api::ObjectMeta};
use tokio::time::{sleep, sleep_until, timeout};

use super::{
    Fence, LEASE, Moment,
    candidate::{Candidate, Claim},
};
use crate::machinery::{clock, post_params};

/// How often the leader renews.
const RENEW: Duration = Duration::from_secs(2);
/// How often the others look whether the lease is free.
const LOOK: Duration = Duration::from_secs(1);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(2);

/// Why a leader isn't one any more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Another has the lease.
    #[error("leadership lost: {0} holds the lease now")]
    ToAnother(String),
    /// It couldn't be renewed in time.
    #[error("leadership lost: the lease could not be renewed in time")]
    TimeIsOver,
}

/// This process's part in the election.
pub struct Election {
    leases: Api<Lease>,
    name: String,
    candidate: Candidate,
    /// The Lease as this process wrote it last.
    held: Option<Lease>,
    fence: Fence,
}

impl Election {
    /// A part in the election by the Lease of that name, under an identity that no other process has.
    /// While this process leads, `fence` is open.
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
        }
    }

    /// Waits until this process leads.
    pub async fn lead(&mut self) {
        let mut reported = None;
        loop {
            match self.try_to_take().await {
                Ok(None) => return,
                Ok(Some(holder)) => {
                    if reported.as_ref() != Some(&holder) {
                        tracing::info!(lease = self.name, holder, "standing by");
                        reported = Some(holder);
                    }
                }
                // Another was faster.
                Err(Failure::Api(kube::Error::Api(status))) if status.code == 409 => {}
                Err(error) => {
                    tracing::warn!(lease = self.name, %error, "failed to take the lease, trying again");
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Renews the lease until it is lost.
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

    /// Gives the lease back, so that another needn't wait. Nothing of this process writes any more then.
    pub async fn release(self) {
        if timeout(REQUEST, self.fence.close()).await.is_err() {
            tracing::warn!(
                lease = self.name,
                "a write is in flight: the lease isn't released, another takes it when its time is over"
            );
            return;
        }
        match self.give_back().await {
            Ok(()) => tracing::info!(lease = self.name, "released the lease"),
            Err(error) => {
                tracing::warn!(lease = self.name, %error, "failed to release the lease: another takes it when its time is over");
            }
        }
    }

    async fn give_back(&self) -> Result<(), Failure> {
        // Read anew: a renewal may have been on its way.
        let found = answered(self.leases.get_opt(&self.name)).await?;
        let is_mine = |lease: &Lease| holder(lease) == Some(self.candidate.identity());
        if let Some(mut lease) = found.filter(is_mine) {
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some(String::new());
            spec.renew_time = Some(MicroTime(clock::now()));
            answered(self.leases.replace(&self.name, &post_params(), &lease)).await?;
        }
        Ok(())
    }

    /// Takes the lease where it may be taken; else returns its holder.
    async fn try_to_take(&mut self) -> Result<Option<String>, Failure> {
        let found = answered(self.leases.get_opt(&self.name)).await?;
        if let Some(lease) = &found {
            self.candidate.sees(claim(lease), Instant::now());
        }
        if !self.candidate.may_take(Instant::now()) {
            let holder = found.as_ref().and_then(holder);
            return Ok(Some(
                holder.unwrap_or("nobody, but a lease was deleted").into(),
            ));
        }
        self.write(found).await?;
        Ok(None)
    }

    /// Renews the lease; where another has it, returns who.
    async fn renew(&mut self) -> Result<Option<String>, Failure> {
        match self.write(self.held.clone()).await {
            Err(Failure::Api(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {}
            result => return result.map(|()| None),
        }
        // Somebody changed or deleted it. That it is taken shows in its holder alone.
        let found = answered(self.leases.get_opt(&self.name)).await?;
        match found.as_ref().and_then(holder) {
            Some(holder) if holder != self.candidate.identity() => Ok(Some(holder.to_owned())),
            None if found.is_some() => Ok(Some("nobody".into())),
            _ => self.write(found).await.map(|()| None),
        }
    }

    /// Writes the lease as this process's, on what was found of it.
    async fn write(&mut self, found: Option<Lease>) -> Result<(), Failure> {
        let sent = Moment::now();
        let lease = self.as_mine(found, clock::now());
        let written = if lease.meta().resource_version.is_some() {
            answered(self.leases.replace(&self.name, &post_params(), &lease)).await?
        } else {
            answered(self.leases.create(&post_params(), &lease)).await?
        };
        self.candidate.sees(claim(&written), Instant::now());
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
        Lease {
            metadata,
            spec: Some(spec),
        }
    }
}

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("no answer in {REQUEST:?}")]
    NoAnswer,
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
