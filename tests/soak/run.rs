//! Runs episodes in parallel for a given time.

use std::{
    env,
    fmt::Debug,
    process::ExitCode,
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};

use crate::{budgets::Budgets, episode, event::Event, random, shortest, world::World};

/// The number of parallel episodes. They mostly wait.
const PARALLEL: usize = 10;

/// Runs episodes for the time that the environment sets.
pub async fn all() -> ExitCode {
    let minutes = number("SOAK_MINUTES", 10);
    let episodes = number("SOAK_EPISODES", u64::MAX);
    // A different seed each time.
    let seed = number("SOAK_SEED", u64::from(std::process::id()) << 16);
    println!("seed {seed}, for {minutes} minutes");
    let world = World::start().await;
    let budgets = Budgets::watch(world.client().await);
    let started = Instant::now();
    let end = started + Duration::from_mins(minutes);
    let seeds = stream::iter(seed..=seed.saturating_add(episodes - 1));
    // If one episode fails, the episodes in progress still run to their end.
    let has_failed = AtomicBool::new(false);
    let continues = || Instant::now() < end && !has_failed.load(Ordering::Relaxed);
    let seeds = seeds.take_while(|_| std::future::ready(continues()));
    let ended = seeds.map(|seed| {
        let (world, budgets) = (world.clone(), budgets.clone());
        async move {
            let events = random::events(seed);
            let ended = episode::play(world, budgets, events.clone()).await;
            (seed, events, ended)
        }
    });
    let mut ended = Box::pin(ended.buffer_unordered(PARALLEL));
    let (mut played, mut event_count, mut failed) = (0, 0, Vec::new());
    while let Some((seed, events, ended)) = ended.next().await {
        played += 1;
        event_count += events.len();
        if let Err(why) = ended {
            println!("FAILED with seed {seed}: {why}\n{}", listed(&events));
            failed.push((seed, events));
            has_failed.store(true, Ordering::Relaxed);
        }
        if played % 20 == 0 {
            println!(
                "{played} episodes, {event_count} events, {:?}",
                started.elapsed()
            );
        }
    }
    let (failures, time) = (failed.len(), started.elapsed());
    println!("{played} episodes, {event_count} events, {failures} failed, {time:?}");
    let smallest = failed.into_iter().min_by_key(|(_, events)| events.len());
    let Some((seed, events)) = smallest else {
        return ExitCode::SUCCESS;
    };
    println!("to repeat: make soak SEED={seed} EPISODES=1");
    println!("{}", shortest::failing_part(&world, &budgets, events).await);
    world.keep_logs();
    ExitCode::FAILURE
}

/// Returns events as text, one per line.
pub fn listed(events: &[Event]) -> String {
    let lines = events.iter().map(|event| format!("  {event}\n"));
    lines.collect()
}

fn number<T: FromStr<Err: Debug>>(name: &str, or: T) -> T {
    let text = env::var(name).unwrap_or_default();
    if text.is_empty() {
        return or;
    }
    text.parse()
        .unwrap_or_else(|error| panic!("{name} must be a number: {error:?}"))
}
