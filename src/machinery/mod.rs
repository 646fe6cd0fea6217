//! What every layer uses: the clock, the names that Belay writes under, the connection, watches and what
//! they fill.

pub mod clock;
pub mod connection;
pub mod index;
pub mod watches;

/// The name that Belay writes under.
pub const FIELD_MANAGER: &str = "belay";

/// The name that a person's Operation is written into a spec under.
pub const SPEC_MANAGER: &str = "belay-operation";
