//! The core: which operation, may it start, what next, how it ends.
//!
//! All of it is pure. [`decide`] takes a [`Snapshot`] of one cluster and tells, as [`Action`]s, what is
//! to be written and done. It knows no clock, no client and no task; so a table, a property test or a
//! model checker can drive it without a cluster.

mod abort;
mod action;
mod ask;
mod conditions;
mod creation;
mod decide;
mod edit;
mod finalizers;
pub mod forecast;
mod history;
mod hold;
mod job;
mod lock;
pub mod messages;
mod names;
mod need;
pub mod node_steps;
mod notes;
mod objection;
mod phase;
mod power;
pub mod rollout;
mod scale_refusal;
mod settings;
mod snapshot;
mod status;
mod steps;
pub mod template;

pub use abort::{AbortPolicy, AbortRequest};
pub use action::{Action, Note, ObjectId};
pub use ask::SpecChange;
pub use conditions::stalled;
pub use decide::decide;
pub use finalizers::owned_by_nothing;
pub use job::{ControlPlaneGoal, Job, PoolGoal, Stage};
pub use lock::excludes;
pub use phase::failed_without_target;
pub use settings::NodeSettings;
pub use snapshot::{
    ControlPlaneView, NodeView, Observation, Progress, Snapshot, StepReport, Stop, Work,
};
pub use steps::CONTROL_PLANE_STEP;

#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod properties;
