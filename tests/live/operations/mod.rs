//! What each type of operation does, how it fails, and what its status records.

pub mod concurrency;
pub mod create;
pub mod delete;
pub mod failure;
pub mod force;
pub mod history;
pub mod hold;
pub mod preflight;
pub mod progress;
pub mod requested;
pub mod rollback;
pub mod scale;
pub mod soak;
pub mod start_stop;
pub mod timeout;
pub mod undrainable;
pub mod update;
pub mod upgrade;
pub mod windows;
