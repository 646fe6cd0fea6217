//! Rules that always hold, whatever people do, and even if the operator crashes or reads a stale view.

mod checked;
mod events;

use proptest::{collection::vec, prelude::*, test_runner::RngSeed};

use crate::api::{
    ConcurrencyPolicy,
    OperationType::{Rollback, Upgrade},
};

use super::fixtures::{NEW, World, pool};

use checked::Checked;
use events::{POOLS, turns, turns_of_days};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1536,
        // The same histories in each run, so that a failure comes from a change of the code. `make histories` tries
        // others.
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_invariants_hold_in_every_history_and_it_settles(
        is_settled: bool,
        turns in turns(),
    ) {
        let mut checked = Checked::new(is_settled);
        for turn in &turns {
            checked.happens(turn);
        }
        checked.comes_to_rest();
    }

    #[test]
    fn an_abort_ends_although_all_obstacles_stay(
        is_settled: bool,
        refuses_specs: bool,
        turns in turns(),
    ) {
        let mut checked = Checked::new(is_settled);
        for turn in &turns {
            checked.happens(turn);
        }
        let world = &mut checked.world;
        if world.is_gone() {
            return Ok(());
        }
        world.refuse_specs(refuses_specs).refuse_to_stop(false);
        for name in POOLS {
            world.guard(name);
        }
        let asked: Vec<_> = world.unfinished().iter().map(|name| world.uid(name)).collect();
        for name in world.unfinished() {
            world.abort_now(&name, "it has to end");
        }
        for _ in 0..12 {
            if checked.world.is_gone() {
                return Ok(());
            }
            checked.world.stride().work();
        }
        let world = &checked.world;
        for name in world.unfinished() {
            // A rollback past its point of no return goes on. A deletion that came in between wasn't asked to end.
            let is_rollback = world.spec(&name).type_ == Rollback;
            prop_assert!(
                is_rollback || !asked.contains(&world.uid(&name)),
                "{} is {:?} still", name, world.phase(&name)
            );
        }
    }

    #[test]
    fn the_newest_waiting_change_wins_whichever_way_it_came(
        changes in vec((any::<bool>(), 1..9_i32, 0..3_usize), 1..6),
    ) {
        let mut world = World::settled();
        world.set_policy(ConcurrencyPolicy::Queue).settle();
        world.guard("np1").set_version(NEW);
        world.begin(Upgrade);
        for _ in 0..6 {
            world.work().stride();
        }
        let mut expected = 2;
        for (number, (by_operation, count, strides)) in changes.iter().enumerate() {
            world.wait(1);
            let asked = usize::try_from(*count).unwrap_or_default();
            if !by_operation && world.wanted_nodes("np1").0 == asked {
                // For the API server this isn't a change.
                continue;
            }
            if *by_operation {
                world.ask_for_count(&format!("asked-{number}"), *count, &pool("np1"));
            } else {
                world.set_count("np1", *count);
            }
            // Belay sees each change before the next one.
            world.stride();
            expected = asked;
            for _ in 0..*strides {
                world.stride();
            }
        }
        world.unguard().settle();
        prop_assert_eq!(world.versions("np1"), vec![NEW.to_owned(); expected]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 192,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn with_a_window_the_invariants_hold_in_every_history_and_it_settles_once_the_window_is_gone(
        pauses: bool,
        turns in turns_of_days(),
    ) {
        let mut checked = Checked::with_window(pauses);
        for turn in &turns {
            checked.happens(turn);
        }
        checked.comes_to_rest();
    }
}
