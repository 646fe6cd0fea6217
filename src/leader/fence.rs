//! Blocks all writes while this process isn't the leader. Every write carries its resourceVersion as well. But a
//! process that was paused would send its pending writes before it notices that it lost the lease.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Method, Request};
use tokio::sync::watch;
use tower::{BoxError, Layer, Service};

use super::Moment;

/// Why a write wasn't sent.
#[derive(Debug, thiserror::Error)]
#[error("not sent: this process is not the leader, or no longer the leader")]
struct NotLeading;

/// Until when writes pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// This process runs alone, without an election.
    Always,
    Then(Moment),
    Never,
}

/// Decides for each write whether it passes.
#[derive(Clone)]
pub struct Fence(Arc<State>);

struct State {
    until: Mutex<Until>,
    /// Another fence that has to be open as well.
    around: Option<Fence>,
    in_flight: watch::Sender<usize>,
}

impl Fence {
    /// Returns a fence that lets all writes pass, for a process that runs alone.
    pub fn open() -> Self {
        Self::new(Until::Always, None)
    }

    /// Returns a fence that lets no write pass before [`Fence::extend`].
    pub fn closed() -> Self {
        Self::new(Until::Never, None)
    }

    /// Returns a fence like [`Fence::closed`] that lets writes pass only while `around` is open too.
    pub fn closed_within(around: &Self) -> Self {
        Self::new(Until::Never, Some(around.clone()))
    }

    fn new(until: Until, around: Option<Self>) -> Self {
        Self(Arc::new(State {
            until: Mutex::new(until),
            around,
            in_flight: watch::channel(0).0,
        }))
    }

    /// Lets writes pass until that moment.
    pub fn extend(&self, until: Moment) {
        *self.until() = Until::Then(until);
    }

    /// Lets no more writes pass, and waits until the writes in flight are answered.
    pub async fn close(&self) {
        *self.until() = Until::Never;
        // It can't fail: the state itself owns the sender.
        let _ = self.0.in_flight.subscribe().wait_for(|n| *n == 0).await;
    }

    /// Returns whether this process leads now.
    pub fn is_open(&self, now: Moment) -> bool {
        is_open(*self.until(), now) && self.is_open_around(now)
    }

    fn is_open_around(&self, now: Moment) -> bool {
        let around = self.0.around.as_ref();
        around.is_none_or(|around| around.is_open(now))
    }

    /// Lets a write pass if the fence is open. The caller keeps the result until the write is answered.
    fn pass(&self, now: Moment) -> Option<Passing> {
        // The lock is held until the write is counted, so that `close` waits for the write.
        let until = self.until();
        let is_open = is_open(*until, now) && self.is_open_around(now);
        is_open.then(|| {
            self.0.in_flight.send_modify(|n| *n += 1);
            Passing(self.0.clone())
        })
    }

    fn until(&self) -> std::sync::MutexGuard<'_, Until> {
        self.0.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_open(until: Until, now: Moment) -> bool {
    match until {
        Until::Always => true,
        Until::Then(until) => until.is_ahead_of(&now),
        Until::Never => false,
    }
}

struct Passing(Arc<State>);

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.in_flight.send_modify(|n| *n -= 1);
    }
}

impl<S> Layer<S> for Fence {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Fenced<S> {
        Fenced {
            inner,
            fence: self.clone(),
        }
    }
}

/// A client's service whose writes have to pass the fence.
#[derive(Clone)]
pub struct Fenced<S> {
    inner: S,
    fence: Fence,
}

impl<S, B> Service<Request<B>> for Fenced<S>
where
    S: Service<Request<B>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return Box::pin(self.inner.call(request));
        }
        let Some(passing) = self.fence.pass(Moment::now()) else {
            return Box::pin(async { Err(NotLeading.into()) });
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(passing);
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    fn request(method: Method) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        request
    }

    #[tokio::test]
    async fn only_reads_pass_if_this_process_does_not_lead() {
        let service = tower::service_fn(|_: Request<()>| async { Ok::<_, BoxError>(()) });
        let now = Moment::now();
        let slept = Fence::closed();
        slept.extend(now);
        let leads = Fence::closed();
        leads.extend(now.after(Duration::from_mins(1)));
        let stopped = Fence::open();
        stopped.close().await;
        let within = |around: &Fence| {
            let fence = Fence::closed_within(around);
            fence.extend(now.after(Duration::from_mins(1)));
            fence
        };
        let cases = [
            ("alone", Fence::open(), true),
            ("not yet leading", Fence::closed(), false),
            ("leading", leads, true),
            ("its time is over", slept, false),
            ("stopped", stopped, false),
            ("within an open one", within(&Fence::open()), true),
            ("within a closed one", within(&Fence::closed()), false),
        ];
        for (case, fence, writes) in cases {
            assert_eq!(fence.is_open(now), writes, "{case}");
            let mut fenced = fence.layer(service);
            assert!(fenced.call(request(Method::GET)).await.is_ok(), "{case}");
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let passed = fenced.call(request(method.clone())).await.is_ok();
                assert_eq!(passed, writes, "{case}: {method}");
            }
        }
    }

    #[tokio::test]
    async fn closing_waits_for_writes_in_flight_but_not_for_reads() {
        let (answer, answered) = watch::channel(false);
        let service = tower::service_fn(move |_: Request<()>| {
            let mut answered = answered.clone();
            async move {
                answered.wait_for(|answered| *answered).await?;
                Ok::<_, BoxError>(())
            }
        });
        let fence = Fence::open();
        let mut fenced = fence.layer(service);
        let read = fenced.call(request(Method::GET));
        let write = fenced.call(request(Method::PATCH));
        let mut closing = std::pin::pin!(fence.close());
        assert!(closing.as_mut().now_or_never().is_none());
        answer.send_replace(true);
        write.await.expect("answered");
        closing.as_mut().now_or_never().expect("closed");
        drop(read);
    }
}
