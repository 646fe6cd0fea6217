//! Limits for texts from people and other programs: before they enter a status, they are cut and their control
//! characters become blanks. An object larger than etcd accepts can't be written, and neither can one whose server-side
//! apply isn't valid YAML. An operation that can't be written never ends.

use crate::api::{
    Blocked, Cancellation, ErrorDetail, Force, LONGEST_TEXT, OperationError, OperationStatus, Step,
};

/// Returns the text, cut to [`LONGEST_TEXT`] characters, with blanks for characters that YAML doesn't allow.
pub fn bounded(text: &str) -> String {
    let printable = |letter: char| if is_unprintable(letter) { ' ' } else { letter };
    text.chars().take(LONGEST_TEXT).map(printable).collect()
}

/// Joins a text and the sentence that follows it. The text may come from another program, and may already end with a
/// full stop: there is never a second one.
pub fn join_sentences(text: &str, next: &str) -> String {
    let text = text.trim_end();
    let without_brackets = text.trim_end_matches(['"', '\'', ')', ']']);
    match without_brackets.chars().last() {
        None if text.is_empty() => next.to_owned(),
        Some('.' | '!' | '?') => format!("{text} {next}"),
        _ => format!("{text}. {next}"),
    }
}

fn is_unprintable(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{FFFE}' | '\u{FFFF}')
}

fn bound(text: &mut String) {
    if text.len() > LONGEST_TEXT || text.contains(is_unprintable) {
        *text = bounded(text);
    }
}

/// Bounds every text of an Operation's status. A new field doesn't compile here until someone has decided how to
/// treat it.
pub fn bound_status(status: &mut OperationStatus) {
    let OperationStatus {
        phase: _,
        percent_complete: _,
        start_time: _,
        end_time: _,
        steps,
        plan: _,
        blocked,
        error,
        cancellation,
        observed_abort: _,
        force,
        observed_force: _,
        arrival: _,
        target_generation: _,
        asked_before: _,
        conditions: _,
        observed_generation: _,
    } = status;
    for Step { message, .. } in steps {
        bound(message);
    }
    if let Some(Blocked {
        reason,
        message,
        since: _,
    }) = blocked
    {
        bound(reason);
        bound(message);
    }
    if let Some(error) = error {
        bound_error(error);
    }
    if let Some(Force {
        status: _,
        until: _,
        requested_by,
        accepted_at: _,
        ended_at: _,
        message,
        pod_count: _,
        // Kubernetes has checked these names.
        pods: _,
    }) = force
    {
        bound(requested_by);
        bound(message);
    }
    if let Some(Cancellation {
        status: _,
        reason,
        policy: _,
        requested_by,
        requested_at: _,
        accepted_at: _,
        replaced_by: _,
        left_behind,
    }) = cancellation
    {
        bound(reason);
        bound(requested_by);
        bound_details(left_behind);
    }
}

/// The maximum number of details of an error.
const MOST_DETAILS: usize = 20;

fn bound_error(error: &mut OperationError) {
    let OperationError {
        code,
        message,
        subcode,
        details,
    } = error;
    bound(code);
    bound(message);
    bound(subcode);
    bound_details(details);
}

fn bound_details(details: &mut Vec<ErrorDetail>) {
    details.truncate(MOST_DETAILS);
    for ErrorDetail {
        code,
        message,
        target,
    } in details
    {
        bound(code);
        bound(message);
        bound(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = "ä".repeat(LONGEST_TEXT + 1);
        assert_eq!(bounded(&long).chars().count(), LONGEST_TEXT);
        assert_eq!(bounded("short"), "short");
        let mut same = long.clone();
        bound(&mut same);
        assert_eq!(same, bounded(&long));
    }

    #[test]
    fn a_text_keeps_only_characters_that_the_api_server_accepts() {
        let mut text = "a\u{1b}[31m\u{7f}\u{9b}\u{feff}\u{ffff}b\n".to_owned();
        bound(&mut text);
        assert_eq!(text, "a [31m  \u{feff} b ");
    }

    #[test]
    fn sentences_are_joined_by_one_full_stop() {
        for (text, joined) in [
            ("it is rolling back", "it is rolling back. Wait"),
            ("It is rolling back.", "It is rolling back. Wait"),
            ("it is rolling back.\n", "it is rolling back. Wait"),
            ("Is it rolling back?", "Is it rolling back? Wait"),
            ("it said \"no.\"", "it said \"no.\" Wait"),
            ("it said (no)", "it said (no). Wait"),
            (" ", "Wait"),
        ] {
            assert_eq!(join_sentences(text, "Wait"), joined);
        }
    }
}
