//! Faults for an operator in the test's process: a layer of its client sees each request before it is sent, and each
//! answer before the operator gets it. The API server is a real one.

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

// Not all tests and benchmarks with this module use all of these.
#[allow(unused_imports)]
pub use {
    call::Call,
    events::Stream,
    layer::Faults,
    operator::Operator,
    plan::{Fault, Plan},
};
