//! The layer: it counts requests, and applies faults to some of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::body::{Bytes, HttpBody};
use futures::{
    StreamExt as _,
    future::{self, BoxFuture},
};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::{Body, DynBody};
use tokio::sync::watch;
use tower::{BoxError, Layer, Service};

use super::{
    call::Call,
    events::{self, Order, Stream},
    plan::{Fault, Plan, refusal},
};

/// The faults of an operator, and its requests. Clones share them.
#[derive(Clone)]
pub struct Faults(Arc<State>);

struct State {
    counted: Mutex<Counted>,
    /// The number of the last operator that died.
    died: watch::Sender<usize>,
    /// The number of the frozen operator; 0 if there is none.
    frozen: watch::Sender<usize>,
    /// The number of calls so far.
    number: watch::Sender<usize>,
    /// The orders by resource.
    streams: Mutex<BTreeMap<String, watch::Sender<Order>>>,
}

#[derive(Default)]
struct Counted {
    is_armed: bool,
    plans: Vec<Plan>,
    /// Calls that are always refused: a verb, a resource, and the code of the answer.
    refusals: Vec<(&'static str, String, u16)>,
    /// The calls, each with its time.
    calls: Vec<(Instant, Call)>,
    /// The times at which a watch showed an object, with its resource.
    shown: Vec<(String, Instant)>,
    applied: Vec<(Fault, Call)>,
    /// One in this number of calls fails. Watches don't count.
    failing: Option<usize>,
    asked: usize,
    failed: usize,
    writes: usize,
    /// The number of the current operator, from 1.
    operator: usize,
}

impl Counted {
    /// Records that a watch showed an object of a resource.
    fn record_shown(&mut self, resource: &str) {
        if self.is_armed {
            self.shown.push((resource.to_owned(), Instant::now()));
        }
    }

    /// Returns a fault for one in `failing` calls. The faults take turns.
    fn failure(&mut self, call: &Call) -> Option<Fault> {
        const FAULTS: [Fault; 4] = [
            Fault::Answer(500),
            Fault::LoseAnswer(503),
            Fault::Answer(429),
            Fault::LoseAnswer(500),
        ];
        if call.verb == "watch" {
            return None;
        }
        self.asked += 1;
        let is_failing = self.asked.is_multiple_of(self.failing?);
        self.failed += usize::from(is_failing);
        is_failing.then(|| FAULTS[self.failed % FAULTS.len()])
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(State {
            counted: Mutex::default(),
            died: watch::channel(0).0,
            frozen: watch::channel(0).0,
            number: watch::channel(0).0,
            streams: Mutex::default(),
        }))
    }
}

impl Faults {
    /// Counts from now on, and applies faults to the planned requests.
    pub fn arm(&self, plans: impl IntoIterator<Item = Plan>) {
        let mut counted = self.counted();
        counted.is_armed = true;
        counted.calls.clear();
        counted.shown.clear();
        self.0.number.send_replace(0);
        counted.plans = plans.into_iter().collect();
    }

    /// From now on, answers calls with this verb and resource with this code.
    pub fn refuse(&self, verb: &'static str, resource: &str, code: u16) {
        let rule = (verb, resource.to_owned(), code);
        self.counted().refusals.push(rule);
    }

    /// Stops these refusals.
    pub fn stop_refusing(&self) {
        self.counted().refusals.clear();
    }

    /// From now on, makes one in this number of calls fail: the API server doesn't get it, or its answer is lost.
    pub fn fail_one_in(&self, calls: usize) {
        self.counted().failing = Some(calls);
    }

    /// Returns the number of calls, without watches, and how many of them failed because of `fail_one_in`.
    pub fn asked(&self) -> (usize, usize) {
        let counted = self.counted();
        (counted.asked, counted.failed)
    }

    /// Sets how the watches of a resource behave from now on.
    pub fn order(&self, resource: &str, stream: Stream) {
        let orders = self.orders(resource);
        orders.send_modify(|(number, last)| {
            *number += 1;
            *last = stream;
        });
    }

