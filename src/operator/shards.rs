//! Operators that divide the clusters into shards. Each is a whole operator for the shards that it holds. All hold one
//! Lease together. It records the number of shards, so that no operator with another number works, and which operators
//! live. Another Lease for each shard elects one of them.

use std::collections::BTreeMap;

use anyhow::Context as _;
use futures::FutureExt as _;
use kube::Client;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    leader::{Election, Fence, LOOK, fair_share, new_identity},
    machinery::shard::Shard,
};

use super::{instance::Parts, lease_client, tenure::Tenure};

/// An operator that holds its fair share checks for other free shards only every this many rounds. Such shards wait for
/// it only if their operator died.
const SELDOM: usize = 5;

/// Manages a fair share of the shards until `shutdown`.
///
/// # Errors
/// If it can't start, or if it lost a lease: then the process must be restarted.
pub async fn share(parts: &Parts, shutdown: CancellationToken) -> anyhow::Result<()> {
    let client = lease_client(parts)?;
    let (identity, fence) = (new_identity(), Fence::closed());
    let shards = parts.options.shards;
    let mut all = Election::together(
        client.clone(),
        &parts.lease_namespace(),
        parts.options.lease(),
        &identity,
        shards,
        fence.clone(),
    );
    tokio::select! {
        () = all.lead().boxed() => tracing::info!(shards, "sharing the clusters with other operators, by shards"),
        () = shutdown.cancelled() => return Ok(()),
    }
    let members = all.members();
    let shares = Shares::new(parts, client, identity, fence);
    tokio::select! {
        lost = all.keep().boxed() => return Err(lost.into()),
        worked = shares.work(members, &shutdown).boxed() => worked?,
    }
    all.release().boxed().await;
    Ok(())
}

/// The shards, and which of them this process holds.
struct Shares<'a> {
    parts: &'a Parts,
    leases: Client,
    identity: String,
    /// Open while this process and all others that work use the same number of shards.
    around: Fence,
    /// The shards that it doesn't hold.
    others: BTreeMap<Shard, Election>,
    /// The shards that it holds, each with the token that asks its work to end.
    held: BTreeMap<Shard, CancellationToken>,
    tenures: JoinSet<Ended>,
}

/// How the tenure of a shard ended.
type Ended = (Shard, anyhow::Result<()>);

impl<'a> Shares<'a> {
    fn new(parts: &'a Parts, leases: Client, identity: String, around: Fence) -> Self {
        let mut this = Self {
            parts,
            leases,
            identity,
            around,
            others: BTreeMap::new(),
            held: BTreeMap::new(),
            tenures: JoinSet::new(),
        };
        Shard::all(parts.options.shards).for_each(|shard| this.stand_by(shard));
        this
    }

    /// Takes and gives back shards as operators come and go, until `shutdown`. Then it gives all back.
    async fn work(
        mut self,
        members: watch::Receiver<usize>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        let asked = shutdown.cancelled();
        let mut asked = std::pin::pin!(asked);
        for round in 0_usize.. {
            let most = fair_share(self.parts.options.shards as usize, *members.borrow());
            self.give_back_beyond(most);
            if self.held.len() < most || round.is_multiple_of(SELDOM) {
                // This is never cancelled: a lease that it had just taken would block its shard until its time is over.
                self.look(most).await?;
            }
            tokio::select! {
                () = &mut asked => break,
                Some(ended) = self.tenures.join_next() => self.ended(ended)?,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        self.held.values().for_each(CancellationToken::cancel);
        while let Some(ended) = self.tenures.join_next().await {
            self.ended(ended)?;
        }
        Ok(())
    }

    /// Checks the leases of all shards that this process doesn't hold, and takes free ones until it holds `most`.
    async fn look(&mut self, most: usize) -> anyhow::Result<()> {
        for shard in Shard::all(self.parts.options.shards) {
            let wants = self.held.len() < most;
            let Some(election) = self.others.get_mut(&shard) else {
                continue;
            };
            if election.try_to_lead(wants).await {
                self.hold(shard)?;
            }
        }
        Ok(())
    }

    /// Takes part in the election for a shard.
    fn stand_by(&mut self, shard: Shard) {
        let (lease, fence) = (
            self.parts.options.lease_of(shard),
            Fence::closed_within(&self.around),
        );
        self.parts.telemetry.leading.follow(&lease, fence.clone());
        let election = Election::new(
            self.leases.clone(),
            &self.parts.lease_namespace(),
            lease,
            self.identity.clone(),
            fence,
        );
        self.others.insert(shard, election);
    }

    /// Starts to manage the clusters of a shard that was taken.
    fn hold(&mut self, shard: Shard) -> anyhow::Result<()> {
        let Some(election) = self.others.remove(&shard) else {
            return Ok(());
        };
        tracing::info!(lease = election.name(), "leading");
        let scope = self.parts.options.scope.within(shard);
        let tenure = Tenure::begin(self.parts, scope, election.fence())?;
        let asked = CancellationToken::new();
        self.held.insert(shard, asked.clone());
        self.tenures
            .spawn(async move { (shard, keep(election, tenure, &asked).await) });
        Ok(())
    }

    /// Gives a shard back if this process holds more than `most`, one at a time.
    fn give_back_beyond(&mut self, most: usize) {
        let is_going = self.held.values().any(CancellationToken::is_cancelled);
        let one = self.held.last_key_value();
        if let Some((shard, asked)) = one.filter(|_| self.held.len() > most && !is_going) {
            tracing::info!(%shard, most, "releasing a shard, so that another operator takes it");
            asked.cancel();
        }
    }

    fn ended(&mut self, ended: Result<Ended, JoinError>) -> anyhow::Result<()> {
        let (shard, ended) = ended.context("the work on a shard panicked")?;
        ended.with_context(|| format!("shard {shard}"))?;
        self.held.remove(&shard);
        self.stand_by(shard);
        Ok(())
    }
}

/// Works on a shard until it is asked to end, then gives it back.
async fn keep(
    mut election: Election,
    mut tenure: Tenure,
    asked: &CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        lost = election.keep() => return Err(lost.into()),
        worked = tenure.work(asked) => worked?,
    }
    election.release_after(tenure.end()).await;
    Ok(())
}
