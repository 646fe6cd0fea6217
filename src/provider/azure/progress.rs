//! How far an operation of AKS is, and how it ended.

use serde_json::Value;

use crate::{
    api::OperationError,
    provider::engine::{Running, State},
};

use super::resource::Properties;

/// Returns the state of an operation, from its resource and, if Azure shows it, from the operation itself. The
/// operation decides: its resource may be in the middle of the next one.
pub fn state(resource: &Value, operation: Option<&Value>) -> State {
    let now = Properties(&resource["properties"]);
    let status = operation.and_then(|operation| operation["status"].as_str());
    match (status, now.state()) {
        (Some("Succeeded"), _) if !now.is_moving() => State::Done,
        (Some("Failed"), _) | (None, "Failed") => State::Failed(failure(operation)),
        (Some("Canceled"), _) | (None, "Canceled") => State::Stopped,
        (None, "Succeeded") => State::Done,
        (_, doing) => State::Running(running(doing, operation)),
    }
}

fn running(doing: &str, operation: Option<&Value>) -> Running {
    let percent = operation.and_then(|operation| operation["percentComplete"].as_f64());
    // AKS reports tenths of a percent.
    #[expect(clippy::cast_possible_truncation, reason = "it is clamped")]
    let percent = percent.map(|percent| percent.clamp(0.0, 99.0) as i32);
    Running {
        percent,
        message: format!("AKS reports {doing}"),
        ..Running::default()
    }
}

/// Returns why an operation failed, in the words of AKS.
fn failure(operation: Option<&Value>) -> OperationError {
    let text = |field: &str| operation?["error"][field].as_str();
    OperationError::new(
        text("code").unwrap_or("Failed"),
        text("message")
            .unwrap_or("AKS reports a failure and gives no reason: see the activity log of the cluster in Azure")
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_result_of_an_operation_follows_from_it_and_its_resource() {
        let drain = json!({"code": "PodDrainFailure", "message": "web-1 has a budget"});
        for (resource, operation, end) in [
            ("Succeeded", Some(json!({"status": "Succeeded"})), "Done"),
            ("Succeeded", None, "Done"),
            ("Canceled", None, "Stopped"),
            ("Canceled", Some(json!({"status": "Canceled"})), "Stopped"),
            ("Upgrading", None, "Running"),
            (
                "Upgrading",
                Some(json!({"status": "InProgress", "percentComplete": 33.4})),
                "Running",
            ),
            // The resource may have been read earlier.
            (
                "Succeeded",
                Some(json!({"status": "InProgress"})),
                "Running",
            ),
            (
                "Failed",
                Some(json!({"status": "Failed", "error": drain})),
                "PodDrainFailure",
            ),
            ("Failed", None, "Failed"),
            // Somebody has begun the next one.
            ("Scaling", Some(json!({"status": "Canceled"})), "Stopped"),
            ("Scaling", Some(json!({"status": "Succeeded"})), "Running"),
        ] {
            let resource = json!({"properties": {"provisioningState": resource}});
            let ended = match state(&resource, operation.as_ref()) {
                State::Running(_) => "Running".to_owned(),
                State::Done => "Done".into(),
                State::Stopped => "Stopped".into(),
                State::Failed(error) => error.code,
            };
            assert_eq!(ended, end, "{resource} {operation:?}");
        }
    }

    #[test]
    fn azures_percentage_is_shown_and_is_never_100_before_the_end() {
        let resource = json!({"properties": {"provisioningState": "Upgrading"}});
        for (percent, shown) in [
            (json!(33.4), Some(33)),
            (json!(100.0), Some(99)),
            (Value::Null, None),
        ] {
            let operation = json!({"status": "InProgress", "percentComplete": percent});
            let State::Running(running) = state(&resource, Some(&operation)) else {
                panic!("it goes on")
            };
            assert_eq!(running.percent, shown);
        }
    }
}
