//! Which of several operators works: the one that holds a Lease. It renews the Lease, and stops before
//! another may take it. Operators that divide the clusters into shards hold that Lease together, and elect one of them
//! for each shard by another Lease.
//!
//! No crate is used for it: the one for this kube renews without the resourceVersion, and where the API
//! server can't be reached it doesn't say that the lease is over.

mod candidate;
mod election;
mod fence;
mod identity;
mod members;
mod moment;
mod share;

pub use candidate::{LEASE, STOP};
pub use election::{Election, LOOK, Lost};
pub use fence::{Fence, Fenced};
pub use identity::new_identity;
pub use moment::Moment;
pub use share::fair_share;
