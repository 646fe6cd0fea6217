//! EKS clusters under Belay's operations, on a fake of AWS that verifies signatures and answers as AWS documents it.

mod abort;
mod adopt;
mod operations;
mod others;
mod outages;
mod stage;

pub use abort::*;
pub use adopt::*;
pub use operations::*;
pub use others::*;
pub use outages::*;
