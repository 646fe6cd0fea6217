//! Which of several operators works: the one that holds a Lease. It renews the Lease, and stops before
//! another may take it.
//!
//! No crate is used for it: the one for this kube renews without the resourceVersion, and where the API
//! server can't be reached it doesn't say that the lease is over.

mod candidate;
mod election;
mod fence;
mod identity;
mod moment;

pub use candidate::{LEASE, STOP};
pub use election::{Election, Lost};
pub use fence::{Fence, Fenced};
pub use identity::new_identity;
pub use moment::Moment;
