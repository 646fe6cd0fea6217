//! Leader election: of several operators, only the one that holds a Lease works. It renews the Lease, and stops before
//! another operator may take it. Operators that divide the clusters into shards hold that Lease together, and elect one
//! of them for each shard with another Lease.
//!
//! Belay doesn't use a crate for it: the crate for this version of kube renews without the resourceVersion, and doesn't
//! report that the lease is over while the API server can't be reached.

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
