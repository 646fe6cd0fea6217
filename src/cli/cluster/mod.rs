//! The plugin's connection to the API server, and what it reads there.

pub mod connection;
pub mod errors;
pub mod foresee;
pub mod manifests;
pub mod pause;
pub mod session;
pub mod target;
pub mod view;
pub mod watch;
