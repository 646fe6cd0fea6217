//! Finds the shortest part of an episode that still fails: leaves out smaller and smaller parts (Zeller's ddmin).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};

use crate::{budgets::Budgets, episode, event::Event, run::listed, world::World};

/// How often events are played before they count as not failing, because a failure may depend on timing.
const TRIES: usize = 3;
/// The number of parallel episodes.
const PARALLEL: usize = 12;
/// The time limit of the search.
const PATIENCE: Duration = Duration::from_mins(15);

/// Returns the shortest failing part that was found, and its failure.
pub async fn failing_part(world: &Arc<World>, budgets: &Budgets, events: Vec<Event>) -> String {
    let started = Instant::now();
    let Some((mut events, mut why)) = first_failing(world, budgets, vec![events.clone()]).await
    else {
        return format!("The episode did not fail again in {TRIES} runs.");
    };
    let mut parts = 2;
    while events.len() > 1 && started.elapsed() < PATIENCE {
        let size = events.len().div_ceil(parts);
        let without = (0..events.len()).step_by(size).map(|from| {
            let to = (from + size).min(events.len());
            [&events[..from], &events[to..]].concat()
        });
        let shorter = first_failing(world, budgets, without.collect()).await;
        if let Some((fewer, how)) = shorter {
            println!("{} events fail as well", fewer.len());
            (events, why) = (fewer, how);
            parts = (parts - 1).max(2);
        } else if parts >= events.len() {
            break;
        } else {
            parts = (parts * 2).min(events.len());
        }
    }
    format!(
        "The shortest part found that fails:\n{}{why}",
        listed(&events)
    )
}

/// Returns the first of these candidates that fails in one of its tries.
async fn first_failing(
    world: &Arc<World>,
    budgets: &Budgets,
    candidates: Vec<Vec<Event>>,
) -> Option<(Vec<Event>, String)> {
    let tries = (0..TRIES).flat_map(|_| candidates.clone());
    let played = tries.map(|events| async {
        let ended = episode::play(world.clone(), budgets.clone(), events.clone()).await;
        ended.err().map(|why| (events, why))
    });
    let failures = stream::iter(played).buffer_unordered(PARALLEL);
    let mut failures = Box::pin(failures.filter_map(std::future::ready));
    failures.next().await
}
