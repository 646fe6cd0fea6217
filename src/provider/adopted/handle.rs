//! Handles identify an operation of a cloud, also after a restart. A handle contains whether the operation is the
//! cluster's or a node pool's, and its id.

use std::fmt;

/// What a handle names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The name of the node pool at the cloud. None for the cluster.
    pub node_pool: Option<String>,
    /// The operation's id. Empty if nothing had to be done, or if the cloud doesn't show an id.
    pub operation: String,
}

/// The prefix of a node pool's handle.
const NODE_POOL: &str = "nodepool/";

impl Handle {
    /// Returns the handle that a text names.
    pub fn parse(text: &str) -> Self {
        let (of, operation) = text.rsplit_once('/').unwrap_or(("", text));
        Self {
            node_pool: of.strip_prefix(NODE_POOL).map(ToOwned::to_owned),
            operation: operation.to_owned(),
        }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node_pool {
            Some(node_pool) => write!(formatter, "{NODE_POOL}{node_pool}/{}", self.operation),
            None => write!(formatter, "cluster/{}", self.operation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Handle;

    #[test]
    fn a_handle_survives_writing_and_reading() {
        for text in ["cluster/0a-1b", "nodepool/np1/0a-1b", "nodepool/np1/"] {
            assert_eq!(Handle::parse(text).to_string(), text);
        }
    }
}
