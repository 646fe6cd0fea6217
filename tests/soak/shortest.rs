//! Finds the shortest part of an episode that still fails by leaving out smaller and smaller parts (Zeller's ddmin).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};

use crate::{budgets::Budgets, episode, event::Event, run::listed, world::World};

/// How often events are played before they count as not failing: a failure may depend on timing.
const TRIES: usize = 3;
/// The number of parallel episodes.
const SIDE_BY_SIDE: usize = 12;
/// How long to look for a shorter part.
const PATIENCE: Duration = Duration::from_mins(15);

/// Returns the shortest failing events that were found, and their failure.
pub async fn that_fails(world: &Arc<World>, budgets: &Budgets, events: Vec<Event>) -> String {
    let began = Instant::now();
    let Some((mut events, mut why)) = first_that_fails(world, budgets, vec![events.clone()]).await
    else {
        return format!("It didn't fail again when it was played {TRIES} times.");
    };
    let mut parts = 2;
    while events.len() > 1 && began.elapsed() < PATIENCE {
        let size = events.len().div_ceil(parts);
        let without = (0..events.len()).step_by(size).map(|from| {
            let to = (from + size).min(events.len());
            [&events[..from], &events[to..]].concat()
        });
        let shorter = first_that_fails(world, budgets, without.collect()).await;
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
async fn first_that_fails(
    world: &Arc<World>,
    budgets: &Budgets,
    candidates: Vec<Vec<Event>>,
) -> Option<(Vec<Event>, String)> {
    let tries = (0..TRIES).flat_map(|_| candidates.clone());
    let played = tries.map(|events| async {
        let ended = episode::play(world.clone(), budgets.clone(), events.clone()).await;
        ended.err().map(|why| (events, why))
    });
    let failures = stream::iter(played).buffer_unordered(SIDE_BY_SIDE);
    let mut failures = Box::pin(failures.filter_map(std::future::ready));
    failures.next().await
}
