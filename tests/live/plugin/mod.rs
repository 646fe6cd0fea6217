//! The kubectl plugin as users run it.

pub mod check;
pub mod commands;
pub mod fleet;
pub mod force;
pub mod pause;
pub mod plain;
pub mod plan;
pub mod report;
