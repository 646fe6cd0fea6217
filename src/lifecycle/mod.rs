//! The core decides which operation is needed, whether it may start, what happens next, and how it ends.
//!
//! All of it is pure. [`decide`] takes a [`Snapshot`] of one cluster and returns, as [`Action`]s, what the shell has
//! to write and do. It knows no clock, no client and no task, so a table, a property test or a model checker can
//! drive it without a cluster.
//!
//! Dependencies go in one direction: a module uses only modules above it in this list.
//!
//! 1. `observed`: what a provider observes. `preflight`: what will be in the way of an operation. `plan`: what an
//!    Operation has to bring about, as its status records it. `rules`: what the core asks a provider about itself.
//!    `snapshot`: the complete input.
//! 2. `steps`: the steps of an operation. `windows`: when maintenance windows are open.
//! 3. `facts`: the desired and the observed state of each target; who asked for each Operation, and when.
//! 4. `desired`: what each target needs.
//! 5. `gate`: whether an operation may start. One ordered list of rules.
//! 6. `planning`: the plan of an operation that begins.
//! 7. `transition`: the next status of each Operation.
//! 8. `ledger`: the lock, the last operations, the holds, the history.
//! 9. `report`: statuses, conditions, Events.
//! 10. `decide` and beside it `creation`, `finalizers`, `orphaned_deletion`: the actions, in their order.
//! 11. `forecast`: what will happen to a cluster, computed with all of the above.
//!
//! `tests/layers.rs` enforces this list.

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
mod preflight;
mod report;
mod rules;
mod settings;
mod snapshot;
pub mod step_names;
mod steps;
pub mod template;
mod text;
mod transition;
pub mod windows;

pub use action::Action;
pub use decide::{decide, due_at};
pub use facts::forced_until;
pub use finalizers::owned_by_nothing;
pub use gate::{SpecChange, excludes, is_too_old, refusal};
pub use names::suffixed;
pub use observed::{BegunByOthers, ControlPlaneView, NodeView, Observation, Trouble, Undrainable};
pub use plan::{ControlPlaneGoal, Followed, Job, PoolGoal, Stage, UndrainableNodes};
pub use planning::surge_of;
pub use preflight::{Finding, FindingKind, PREFLIGHT, Preflight};
pub use report::{Note, failed_without_target, stalled};
pub use rules::{Rules, one_step};
pub use settings::NodeSettings;
pub use snapshot::{ObjectId, Progress, Snapshot, StepReport, Stop, Work};
pub use text::join_sentences;

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
