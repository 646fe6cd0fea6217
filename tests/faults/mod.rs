//! Faults below an operator's client: a layer that sees each request before it is sent, and each answer before the
//! operator does. The API server behind it is a real one.

mod call;
mod events;
mod layer;
mod operator;
mod plan;

/// The kinds that an operator watches.
pub const WATCHED: [&str; 6] = [
    "managedclusters",
    "agentpools",
    "operations",
    "nodes",
    "poddisruptionbudgets",
    "kwokcontrolplanes",
];

// Each of these is used by some of the tests and benchmarks that have this module.
#[allow(unused_imports)]
pub use {
    call::Call,
    events::Stream,
    layer::Faults,
    operator::Operator,
    plan::{Fault, Plan},
};