    /// Returns the calls since the faults were armed.
    pub fn calls(&self) -> Vec<Call> {
        let counted = self.counted();
        counted.calls.iter().map(|(_, call)| call.clone()).collect()
    }

    /// Returns these calls, each with the seconds since the first one.
    pub fn timed_calls(&self) -> Vec<String> {
        let counted = self.counted();
        let Some((started, _)) = counted.calls.first() else {
            return Vec::new();
        };
        let seconds = |at: &Instant| at.duration_since(*started).as_secs_f64();
        let calls = counted.calls.iter();
        calls
            .map(|(at, call)| format!("{:8.3} {call}", seconds(at)))
            .collect()
    }

    /// Whether a watch of a resource showed an object within this time after the call with this number, from 1.
    pub fn has_shown(&self, resource: &str, call: usize, time: Duration) -> bool {
        let counted = self.counted();
        let Some((called, _)) = counted.calls.get(call - 1) else {
            return false;
        };
        let mut shown = counted.shown.iter();
        shown.any(|(of, at)| of == resource && (*called..*called + time).contains(at))
    }

    /// Returns the number of writes of all operators so far.
    pub fn writes(&self) -> usize {
        self.counted().writes
    }

    /// Waits until the call with this number.
    pub async fn wait_for_call(&self, number: usize) {
        let mut counted = self.0.number.subscribe();
        // This cannot fail, because the state holds the sender.
        let _ = counted.wait_for(|counted| *counted >= number).await;
    }

    /// Returns the calls that got a planned fault, with the faults.
    pub fn applied(&self) -> Vec<(Fault, Call)> {
        self.counted().applied.clone()
    }

    /// Returns the layer for the next operator. The previous operator sends no more requests.
    pub fn next_operator(&self) -> OfOperator {
        let mut counted = self.counted();
        self.0.died.send_replace(counted.operator);
        counted.operator += 1;
        OfOperator {
            faults: self.clone(),
            operator: counted.operator,
        }
    }

    /// Kills the current operator.
    pub fn kill(&self) {
        let operator = self.counted().operator;
        self.0.died.send_replace(operator);
    }

    /// Returns the layer for an operator that runs while the previous one still runs.
    pub fn another_operator(&self) -> OfOperator {
        let mut counted = self.counted();
        counted.operator += 1;
        OfOperator {
            faults: self.clone(),
            operator: counted.operator,
        }
    }

    /// Waits until an operator is frozen.
    pub async fn has_frozen(&self) {
        let mut frozen = self.0.frozen.subscribe();
        // This cannot fail, because the state holds the sender.
        let _ = frozen.wait_for(|frozen| *frozen > 0).await;
    }

    /// Lets the frozen operator continue.
    pub fn thaw(&self) {
        self.0.frozen.send_replace(0);
    }

    /// Waits until the current operator crashes.
    pub async fn has_crashed(&self) {
        let operator = self.counted().operator;
        let mut died = self.0.died.subscribe();
        // This cannot fail, because the state holds the sender.
        let _ = died.wait_for(|died| *died >= operator).await;
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, Counted> {
        self.0.counted.lock().expect("the counts")
    }

    fn orders(&self, resource: &str) -> watch::Sender<Order> {
        let mut streams = self.0.streams.lock().expect("the streams");
        let of_resource = streams.entry(resource.to_owned());
        of_resource
            .or_insert_with(|| watch::channel((0, Stream::Flows)).0)
            .clone()
    }

    /// Counts a call, and returns its fault.
    fn fault_of(&self, call: &Call) -> Option<Fault> {
        let mut counted = self.counted();
        counted.writes += usize::from(call.is_write());
        if counted.is_armed {
            counted.calls.push((Instant::now(), call.clone()));
        }
        let number = counted.calls.len();
        self.0.number.send_replace(number);
        let mut refusals = counted.refusals.iter();
        let refused =
            refusals.find(|(verb, resource, _)| *verb == call.verb && *resource == call.resource);
        if let Some((_, _, code)) = refused {
            return Some(Fault::Answer(*code));
        }
        if let Some(fault) = counted.failure(call) {
            return Some(fault);
        }
        if !counted.is_armed {
            return None;
        }
        let mut plans = counted.plans.iter();
        let writes = counted
            .calls
            .iter()
            .filter(|(_, call)| call.is_write())
            .count();
        let applies = |plan: &&Plan| {
            let (number, is_counted) = if plan.counts_writes {
                (writes, call.is_write())
            } else {
                (number, true)
            };
            is_counted && (plan.at..plan.at + plan.times).contains(&number)
        };
        let fault = plans.find(applies)?.fault;
        // An API server never answers a read with 409.
        if fault == Fault::Answer(409) && !call.is_write() {
            return None;
        }
        // An Operation fails correctly if the API server refuses its change of the spec.
        if fault == Fault::Answer(403) && call.writes_spec {
            return None;
        }
        counted.applied.push((fault, call.clone()));
        Some(fault)
    }
}

/// The layer of one operator.
#[derive(Clone)]
pub struct OfOperator {
    faults: Faults,
    operator: usize,
}

impl OfOperator {
    fn is_dead(&self) -> bool {
        *self.faults.0.died.borrow() >= self.operator
    }

