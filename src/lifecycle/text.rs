//! Texts that people and other programs give: bounded where they enter a status. An object that grows
//! beyond what etcd takes can't be written any more, and an operation that can't be written never ends.

use crate::api::{
    Blocked, Cancellation, ErrorDetail, LONGEST_TEXT, OperationError, OperationStatus, Step,
};

/// The text, cut to [`LONGEST_TEXT`] characters.
pub fn bounded(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

fn bound(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(LONGEST_TEXT) {
        text.truncate(at);
    }
}

/// Bounds every text of an Operation's status. A field that is added doesn't compile here until someone
/// has decided about it.
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
        arrival: _,
        target_generation: _,
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
    if let Some(Cancellation {
        status: _,
        reason,
        policy: _,
        requested_by,
        requested_at: _,
        accepted_at: _,
        replaced_by: _,
    }) = cancellation
    {
        bound(reason);
        bound(requested_by);
    }
}

/// How many details of an error are kept.
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
    fn a_text_is_cut_at_a_character_and_not_within_one() {
        let long = "ä".repeat(LONGEST_TEXT + 1);
        assert_eq!(bounded(&long).chars().count(), LONGEST_TEXT);
        assert_eq!(bounded("short"), "short");
        let mut same = long.clone();
        bound(&mut same);
        assert_eq!(same, bounded(&long));
    }
}
