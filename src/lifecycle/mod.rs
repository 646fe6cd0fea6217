//! The core: which operation, may it start, what next, how it ends.
//!
//! All of it is pure. [`decide`] takes a [`Snapshot`] of one cluster and returns, as [`Action`]s, what is
//! to be written and done. It knows no clock, no client and no task; so a table, a property test or a
//! model checker can drive it without a cluster.
//!
//! It works in one direction; a module uses those above it in this list, and none below:
//!
//! 1. `observed`: what a provider observes. `plan`: what an Operation is to bring about, as its status keeps it.
//!    `rules`: what the core asks a provider about its own ways. `snapshot`: all that there is.
//! 2. `steps`: the steps of an operation.
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
mod leftovers;
pub mod managed_fields;
pub mod messages;
mod names;
mod observed;
mod orphaned_deletion;
mod plan;
mod planning;
mod report;
mod rules;
mod settings;
mod snapshot;
pub mod step_names;
mod steps;
pub mod template;
mod text;
mod transition;

pub use action::Action;
pub use decide::decide;
pub use finalizers::owned_by_nothing;
pub use gate::{SpecChange, excludes, refusal};
pub use names::suffixed;
pub use observed::{BegunByOthers, ControlPlaneView, NodeView, Observation, Trouble};
pub use plan::{ControlPlaneGoal, Followed, Job, PoolGoal, Stage};
pub use report::{Note, failed_without_target, stalled};
pub use rules::{Rules, one_step};
pub use settings::NodeSettings;
pub use snapshot::{ObjectId, Progress, Snapshot, StepReport, Stop, Work};

#[cfg(test)]
mod decide_tests;
#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod model;
#[cfg(test)]
mod properties;
