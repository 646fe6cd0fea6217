//! What admission and the CRDs refuse, and the messages of the refusals.

pub mod api;
pub mod differential;
pub mod force;
pub mod labels;
pub mod nodes;
pub mod race;
pub mod refusals;
pub mod rights;
pub mod threats;
