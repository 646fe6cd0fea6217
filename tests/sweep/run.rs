//! Runs the scenarios, undisturbed and disturbed, in parallel, in namespaces of one control plane.

use std::{
    collections::BTreeSet,
    env,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};

use crate::{
    budgets::Budgets,
    digest,
    disturbance::Disturbance,
    faults::{Call, Faults},
    panics::caught,
    part::Part,
    place::Place,
    scenarios::{self, Scenario},
    table::{self, Row},
    world::World,
};

/// The number of parallel runs if `SWEEP_SIDE_BY_SIDE` isn't set. They mostly wait.
const PARALLEL: usize = 24;
/// The time limit for a world to reach the expected state.
const PATIENCE: Duration = Duration::from_mins(2);
/// An operator that writes nothing for this time is idle.
const QUIET: Duration = Duration::from_millis(800);
/// The same for an undisturbed run, whose final state is the expected state of the disturbed runs.
const CERTAINLY_QUIET: Duration = Duration::from_secs(4);

/// The result of one run.
pub struct Ended {
    /// The requests.
    calls: Vec<Call>,
    /// The world at the end.
    world: String,
    /// Whether the disturbance happened.
    applied: bool,
    /// The faults of the run, which also recorded it.
    faults: Faults,
}

/// A run that is to be done.
struct Run {
    scenario: &'static Scenario,
    disturbance: Disturbance,
    /// The expected world at the end.
    expected: Option<String>,
}

/// The selected runs, from the environment.
struct Selection {
    only: String,
    kinds: String,
    part: Part,
}

impl Selection {
    fn read() -> Self {
        let text = |name| env::var(name).unwrap_or_default();
        Self {
            only: text("SWEEP_ONLY"),
            kinds: text("SWEEP_KINDS"),
            part: Part::read(),
        }
    }

    fn has_kind(&self, disturbance: Disturbance) -> bool {
        let mut kinds = self.kinds.split(',');
        self.kinds.is_empty() || kinds.any(|kind| kind == disturbance.kind())
    }
}

/// Sweeps all selected runs.
pub async fn all() -> ExitCode {
    let selection = Selection::read();
    let world = World::start().await;
    let budgets = Budgets::watch(world.client().await);
    let mut sweep = Sweep {
        world,
        budgets,
        started: Instant::now(),
        rows: Vec::new(),
        failures: 0,
        failed: BTreeSet::new(),
    };
    let runs = sweep.undisturbed(&selection).await;
    println!(
        "{} scenarios, {} disturbed runs",
        sweep.rows.len(),
        runs.len()
    );
    let (total, scenarios) = (runs.len(), scenarios::ALL.len());
    sweep.disturbed(runs).await;
    println!("{}", table::text(&sweep.rows));
    let (failures, time) = (sweep.failures, sweep.started.elapsed());
    println!("{total} disturbed runs, {failures} failed, {time:?}");
    if sweep.rows.len() == scenarios {
        table::write(&sweep.rows, &sweep.failed, &selection.part.to_string());
    }
    if failures > 0 {
        sweep.world.keep_logs();
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A sweep with its results so far.
struct Sweep {
    world: Arc<World>,
    budgets: Budgets,
    started: Instant,
    rows: Vec<Row>,
    failures: usize,
    /// The kinds of disturbance with a failure.
    failed: BTreeSet<&'static str>,
}

impl Sweep {
    /// Runs each scenario once. Returns the selected disturbed runs.
    async fn undisturbed(&mut self, selection: &Selection) -> Vec<Run> {
        let selected = scenarios::ALL.iter();
        let selected = selected.filter(|scenario| scenario.name.contains(&selection.only));
        let runs = selected.map(|scenario| Run {
            scenario,
            disturbance: Disturbance::None,
            expected: None,
        });
        let mut all = Vec::new();
        let (world, budgets) = (self.world.clone(), self.budgets.clone());
        let mut ended = run_in_parallel(&world, &budgets, runs.collect());
        while let Some((run, ended)) = ended.next().await {
            match ended {
                Ok(ended) => {
                    let row = Row::new(run.scenario.name, &ended.calls);
                    self.rows.push(row);
                    all.extend(disturbed(&run, &ended));
                }
                Err(why) => self.failed(&run, &why),
            }
        }
        // Sorted, so that the parts are the same each time if the numbers of requests are.
        all.sort_by_key(|run| run.scenario.name);
        let mut number = 0;
        all.retain(|run| {
            number += 1;
            selection.part.has(number) && selection.has_kind(run.disturbance)
        });
        all
    }

    async fn disturbed(&mut self, runs: Vec<Run>) {
        let total = runs.len();
        let (world, budgets) = (self.world.clone(), self.budgets.clone());
        let mut ended = run_in_parallel(&world, &budgets, runs).enumerate();
        while let Some((done, (run, ended))) = ended.next().await {
            match ended {
                Ok(ended) => {
                    let mut rows = self.rows.iter_mut();
                    let row = rows.find(|row| row.scenario == run.scenario.name);
                    row.expect("a row").count(run.disturbance, ended.applied);
                }
                Err(why) => self.failed(&run, &why),
            }
            if done % 50 == 49 {
                let (failures, time) = (self.failures, self.started.elapsed());
                println!("{} of {total} runs, {failures} failed, {time:?}", done + 1);
            }
        }
    }

    fn failed(&mut self, run: &Run, why: &str) {
        self.failures += 1;
        self.failed.insert(run.disturbance.kind());
        println!("FAILED {}, {}: {why}", run.scenario.name, run.disturbance);
    }
}

/// Returns the disturbed runs of a scenario, from the requests of its undisturbed run.
fn disturbed(run: &Run, undisturbed: &Ended) -> Vec<Run> {
    let disturbances = Disturbance::all(&undisturbed.calls, &undisturbed.faults);
    let runs = disturbances.into_iter().map(|disturbance| Run {
        scenario: run.scenario,
        disturbance,
        expected: Some(undisturbed.world.clone()),
    });
    runs.collect()
}

fn run_in_parallel<'a>(
    world: &'a Arc<World>,
    budgets: &'a Budgets,
    runs: Vec<Run>,
) -> impl futures::Stream<Item = (Run, Result<Ended, String>)> + 'a {
    let each = runs.into_iter().map(move |run| {
        let (world, budgets) = (world.clone(), budgets.clone());
        async move {
            let (scenario, disturbance, expected) =
                (run.scenario, run.disturbance, run.expected.clone());
            let run_it = async move {
                run_once(&world, &budgets, scenario, disturbance, expected.as_deref()).await
            };
            (run, caught(run_it).await)
        }
    });
    let parallel = env::var("SWEEP_SIDE_BY_SIDE").ok();
    let parallel = parallel.map_or(PARALLEL, |text| text.parse().expect("a number"));
    Box::pin(stream::iter(each).buffer_unordered(parallel))
}

