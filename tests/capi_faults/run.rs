//! The runs: each scenario without a fault, and then once with each fault.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use kube::{Config, api::DeleteParams};
use testenv::Controller;

use crate::{
    belay::Belay,
    faults::{Fault, Faults, Operator, Plan},
    panics::caught,
    part::Part,
    scenarios::{ALL, MACHINES, Scenario},
    stage::{Stage, api, wait_until_adopted},
};

/// The number of parallel runs. Each has its own Cluster, and Cluster API's controllers are busy.
const PARALLEL: usize = 4;
/// How long a killed controller stays down.
const DOWNTIME: Duration = Duration::from_secs(2);

/// The controllers that are killed. Not the development provider: it has its machines in memory, and would lose them.
const KILLED: [Controller; 3] = [
    Controller::Core,
    Controller::Bootstrap,
    Controller::ControlPlane,
];

/// A scenario, and the write after which Belay is killed.
type Run = (&'static Scenario, Option<usize>);

/// Runs the selected part.
pub async fn all() -> ExitCode {
    let stage = Stage::start().await;
    let started = Instant::now();
    let mut failures = 0;
    let mut crashes = Vec::new();
    for (run, ended) in run_in_parallel(
        &stage,
        ALL.iter().map(|scenario| (scenario, None)).collect(),
    )
    .await
    {
        match ended {
            Ok(writes) => {
                println!("{}: {writes} writes", run.0.name);
                crashes.extend((1..=writes).map(|at| (run.0, Some(at))));
            }
            Err(why) => failures += failed(&run, &why),
        }
    }
    let part = Part::read();
    let mut number = 0;
    crashes.retain(|_| {
        number += 1;
        part.has(number)
    });
    let total = crashes.len();
    for (run, ended) in run_in_parallel(&stage, crashes).await {
        failures += ended.map_or_else(|why| failed(&run, &why), |_| 0);
    }
    println!(
        "{total} runs in which Belay is killed, {failures} failed, {:?}",
        started.elapsed()
    );
    // The last scenario contains a whole upgrade and its abort.
    let scenario = ALL.last().expect("a scenario");
    for controller in KILLED {
        let killed = without_controller(stage.clone(), scenario, controller);
        if let Err(why) = caught(killed).await {
            failures += 1;
            println!(
                "FAILED {}, {} killed: {why}",
                scenario.name,
                controller.name()
            );
        }
    }
    println!(
        "Cluster API's controllers killed, {failures} failed in all, {:?}",
        started.elapsed()
    );
    if failures > 0 {
        stage.keep_logs();
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn failed((scenario, at): &Run, why: &str) -> usize {
    println!("FAILED {}, killed after write {at:?}: {why}", scenario.name);
    1
}

fn summary(ended: &Result<usize, String>) -> &'static str {
    if ended.is_ok() { "passed" } else { "FAILED" }
}

async fn run_in_parallel(stage: &Arc<Stage>, runs: Vec<Run>) -> Vec<(Run, Result<usize, String>)> {
    let each = runs.into_iter().map(|run| {
        let stage = stage.clone();
        async move {
            let ended = caught(run_once(stage, run)).await;
            println!(
                "{}, killed after write {:?}: {}",
                run.0.name,
                run.1,
                summary(&ended)
            );
            (run, ended)
        }
    });
    stream::iter(each)
        .buffer_unordered(PARALLEL)
        .collect()
        .await
}

/// Runs a scenario once. Returns the number of the operator's writes.
async fn run_once(stage: Arc<Stage>, (scenario, at): Run) -> Result<usize, String> {
    let place = Place::new(&stage).await;
    place
        .faults
        .arm(at.map(|at| Plan::once_at_write(at, Fault::CrashAfter)));
    tokio::select! {
        () = (scenario.act)(place.belay.clone()) => {}
        () = place.follow_crashes() => unreachable!("this future never ends"),
    }
    let writes = place
        .faults
        .calls()
        .iter()
        .filter(|call| call.is_write())
        .count();
    place.clear().await;
    Ok(writes)
}

/// Runs a scenario while a controller of Cluster API is killed: at the start, and again some seconds later.
async fn without_controller(
    stage: Arc<Stage>,
    scenario: &Scenario,
    controller: Controller,
) -> Result<(), String> {
    let place = Place::new(&stage).await;
    let kill = async {
        loop {
            let mut cluster_api = stage.cluster_api.lock().await;
            cluster_api.kill(controller);
            tokio::time::sleep(DOWNTIME).await;
            let result = cluster_api.start_again(controller).await;
            drop(cluster_api);
            result.unwrap_or_else(|error| panic!("{error}"));
            tokio::time::sleep(10 * DOWNTIME).await;
        }
    };
    tokio::select! {
        () = (scenario.act)(place.belay.clone()) => {}
        () = kill => unreachable!("this future never ends"),
    }
    // The scenario may have ended while the controller was down.
    let started = stage.cluster_api.lock().await.start_again(controller).await;
    started.map_err(|error| error.to_string())?;
    place.clear().await;
    Ok(())
}

/// A namespace with an adopted Cluster, and an operator that may crash.
struct Place {
    belay: Arc<Belay>,
    faults: Faults,
    config: Config,
    operator: Mutex<Option<Operator>>,
}

impl Place {
    async fn new(stage: &Stage) -> Self {
        let this = Self {
            belay: Belay::start_without_operator(&stage.world).await,
            faults: Faults::default(),
            config: stage.world.config().await,
            operator: Mutex::new(None),
        };
        stage.create_cluster(&this.belay, MACHINES).await;
        this.start_operator();
        wait_until_adopted(&this.belay, &["md-0", "md-1"]).await;
        this
    }

    fn start_operator(&self) {
        let mut operator = self.operator.lock().expect("the operator");
        drop(operator.take());
        *operator = Some(Operator::start(
            &self.config,
            &self.belay.namespace,
            &self.faults,
        ));
    }

    /// Starts another operator after each crash.
    async fn follow_crashes(&self) {
        loop {
            self.faults.has_crashed().await;
            self.start_operator();
        }
    }

    /// Deletes all objects that would keep the machine busy.
    async fn clear(&self) {
        drop(self.operator.lock().expect("the operator").take());
        let cluster = api(&self.belay, "Cluster");
        let deleted = cluster.delete("demo", &DeleteParams::background()).await;
        deleted.expect("deleted");
    }
}
