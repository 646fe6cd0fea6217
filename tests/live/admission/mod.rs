//! What the API server refuses, and why.

pub mod api;
pub mod differential;
pub mod labels;
pub mod nodes;
pub mod race;
pub mod refusals;
pub mod rights;
pub mod threats;
