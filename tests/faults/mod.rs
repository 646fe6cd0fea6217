//! Faults beneath an operator's client: a layer that sees each request before it is sent and each answer
//! before the operator does. The API server behind it is a real one.

mod call;
mod events;
mod layer;
mod operator;
mod plan;

pub use call::Call;
pub use events::Stream;
pub use layer::Faults;
pub use operator::Operator;
pub use plan::{Fault, Plan};
