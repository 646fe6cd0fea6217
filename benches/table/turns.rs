//! Aborts by Belay, by the floor and by the peers, in turns.

use std::time::Duration;

use belay::api::{AgentPool, ManagedCluster};
use serde_json::json;

use crate::{
    clusters,
    fleet::Fleet,
    floor::{self, Floor},
    peers::Peers,
    seen::{Seen, Spreads},
    spread::Spread,
    stage::{Stage, until},
};

/// The namespace of the floor.
pub const FLOOR: &str = "floor";
/// The cluster whose operations are aborted, and its pool.
const CLUSTER: &str = "demo";
const POOL: &str = "np1";

/// The objects whose operations are aborted. An operator must run at the same time.
pub struct Turns<'a> {
    stage: &'a Stage,
    fleet: Fleet,
    belay: Seen,
    floor: Seen,
    _loop: Floor,
}

/// How long the aborts took.
pub struct Times {
    pub belay: Spreads,
    pub floor: Spreads,
    pub peers: Option<OfPeers>,
}

/// How long the aborts of the peers took.
pub struct OfPeers {
    pub twin: Spread,
    pub argo: Spread,
    pub job: Spread,
}

impl<'a> Turns<'a> {
    /// Creates a cluster whose nodes would take an hour to come up.
    pub async fn prepare(stage: &'a Stage, namespace: &str) -> anyhow::Result<Self> {
        let fleet = Fleet::of(&stage.client, namespace);
        clusters::create_cluster(&fleet.objects, CLUSTER, json!({})).await?;
        clusters::create_pool(&fleet.objects, POOL, CLUSTER, 0).await?;
        let this = Self {
            stage,
            fleet,
            belay: Seen::watch(&stage.client, namespace),
            floor: Seen::watch(&stage.client, FLOOR),
            _loop: floor::start(&stage.client, FLOOR),
        };
        this.rests().await?;
        // By then Belay has written everything that follows the end.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let slow = clusters::slow();
        let objects = &this.fleet.objects;
        objects.patch::<ManagedCluster>(CLUSTER, &slow).await?;
        Ok(this)
    }

    /// Makes this many aborts of each kind. `what` becomes a part of the objects' names.
    pub async fn take(
        &self,
        what: &str,
        rounds: usize,
        peers: Option<&Peers>,
    ) -> anyhow::Result<Times> {
        let (mut of_belay, mut of_floor) = (Vec::new(), Vec::new());
        let (mut of_twin, mut of_argo, mut of_job) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            let name = self.begin(&format!("{what}-{round}")).await?;
            self.belay.abort_to_the_end(&name).await?;
            of_belay.push(name);
            let name = format!("{what}-{round}");
            floor::operation(&self.stage.client, FLOOR, &name).await?;
            self.floor.abort_to_the_end(&name).await?;
            of_floor.push(name);
            if let Some(peers) = peers {
                of_twin.push(peers.twin(round).await?);
                of_argo.push(peers.rollout(round).await?);
                of_job.push(peers.job(round).await?);
            }
        }
        let of_peers = |peers: &Peers| -> anyhow::Result<OfPeers> {
            Ok(OfPeers {
                twin: peers.seen().spreads(&of_twin)?.canceled,
                argo: Spread::of(of_argo),
                job: Spread::of(of_job),
            })
        };
        Ok(Times {
            belay: self.belay.spreads(&of_belay)?,
            floor: self.floor.spreads(&of_floor)?,
            peers: peers.map(of_peers).transpose()?,
        })
    }

    /// Starts a scale-up by one node, and waits until it is in flight.
    async fn begin(&self, round: &str) -> anyhow::Result<String> {
        for count in [0, 1] {
            // Another label each round: the change ends the hold of the previous abort.
            let spec = json!({"spec": {"count": count, "nodeLabels": {"round": round}}});
            self.fleet.objects.patch::<AgentPool>(POOL, &spec).await?;
            if count == 0 {
                self.rests().await?;
            }
        }
        self.belay.in_flight(&format!("{POOL}-scale")).await
    }

    /// Waits until the pool's last change has ended.
    async fn rests(&self) -> anyhow::Result<()> {
        until("at rest", async || {
            let pool = self.fleet.objects.api::<AgentPool>().get(POOL).await?;
            let last = pool.status.and_then(|status| status.last_operation);
            Ok(last.is_some_and(|last| Some(last.target_generation) == pool.metadata.generation))
        })
        .await
    }
}