async fn run_once(
    world: &Arc<World>,
    budgets: &Budgets,
    scenario: &Scenario,
    disturbance: Disturbance,
    expected: Option<&str>,
) -> Result<Ended, String> {
    let place = Place::new(world, budgets).await;
    (scenario.prepare)(place.clone()).await;
    is_idle(&place, QUIET).await;
    place.faults.arm(disturbance.plan());
    let act = async {
        (scenario.act)(place.clone()).await;
        let Some(expected) = expected else {
            is_idle(&place, CERTAINLY_QUIET).await;
            return Ok(());
        };
        is_idle(&place, QUIET).await;
        place.has_one_operator().await;
        is_idle(&place, QUIET).await;
        let with_outdated = !matches!(disturbance, Disturbance::Frozen(_));
        becomes_as_expected(&place, expected, with_outdated).await
    };
    let disturb = async {
        let watches = disturbance.watches(&place.faults);
        tokio::join!(place.follow_crashes(), watches);
    };
    let ended = tokio::select! {
        ended = act => ended,
        () = disturb => unreachable!("this future never ends"),
    };
    let checked = ended.and_then(|()| place.check_invariants());
    let digest = digest::of(&place.belay, true).await;
    place.clear().await;
    let faults = place.faults.applied();
    checked.map_err(|why| {
        let at = faults.iter().map(|(_, call)| format!("[{call}] "));
        let at: String = at.collect();
        format!("{} {at}{why}", place.belay.namespace)
    })?;
    let mut calls = place.faults.calls();
    let last = calls.iter().rposition(Call::is_write);
    calls.truncate(last.map_or(0, |at| at + 1));
    Ok(Ended {
        calls,
        world: digest,
        applied: !faults.is_empty(),
        faults: place.faults.clone(),
    })
}

/// Waits until no operation is in flight and the operator has written nothing for this time.
async fn is_idle(place: &Place, quiet: Duration) {
    let started = Instant::now();
    let mut writes = (0, Instant::now());
    loop {
        let now = place.faults.writes();
        if now != writes.0 {
            writes = (now, Instant::now());
        }
        if writes.1.elapsed() > quiet && digest::is_idle(&place.belay).await {
            return;
        }
        if started.elapsed() > PATIENCE {
            let world = digest::of(&place.belay, true).await;
            let requests: Vec<_> = place
                .faults
                .calls()
                .iter()
                .rev()
                .take(12)
                .map(Call::to_string)
                .collect();
            panic!(
                "the operator does not become idle; its last requests, newest first: {requests:#?}\n{world}"
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the world is as expected. Otherwise, the error shows the difference.
async fn becomes_as_expected(
    place: &Place,
    expected: &str,
    with_outdated: bool,
) -> Result<(), String> {
    let started = Instant::now();
    loop {
        let world = digest::of(&place.belay, with_outdated).await;
        if world == expected {
            return Ok(());
        }
        if started.elapsed() > PATIENCE / 4 {
            return Err(format!(
                "ended in another world ({} has all details):\n{}",
                write_report(place, expected, &world),
                difference(expected, &world)
            ));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Writes the requests and both worlds into a file. Returns its path.
fn write_report(place: &Place, expected: &str, found: &str) -> String {
    let name = format!(
        "belay-sweep-{}-{}.txt",
        std::process::id(),
        place.belay.namespace
    );
    let file = env::temp_dir().join(name);
    let calls = place.faults.timed_calls();
    let text = format!(
        "{}\n\nexpected:\n{expected}\n\nfound:\n{found}\n",
        calls.join("\n")
    );
    std::fs::write(&file, text).expect("written");
    file.display().to_string()
}

/// Returns the lines in which two texts differ.
fn difference(expected: &str, found: &str) -> String {
    let (expected, found): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let same = expected
        .iter()
        .zip(&found)
        .take_while(|(left, right)| left == right)
        .count();
    let rest = |lines: &[&str]| {
        let shown = lines.iter().skip(same.saturating_sub(3)).take(14);
        let shown: Vec<_> = shown.map(|line| format!("    {line}")).collect();
        shown.join("\n")
    };
    format!(
        "  expected, from line {same}:\n{}\n  found:\n{}",
        rest(&expected),
        rest(&found)
    )
}
