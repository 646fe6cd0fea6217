//! The core: which operation, may it start, what next, how it ends.
//!
//! All of it is pure. [`decide`] takes a [`Snapshot`] of one cluster and returns, as [`Action`]s, what is
//! to be written and done. It knows no clock, no client and no task; so a table, a property test or a
//! model checker can drive it without a cluster.
//!
//! It works in one direction; a module uses those above it in this list, and none below:
//!
//! 1. `snapshot`: what there is. `plan`: what an Operation is to bring about, as its status keeps it.
//! 2. `rollout`, `node_steps`, `steps`: from a pool's nodes to what is to be done next, and to the steps.
//! 3. `facts`: of each target what is asked and what is there, of each Operation who asked and when.
//! 4. `desired`: what each target needs.
//! 5. `gate`: may it start? One ordered list of rules.
//! 6. `planning`: the plan of an operation that begins.
//! 7. `transition`: what becomes of each Operation.
//! 8. `ledger`: the lock, the last operations, the holds, the history.
//! 9. `report`: statuses, conditions, Events.
//! 10. `decide` and beside it `creation`, `finalizers`, `orphaned_deletion`: the actions, in their order.
//! 11. `forecast`: what will become of a cluster, by all of the above.
//!
//! `tests/layers.rs` holds the code to this list.

mod action;
mod creation;
mod decide;
mod desired;
mod edit;
mod errors;
mod facts;
mod finalizers;
pub mod forecast;
mod gate;
mod ledger;
pub mod messages;
mod names;
pub mod node_steps;
mod orphaned_deletion;
mod plan;
mod planning;
mod report;
pub mod rollout;
mod settings;
mod snapshot;
mod steps;
pub mod template;
mod text;
mod transition;

pub use action::Action;
pub use decide::decide;
pub use finalizers::owned_by_nothing;
pub use gate::{SpecChange, excludes, refusal};
pub use plan::{ControlPlaneGoal, Job, PoolGoal, Stage};
pub use report::{Note, failed_without_target, stalled};
pub use settings::NodeSettings;
pub use snapshot::{
    ControlPlaneView, NodeView, ObjectId, Observation, Progress, Snapshot, StepReport, Stop, Work,
};
pub use steps::CONTROL_PLANE_STEP;

#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod properties;
