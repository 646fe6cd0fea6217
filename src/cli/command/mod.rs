//! The commands, each in a file or folder of its own: its flags, what it does, and what only it shows.
//!
//! A new command needs a file here with its flags and a function `run`, and a line in [`super::Command`].

pub mod abort;
pub mod adopt;
pub mod change;
pub mod check;
pub mod completion;
pub mod force;
pub mod operation;
pub mod pause;
pub mod plan;
pub mod reference;
pub mod report;
pub mod status;
pub mod wait;
pub mod why;

use std::time::Duration;

use crate::api::OperationType;

/// The exit code after Ctrl-C, as shells use it.
const INTERRUPTED: u8 = 130;

/// Parses a type of operations, such as `Upgrade`, in any case.
fn operation_type(text: &str) -> Result<OperationType, String> {
    let is_meant = |type_: &OperationType| format!("{type_:?}").eq_ignore_ascii_case(text);
    OperationType::ALL
        .into_iter()
        .find(is_meant)
        .ok_or_else(|| {
            let all = OperationType::ALL.map(|type_| format!("{type_:?}"));
            format!("write one of {}", all.join(", "))
        })
}

/// Parses a duration as Kubernetes writes it: `90s`, `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let duration: kube::core::Duration = text
        .parse()
        .map_err(|_| "write a duration such as 90s or 1h30m".to_owned())?;
    Ok(duration.into())
}
