//! CEL expressions that several policies use. Arguments and results are expressions.

use crate::lifecycle::messages::{DAYS_AND, refusal};

use super::policy::Refusal;

/// The message of the first refusal that applies. Empty if none applies.
pub fn first_of(refusals: &[Refusal]) -> String {
    let each = refusals
        .iter()
        .map(|refusal| format!("{}\n? {}\n: ", refusal.when, refusal.message));
    format!("{}\"\"", each.collect::<String>())
}

/// Returns whether a new pool pins a version. A field that is null is there for CEL, and means none.
pub fn pins_version() -> String {
    let version = "object.spec.kubernetesVersion";
    format!("has({version}) && type({version}) == string")
}

/// Converts a version to a number. Two versions compare as their numbers do.
pub fn rank(version: &str) -> String {
    format!(
        "[{version}.split(\".\")].map(n, int(n[0]) * 10000000000 + int(n[1]) * 100000 + int(n[2]))[0]"
    )
}

/// The minor version of a version, as a number.
pub fn minor(version: &str) -> String {
    format!("int({version}.split(\".\")[1])")
}

/// The older of two versions.
pub fn older(a: &str, b: &str) -> String {
    format!("({} <= {} ? {a} : {b})", rank(a), rank(b))
}

/// Whether a pool with version `pool` is too old for a control plane with version `control_plane`.
pub fn is_too_old(control_plane: &str, pool: &str) -> String {
    format!("{} - {} > 3", minor(control_plane), minor(pool))
}

/// The end of a refusal: how much time has passed since `since`. Empty if the current time `now` isn't known.
pub fn elapsed_text(now: Option<&str>, since: &str, in_days: bool) -> String {
    let Some(now) = now else { return String::new() };
    let passed =
        format!("[{now} - timestamp({since})].map(d, d < duration(\"0s\") ? duration(\"0s\") : d)");
    let padded = ".map(n, n < 10 ? \"0\" + string(n) : string(n)).join(\":\")";
    let text = if in_days {
        format!(
            "{passed}.map(d, string(d.getHours() / 24) + \"{DAYS_AND}\" + [d.getHours() % 24, d.getMinutes() % 60, d.getSeconds() % 60]{padded})[0]"
        )
    } else {
        format!(
            "{passed}.map(d, [d.getHours(), d.getMinutes() % 60, d.getSeconds() % 60]{padded})[0]"
        )
    };
    format!(" + {}", refusal::ELAPSED.cel(&[("elapsed", &text)]))
}

/// The expression, or an empty text if `since` is empty.
pub fn if_known(since: &str, text: &str) -> String {
    format!("({since} != \"\" ? {text} : \"\")")
}

/// Whether the target's status shows that the target is as its spec says.
pub fn is_settled(target: &str) -> String {
    format!(
        "{target}.?status.?observedGeneration.orValue(0) == {target}.metadata.generation && {target}.?status.?conditions.orValue([]).exists(c, c.type == \"Ready\" && c.status == \"True\")"
    )
}
