//! AKS clusters that Belay operates, on a fake of Azure that answers as real AKS was recorded to.

mod abort;
mod adopt;
mod inside;
mod operations;
mod others;
mod outages;
mod stage;

pub use abort::*;
pub use adopt::*;
pub use inside::*;
pub use operations::*;
pub use others::*;
pub use outages::*;
