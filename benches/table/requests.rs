//! How many requests operations need besides the requests for nodes and pods, which the work itself needs.

use std::time::Duration;

use belay::api::{AgentPool, ManagedCluster, Operation, OperationPhase};
use serde_json::{Value, json};

use crate::{
    audit::{Counts, Requests},
    clusters,
    fleet::{self, Fleet},
    report::{Goal, Report},
    seen::Seen,
    stage::{Stage, until},
};

const BELAY: &str = "belay";

/// Counts the requests.
pub async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    stage.namespace(BELAY).await?;
    let _operator = stage.operate_in(BELAY)?;
    let fleet = Fleet::of(&stage.client, BELAY);
    clusters::create_cluster(
        &fleet.objects,
        "demo",
        json!({"controlPlaneUpgradeTime": "0s"}),
    )
    .await?;
    rests(&fleet, 1).await?;
    let mut count = Count {
        requests: Requests::of(stage.audited.log.clone(), "belay-system:belay")?,
        fleet: &fleet,
        ended: 1,
    };
    clusters::create_pool(&fleet.objects, "empty", "demo", 0).await?;
    count.note(report, "create an empty pool", 0).await?;
    clusters::create_pool(&fleet.objects, "np1", "demo", 10).await?;
    count.note(report, "create a pool of 10 nodes", 10).await?;
    count
        .change(
            report,
            "scale it by 10 nodes",
            "np1",
            &json!({"count": 20}),
            10,
        )
        .await?;
    let newer = json!({"spec": {"kubernetesVersion": "1.36.4"}});
    fleet
        .objects
        .patch::<ManagedCluster>("demo", &newer)
        .await?;
    count
        .note(report, "upgrade the cluster with its 20 nodes", 20)
        .await?;
    let slow = clusters::slow();
    fleet.objects.patch::<ManagedCluster>("demo", &slow).await?;
    fleet
        .objects
        .patch::<AgentPool>("empty", &json!({"spec": {"count": 1}}))
        .await?;
    let seen = Seen::watch(&stage.client, BELAY);
    let operation = seen.in_flight("empty-scale").await?;
    rests_in_flight().await;
    count.requests.since()?;
    seen.abort_to_the_end(&operation).await?;
    count.note(report, "abort a scale", 1).await?;
    tokio::time::sleep(Duration::from_secs(30)).await;
    count.requests.since()?;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let quiet = count.requests.since()?;
    report.note(
        "requests of a quiet minute",
        words(&quiet),
        "the lease's",
        None,
        None,
    );
    Ok(())
}

/// Waits until Belay has written everything that follows the start of an operation.
async fn rests_in_flight() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

struct Count<'a> {
    requests: Requests,
    fleet: &'a Fleet,
    /// The number of Operations that have ended.
    ended: usize,
}

impl Count<'_> {
    async fn change(
        &mut self,
        report: &mut Report,
        what: &str,
        pool: &str,
        spec: &Value,
        nodes: u64,
    ) -> anyhow::Result<()> {
        self.fleet
            .objects
            .patch::<AgentPool>(pool, &json!({"spec": spec}))
            .await?;
        self.note(report, what, nodes).await
    }

    /// Adds the requests until one more Operation has ended.
    async fn note(&mut self, report: &mut Report, what: &str, nodes: u64) -> anyhow::Result<()> {
        self.ended += 1;
        rests(self.fleet, self.ended).await?;
        let counts = self.requests.since()?;
        let (needed, beside): (Counts, Counts) =
            counts.into_iter().partition(|(what, _)| is_needed(what));
        let beside: Counts = beside
            .into_iter()
            .filter(|(what, _)| !what.starts_with("watch") && !what.contains("leases"))
            .collect();
        let of = |counts: &Counts| counts.values().sum::<u64>();
        #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
        let (made, allowed) = (of(&beside) as f64, 4.0 + nodes as f64 / 10.0);
        report.note(
            &format!("requests to {what}"),
            format!("{made}: {}", words(&beside)),
            format!(
                "allowed: {allowed}; beside {} of nodes and pods: {}",
                of(&needed),
                words(&needed)
            ),
            Some(made / allowed),
            Some(Goal::AtMost(1.0)),
        );
        Ok(())
    }
}

/// Whether a request is one that the work on nodes itself needs.
fn is_needed(what: &str) -> bool {
    what.contains(" nodes") || what.contains(" pods") || what.contains("kwokcontrolplanes")
}

fn words(counts: &Counts) -> String {
    let words: Vec<_> = counts
        .iter()
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    words.join(", ")
}

/// Waits until this many Operations have ended, and nothing is written any more.
async fn rests(fleet: &Fleet, ended: usize) -> anyhow::Result<()> {
    until("at rest", async || {
        let has_ended = |operation: &Operation| {
            [OperationPhase::Succeeded, OperationPhase::Canceled]
                .iter()
                .any(|phase| fleet::is(operation, *phase))
        };
        let all = fleet.objects.list::<Operation>().await?;
        let clusters = fleet.objects.list::<ManagedCluster>().await?;
        let is_free = clusters.iter().all(|cluster| {
            cluster
                .status
                .as_ref()
                .is_some_and(|status| status.operations.is_empty())
        });
        Ok(is_free && all.iter().filter(|operation| has_ended(operation)).count() == ended)
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(())
}
