//! AKS clusters that Belay manages. A fake of Azure gives the answers that were recorded from AKS.

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
