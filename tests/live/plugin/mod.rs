//! The kubectl plugin as users run it.

pub mod commands;
pub mod plain;
pub mod plan;
