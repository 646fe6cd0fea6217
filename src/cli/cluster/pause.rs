//! A pause: an abort after the step in progress. Its reason shows that someone means to go on later.

use crate::api::Hold;

/// The first word of a pause's reason.
const PAUSED: &str = "paused";

/// Returns the reason of a pause: `paused`, or `paused: lunch`.
pub fn reason(why: Option<&str>) -> String {
    why.map_or_else(|| PAUSED.to_owned(), |why| format!("{PAUSED}: {why}"))
}

/// Returns why someone paused an operation, from the reason of its abort. Empty if they gave no reason; None if it
/// wasn't a pause.
pub fn why(reason: &str) -> Option<&str> {
    match reason.strip_prefix(PAUSED)? {
        "" => Some(""),
        rest => rest.strip_prefix(": "),
    }
}

/// Returns why someone paused what is on hold. None if a failure or another abort caused the hold.
pub fn why_held(hold: &Hold) -> Option<&str> {
    why_ended(&hold.message)
}

/// Returns why someone paused an operation, from the message of its end. None if it ended in another way.
pub fn why_ended(message: &str) -> Option<&str> {
    why(message.strip_prefix("canceled: ")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reason_with_the_prefix_is_a_pause() {
        assert_eq!(why(&reason(None)), Some(""));
        assert_eq!(why(&reason(Some("lunch"))), Some("lunch"));
        assert_eq!(why("paused by mistake"), None);
        assert_eq!(why("stuck on a PDB"), None);
    }
}
