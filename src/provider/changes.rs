//! The clusters of which something changed, on their way from a provider to the controller.

use std::sync::{Mutex, PoisonError};

use futures::{StreamExt as _, stream::BoxStream};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::api::ManagedCluster;

/// Where clusters are sent of which something changed.
pub type Changed = mpsc::UnboundedSender<ObjectRef<ManagedCluster>>;

/// What was sent, until the controller takes it.
pub struct Changes(Mutex<Option<mpsc::UnboundedReceiver<ObjectRef<ManagedCluster>>>>);

impl Changes {
    /// Nothing yet, and where to send it.
    pub fn new() -> (Changed, Self) {
        let (changed, changes) = mpsc::unbounded_channel();
        (changed, Self(Mutex::new(Some(changes))))
    }

    /// All that is sent. Taken once; after that nothing comes.
    pub fn take(&self) -> BoxStream<'static, ObjectRef<ManagedCluster>> {
        let mut changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match changes.take() {
            Some(changes) => UnboundedReceiverStream::new(changes).boxed(),
            None => futures::stream::pending().boxed(),
        }
    }
}
