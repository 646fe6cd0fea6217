//! How far an update is, and how it ended.

use aws_sdk_eks::types::{CancellationStatus, Update, UpdateParamType, UpdateStatus, UpdateType};

use crate::{
    api::OperationError,
    lifecycle::join_sentences,
    provider::engine::{Running, State},
};

use super::{resource::Doing, updates::param};

/// Returns the state of an update.
pub fn of_update(update: &Update) -> State {
    match update.status() {
        Some(UpdateStatus::Successful) => State::Done,
        Some(UpdateStatus::Cancelled) => State::Stopped,
        Some(UpdateStatus::Failed) => State::Failed(failure(update)),
        _ => State::Running(Running {
            message: format!("EKS update in progress: {}", what(update)),
            not_stopped: not_stopped(update),
            ..Running::default()
        }),
    }
}

/// Returns the state of something without an update, such as a deletion, or with an update that EKS doesn't know any
/// more.
pub fn of_resource(doing: Doing) -> State {
    let state = match doing {
        Doing::Rests => return State::Done,
        Doing::Updates => "UPDATING",
        Doing::Goes => "DELETING",
        Doing::Comes => "CREATING",
    };
    State::Running(Running {
        message: format!("EKS reports {state}"),
        ..Running::default()
    })
}

/// Returns an update in a few words, such as `VersionUpdate to 1.34`.
fn what(update: &Update) -> String {
    let type_ = update.r#type().map_or("update", UpdateType::as_str);
    match param(update, &UpdateParamType::Version) {
        Some(version) => format!("{type_} to {version}"),
        None => type_.to_owned(),
    }
}

/// Returns why an update goes on although it should be cancelled. None if its cancellation hasn't failed.
fn not_stopped(update: &Update) -> Option<String> {
    let cancellation = update.cancellation()?;
    let has_failed = cancellation.status() == Some(&CancellationStatus::Failed);
    let reason = cancellation.reason().unwrap_or("EKS gives no reason");
    has_failed.then(|| reason.to_owned())
}

/// Returns why an update failed, in the words of EKS.
fn failure(update: &Update) -> OperationError {
    let errors = update.errors();
    let code = errors.first().and_then(|first| first.error_code());
    let words: Vec<_> = errors
        .iter()
        .map(|error| {
            let message = error.error_message().unwrap_or_default();
            let of = error.resource_ids();
            if of.is_empty() {
                message.to_owned()
            } else {
                format!("{message} ({})", of.join(", "))
            }
        })
        .collect();
    let unsaid = "EKS reports a failure and gives no reason: see the cluster's updates in AWS";
    OperationError::new(
        code.map_or("Failed", |code| code.as_str()),
        if words.is_empty() {
            unsaid.to_owned()
        } else {
            let words = words.into_iter();
            let joined = words.reduce(|words, next| join_sentences(&words, &next));
            joined.unwrap_or_default()
        },
    )
}

#[cfg(test)]
mod tests {
    use aws_sdk_eks::types::{Cancellation, ErrorCode, ErrorDetail, UpdateParam};

    use super::*;

    fn update(status: UpdateStatus) -> aws_sdk_eks::types::builders::UpdateBuilder {
        let version = UpdateParam::builder().r#type(UpdateParamType::Version);
        let to = version.value("1.34").build();
        let update = Update::builder().r#type(UpdateType::VersionUpdate);
        update.params(to).status(status)
    }

    #[test]
    fn the_end_of_an_update_follows_from_its_status() {
        let error = ErrorDetail::builder().error_code(ErrorCode::PodEvictionFailure);
        let error = error.error_message("Reached max retries while trying to evict pods");
        let error = error.resource_ids("ip-10-0-0-1.internal").build();
        for (update, end) in [
            (update(UpdateStatus::Successful), "Done"),
            (update(UpdateStatus::Cancelled), "Stopped"),
            (
                update(UpdateStatus::InProgress),
                "EKS update in progress: VersionUpdate to 1.34",
            ),
            (
                update(UpdateStatus::Failed).errors(error),
                "PodEvictionFailure: Reached max retries while trying to evict pods (ip-10-0-0-1.internal)",
            ),
        ] {
            let ended = match of_update(&update.build()) {
                State::Running(running) => running.message,
                State::Done => "Done".into(),
                State::Stopped => "Stopped".into(),
                State::Failed(error) => format!("{}: {}", error.code, error.message),
            };
            assert_eq!(ended, end);
        }
    }

    #[test]
    fn a_failed_cancellation_says_why_the_update_continues() {
        for (status, says) in [
            (CancellationStatus::InProgress, None),
            (
                CancellationStatus::Failed,
                Some("the control plane goes back"),
            ),
        ] {
            let cancellation = Cancellation::builder().status(status);
            let cancellation = cancellation.reason("the control plane goes back").build();
            let update = update(UpdateStatus::InProgress).cancellation(cancellation);
            let State::Running(running) = of_update(&update.build()) else {
                panic!("it goes on")
            };
            assert_eq!(running.not_stopped.as_deref(), says);
        }
    }
}
