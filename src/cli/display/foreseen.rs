//! What will be in the way of an operation, in words.

use crate::{
    api::OperationStatus,
    cli::{cluster::view::condition, terminal::look::Look},
    lifecycle::{Finding, PREFLIGHT, Preflight},
};

/// What separates two findings in a condition's message.
const BETWEEN: &str = "`); ";

/// Returns each finding with the command that helps, and what couldn't be looked at. `indent` is before each line.
pub fn lines(preflight: &Preflight, look: &Look, indent: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let (first, next) = (format!("{indent}- "), format!("{indent}  "));
    for Finding { message, help, .. } in &preflight.findings {
        lines.push(look.warn(&look.wrap(&first, &next, &format!("{message}."))));
        lines.push(format!("{next}{}", look.other_command(help)));
    }
    for unseen in &preflight.unseen {
        lines.push(look.wrap(indent, &next, &format!("Not looked at: {unseen}.")));
    }
    lines
}

/// Returns what an Operation's condition reports to be in its way, one text for each finding. Empty if that no longer
/// matters: something blocks the Operation already, or it has ended.
pub fn of_operation(status: &OperationStatus) -> Vec<String> {
    let matters = status.blocked.is_none() && !status.phase.is_finished();
    let condition = condition(&status.conditions, PREFLIGHT);
    let found = condition.filter(|it| matters && it.status == "False");
    let message = found.map_or("", |found| found.message.as_str());
    let mut findings: Vec<String> = message
        .split(BETWEEN)
        .filter(|finding| !finding.is_empty())
        .map(ToOwned::to_owned)
        .collect();
    let last = findings.len().saturating_sub(1);
    for finding in &mut findings[..last] {
        finding.push_str("`)");
    }
    findings
}
