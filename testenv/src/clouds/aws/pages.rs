//! Paged lists.

use serde_json::{Value, json};

use super::{answers::Refusal, call::Call};

/// The prefix of a token for the next page.
const AFTER: &str = "after-";

/// Returns the requested page of a list, with the token for the next page if there is one.
pub(super) fn page(call: &Call, field: &str, all: &[String]) -> Result<Value, Refusal> {
    let size = call.query.get("maxResults").map_or("100", String::as_str);
    let size = size.parse().ok().filter(|size| (1..=100).contains(size));
    let size: usize =
        size.ok_or_else(|| Refusal::parameter("maxResults must be between 1 and 100"))?;
    let begin = match call.query.get("nextToken") {
        None => Some(0),
        Some(token) => token.strip_prefix(AFTER).and_then(|at| at.parse().ok()),
    };
    let begin = begin.filter(|at| *at <= all.len());
    let begin = begin.ok_or_else(|| Refusal::parameter("nextToken is invalid"))?;
    let end = all.len().min(begin + size);
    let mut page = json!({field: all[begin..end]});
    if end < all.len() {
        page["nextToken"] = json!(format!("{AFTER}{end}"));
    }
    Ok(page)
}
