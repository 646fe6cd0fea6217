//! Takes the clusters that changed from a provider to the controller.

use std::sync::{Mutex, PoisonError};

use futures::{StreamExt as _, stream::BoxStream};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::api::ManagedCluster;

/// Sends clusters that changed.
pub type Changed = mpsc::UnboundedSender<ObjectRef<ManagedCluster>>;

/// The clusters that were sent, until the controller takes them.
pub struct Changes(Mutex<Option<mpsc::UnboundedReceiver<ObjectRef<ManagedCluster>>>>);

impl Changes {
    /// Returns the sender, and the changes, which are empty at first.
    pub fn new() -> (Changed, Self) {
        let (changed, changes) = mpsc::unbounded_channel();
        (changed, Self(Mutex::new(Some(changes))))
    }

    /// Returns the stream of everything that is sent. Only the first call gets it. Later calls get a stream that stays
    /// empty.
    pub fn take(&self) -> BoxStream<'static, ObjectRef<ManagedCluster>> {
        let mut changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match changes.take() {
            Some(changes) => UnboundedReceiverStream::new(changes).boxed(),
            None => futures::stream::pending().boxed(),
        }
    }
}