    fn freeze(&self) {
        self.faults.0.frozen.send_replace(self.operator);
    }

    /// Waits while this operator is frozen.
    async fn wait_until_thawed(&self) {
        let mut frozen = self.faults.0.frozen.subscribe();
        // This cannot fail, because the state holds the sender.
        let _ = frozen.wait_for(|frozen| *frozen != self.operator).await;
    }

    /// Returns a body whose chunks wait while the operator is frozen.
    fn body(&self, body: Box<DynBody>) -> Box<DynBody> {
        let of = self.clone();
        let chunks = body.into_data_stream().then(move |chunk| {
            let of = of.clone();
            async move {
                of.wait_until_thawed().await;
                chunk
            }
        });
        Box::new(axum::body::Body::from_stream(chunks).map_err(BoxError::from))
    }

    fn kill(&self) {
        self.faults.0.died.send_if_modified(|died| {
            let is_new = *died < self.operator;
            *died = (*died).max(self.operator);
            is_new
        });
    }
}

impl<S> Layer<S> for OfOperator {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty {
            inner,
            of: self.clone(),
        }
    }
}

/// A client's service whose requests get faults.
#[derive(Clone)]
pub struct Faulty<S> {
    inner: S,
    of: OfOperator,
}

impl<S, B> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Box<DynBody>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let of = self.of.clone();
        if of.is_dead() {
            return Box::pin(future::pending());
        }
        let call = Call::of(&request);
        let fault = of.faults.fault_of(&call);
        match fault {
            Some(Fault::CrashBefore) => {
                of.kill();
                return Box::pin(future::pending());
            }
            Some(Fault::Hang) => return Box::pin(future::pending()),
            Some(Fault::Answer(code)) => return Box::pin(async move { Ok(refusal(code)) }),
            Some(Fault::Freeze) => of.freeze(),
            Some(Fault::CrashAfter | Fault::LoseAnswer(_) | Fault::Delay(_)) | None => {}
        }
        // The request is sent only when the future is polled.
        let answer = self.inner.call(request);
        Box::pin(async move {
            if let Some(Fault::Delay(time)) = fault {
                tokio::time::sleep(time).await;
            }
            of.wait_until_thawed().await;
            if of.is_dead() {
                future::pending::<()>().await;
            }
            let answer = answer.await;
            of.wait_until_thawed().await;
            if fault == Some(Fault::CrashAfter) {
                of.kill();
            }
            if of.is_dead() {
                future::pending::<()>().await;
            }
            match fault {
                Some(Fault::LoseAnswer(code)) => Ok(refusal(code)),
                _ if call.verb == "watch" => {
                    let orders = of.faults.orders(&call.resource).subscribe();
                    let (faults, resource) = (of.faults.clone(), call.resource);
                    let shown = move || faults.counted().record_shown(&resource);
                    Ok(answer?.map(|body| of.body(events::ordered(body, orders, shown))))
                }
                _ => Ok(answer?.map(|body| Box::new(body.map_err(Into::into)) as Box<DynBody>)),
            }
        })
    }
}
