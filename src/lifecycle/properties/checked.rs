//! A world in which every action is checked.

use serde_json::json;

use crate::lifecycle::{
    fixtures::{Kind, World},
    invariants::{Broken, Event, Late, Watch, at_rest},
};

use super::events::Turn;

/// A world in which every action is checked.
pub struct Checked {
    pub world: World,
    watch: Watch,
}

impl Checked {
    /// Returns a world with a settled cluster, or with one that Belay has just seen for the first time.
    pub fn new(is_settled: bool) -> Self {
        let mut world = World::new().with_pool("np1", 2);
        if is_settled {
            world.settle();
        } else {
            world.stride();
        }
        Self {
            world,
            watch: Watch::default(),
        }
    }

    /// Returns a settled world with a maintenance window of eight hours each night.
    pub fn with_window(pauses: bool) -> Self {
        let mut this = Self::new(true);
        let at_end = if pauses { "Pause" } else { "Continue" };
        let window = json!({"start": "22:00", "duration": "8h", "atEnd": at_end});
        this.world
            .edit_cluster(&json!({"maintenanceWindows": [window]}))
            .settle();
        this
    }

    pub fn happens(&mut self, turn: &Turn) {
        match turn {
            Turn::Others(event) => self.apply(event),
            Turn::Stride => self.stride(usize::MAX, None),
            Turn::Die(actions) => {
                self.stride(*actions, None);
                self.world.restart();
            }
            Turn::Meanwhile(actions, event) => self.stride(*actions, Some(event)),
            Turn::Rival(kind) => self.strides_beside(*kind),
            Turn::Remember => {
                self.world.remember();
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        self.watch.was_forced |= event.forces_something_away();
        event.apply(&mut self.world);
    }

    /// Runs one pass of the shell: at most `actions` actions, or, with `meanwhile`, all of them with that event after
    /// `actions`.
    fn stride(&mut self, actions: usize, meanwhile: Option<&Event>) {
        let mut pass = self.world.pass();
        for _ in 0..actions {
            let Some(action) = self.world.act(&mut pass) else {
                return;
            };
            assert_kept(self.watch.check(&self.world, &action));
        }
        let Some(event) = meanwhile else { return };
        self.apply(event);
        while let Some(action) = self.world.act(&mut pass) {
            assert_kept(self.watch.check(&self.world, &action));
        }
    }

    /// Runs a pass of this operator and one of another in turns. The other operator's cache of a kind is stale.
    fn strides_beside(&mut self, kind: Kind) {
        self.watch.is_stale = true;
        let mut passes = [self.world.pass_on_old(kind), self.world.pass()];
        let mut is_going = true;
        while is_going {
            is_going = false;
            for (number, pass) in passes.iter_mut().enumerate() {
                // Only the leader runs work: the other operator's writes to machines are fenced.
                if let Some(action) = self.world.act(pass) {
                    is_going = true;
                    if number == 0 {
                        self.watch.late.lands(&self.world, &action);
                    }
                    assert_kept(self.watch.check(&self.world, &action));
                }
            }
        }
        self.watch.is_stale = false;
        // After a conflict, a pass on the current objects follows before the work goes on.
        self.stride(usize::MAX, None);
        self.watch.late = Late::default();
    }

    /// Checks that everything settles once people do nothing more and nothing blocks.
    pub fn comes_to_rest(&mut self) {
        self.world.unguard().refuse_specs(false);
        self.world
            .lose_sight(false)
            .refuse_to_stop(false)
            .stall(false);
        self.world
            .edit_cluster(&json!({"operationHistoryLimit": 3, "maintenanceWindows": []}));
        for _ in 0..400 {
            if !self.world.is_working() && self.world.decide().0.is_empty() {
                return assert_kept(at_rest(&self.world, self.watch.was_forced));
            }
            self.stride(usize::MAX, None);
            self.world.work().wait(1);
        }
        panic!("it doesn't come to rest: {:#?}", self.world.decide());
    }
}

fn assert_kept(kept: Result<(), Broken>) {
    if let Err(Broken { rule, why }) = kept {
        panic!("{rule}: {why}");
    }
}
