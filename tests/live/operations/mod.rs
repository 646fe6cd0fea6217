//! What each operation does, how it fails, and what it records.

pub mod asked;
pub mod concurrency;
pub mod create;
pub mod delete;
pub mod failure;
pub mod history;
pub mod hold;
pub mod progress;
pub mod rollback;
pub mod scale;
pub mod soak;
pub mod start_stop;
pub mod timeout;
pub mod update;
pub mod upgrade;
