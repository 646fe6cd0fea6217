//! Runs the scenarios, undisturbed and disturbed, side by side in namespaces of one control plane.

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
const SIDE_BY_SIDE: usize = 24;
/// How long a world may take to reach the expected state.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long an operator must write nothing to count as at rest.
const QUIET: Duration = Duration::from_millis(800);
/// The same for a run whose final state is the expected state of other runs.
const CERTAINLY_QUIET: Duration = Duration::from_secs(4);

/// The result of one run.
pub struct Ended {
    /// The requests.
    calls: Vec<Call>,
    /// The world at the end.
    world: String,
    /// Whether the disturbance happened.
    met: bool,
    /// The faults of the run, which also recorded it.
    faults: Faults,
}

/// One run to be done.
struct Run {
    scenario: &'static Scenario,
    disturbance: Disturbance,
    /// The expected world at the end.
    expected: Option<String>,
}

/// The runs to sweep, from the environment.
struct Choice {
    only: String,
    kinds: String,
    part: Part,
}

impl Choice {
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

/// Sweeps all chosen runs.
pub async fn all() -> ExitCode {
    let choice = Choice::read();
    let world = World::start().await;
    let budgets = Budgets::watch(world.client().await);
    let mut sweep = Sweep {
        world,
        budgets,
        began: Instant::now(),
        rows: Vec::new(),
        failures: 0,
        failed: BTreeSet::new(),
    };
    let runs = sweep.undisturbed(&choice).await;
    println!(
        "{} scenarios, {} disturbed runs",
        sweep.rows.len(),
        runs.len()
    );
    let (total, scenarios) = (runs.len(), scenarios::ALL.len());
    sweep.disturbed(runs).await;
    println!("{}", table::text(&sweep.rows));
    let (failures, took) = (sweep.failures, sweep.began.elapsed());
    println!("{total} disturbed runs, {failures} failed, {took:?}");
    if sweep.rows.len() == scenarios {
        table::write(&sweep.rows, &sweep.failed, &choice.part.to_string());
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
    began: Instant,
    rows: Vec<Row>,
    failures: usize,
    /// The kinds of disturbance with a failure.
    failed: BTreeSet<&'static str>,
}

impl Sweep {
    /// Runs each scenario once. Returns the chosen disturbed runs.
    async fn undisturbed(&mut self, choice: &Choice) -> Vec<Run> {
        let chosen = scenarios::ALL.iter();
        let chosen = chosen.filter(|one| one.name.contains(&choice.only));
        let runs = chosen.map(|scenario| Run {
            scenario,
            disturbance: Disturbance::None,
            expected: None,
        });
        let mut all = Vec::new();
        let (world, budgets) = (self.world.clone(), self.budgets.clone());
        let mut ended = side_by_side(&world, &budgets, runs.collect());
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
        // Sorted, so that the parts are the same each time, as far as the numbers of requests are.
        all.sort_by_key(|run| run.scenario.name);
        let mut number = 0;
        all.retain(|run| {
            number += 1;
            choice.part.has(number) && choice.has_kind(run.disturbance)
        });
        all
    }

    async fn disturbed(&mut self, runs: Vec<Run>) {
        let total = runs.len();
        let (world, budgets) = (self.world.clone(), self.budgets.clone());
        let mut ended = side_by_side(&world, &budgets, runs).enumerate();
        while let Some((done, (run, ended))) = ended.next().await {
            match ended {
                Ok(ended) => {
                    let mut rows = self.rows.iter_mut();
                    let row = rows.find(|row| row.scenario == run.scenario.name);
                    row.expect("its row").count(run.disturbance, ended.met);
                }
                Err(why) => self.failed(&run, &why),
            }
            if done % 50 == 49 {
                let (failures, took) = (self.failures, self.began.elapsed());
                println!("{} of {total} runs, {failures} failed, {took:?}", done + 1);
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

fn side_by_side<'a>(
    world: &'a Arc<World>,
    budgets: &'a Budgets,
    runs: Vec<Run>,
) -> impl futures::Stream<Item = (Run, Result<Ended, String>)> + 'a {
    let each = runs.into_iter().map(move |run| {
        let (world, budgets) = (world.clone(), budgets.clone());
        async move {
            let (scenario, disturbance, expected) =
                (run.scenario, run.disturbance, run.expected.clone());
            let running = async move {
                one(&world, &budgets, scenario, disturbance, expected.as_deref()).await
            };
            (run, caught(running).await)
        }
    });
    let at_once = env::var("SWEEP_SIDE_BY_SIDE").ok();
    let at_once = at_once.map_or(SIDE_BY_SIDE, |text| text.parse().expect("a number"));
    Box::pin(stream::iter(each).buffer_unordered(at_once))
}

async fn one(
    world: &Arc<World>,
    budgets: &Budgets,
    scenario: &Scenario,
    disturbance: Disturbance,
    expected: Option<&str>,
) -> Result<Ended, String> {
    let place = Place::new(world, budgets).await;
    (scenario.prepare)(place.clone()).await;
    rests(&place, QUIET).await;
    place.faults.arm(disturbance.plan());
    let acting = async {
        (scenario.act)(place.clone()).await;
        let Some(expected) = expected else {
            rests(&place, CERTAINLY_QUIET).await;
            return Ok(());
        };
        rests(&place, QUIET).await;
        place.has_one_operator().await;
        rests(&place, QUIET).await;
        let with_outdated = !matches!(disturbance, Disturbance::Frozen(_));
        becomes(&place, expected, with_outdated).await
    };
    let disturbing = async {
        let watches = disturbance.watches(&place.faults);
        tokio::join!(place.follow_crashes(), watches);
    };
    let ended = tokio::select! {
        ended = acting => ended,
        () = disturbing => unreachable!("crashes are followed for ever"),
    };
    let judged = ended.and_then(|()| place.judge());
    let digest = digest::of(&place.belay, true).await;
    place.clear().await;
    let met = place.faults.met();
    judged.map_err(|why| {
        let at = met.iter().map(|(_, call)| format!("[{call}] "));
        let at: String = at.collect();
        format!("{} {at}{why}", place.belay.namespace)
    })?;
    let mut calls = place.faults.calls();
    let last = calls.iter().rposition(Call::is_write);
    calls.truncate(last.map_or(0, |at| at + 1));
    Ok(Ended {
        calls,
        world: digest,
        met: !met.is_empty(),
        faults: place.faults.clone(),
    })
}

/// Waits until nothing is in flight and the operator has written nothing for a while.
async fn rests(place: &Place, quiet: Duration) {
    let began = Instant::now();
    let mut writes = (0, Instant::now());
    loop {
        let now = place.faults.writes();
        if now != writes.0 {
            writes = (now, Instant::now());
        }
        if writes.1.elapsed() > quiet && digest::is_at_rest(&place.belay).await {
            return;
        }
        if began.elapsed() > PATIENCE {
            let world = digest::of(&place.belay, true).await;
            let asked: Vec<_> = place
                .faults
                .calls()
                .iter()
                .rev()
                .take(12)
                .map(Call::to_string)
                .collect();
            panic!("the operator never rests; it asked last, newest first: {asked:#?}\n{world}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the world is as expected. If it never is, the error shows the difference.
async fn becomes(place: &Place, expected: &str, with_outdated: bool) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let world = digest::of(&place.belay, with_outdated).await;
        if world == expected {
            return Ok(());
        }
        if began.elapsed() > PATIENCE / 4 {
            return Err(format!(
                "ended in another world ({} has all of it):\n{}",
                noted(place, expected, &world),
                difference(expected, &world)
            ));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Writes the requests and both worlds into a file. Returns its path.
fn noted(place: &Place, expected: &str, found: &str) -> String {
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
        .take_while(|(one, other)| one == other)
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
