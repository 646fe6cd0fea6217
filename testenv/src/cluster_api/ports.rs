//! The ports that controllers listen on. They stay reserved until the controllers start.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
};

use super::Controller;
use crate::{Error, tried};

/// A port that the development provider always listens on. No flag changes it.
const DEBUG: u16 = 19000;

/// The range of free ports: below the ports that the kernel gives to connections. Otherwise a connection could take a
/// port between its release and the controller's start.
const FREE: RangeInclusive<u16> = 20_000..=31_999;

/// Reserved ports that no other process can take. They are taken on all addresses, because controllers listen on all.
pub(super) struct Reserved {
    webhooks: BTreeMap<Controller, TcpListener>,
    _debug: TcpListener,
}

impl Reserved {
    /// Reserves the port of the development provider, and a free port for each controller's webhooks.
    pub fn take() -> Result<Self, Error> {
        let debug = take_debug_port()?;
        let take = |controller| {
            let listener = take_free_port();
            Ok((controller, tried("failed to find a free port", listener)?))
        };
        let webhooks: Result<_, Error> = Controller::ALL.into_iter().map(take).collect();
        Ok(Self {
            webhooks: webhooks?,
            _debug: debug,
        })
    }

    /// Returns the port of each controller's webhooks.
    pub fn webhooks(&self) -> Result<Vec<(Controller, u16)>, Error> {
        let port = |(controller, listener): (&Controller, &TcpListener)| {
            let address = tried("failed to find a free port", listener.local_addr())?;
            Ok((*controller, address.port()))
        };
        self.webhooks.iter().map(port).collect()
    }
}

/// Takes a free port. Each process starts its search at a different port.
fn take_free_port() -> std::io::Result<TcpListener> {
    let count = usize::from(FREE.end() - FREE.start()) + 1;
    let first = usize::try_from(std::process::id()).unwrap_or_default() * 31 % count;
    let mut ports = FREE.cycle().skip(first).take(count);
    let taken = ports.find_map(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok());
    taken.ok_or_else(|| ErrorKind::AddrInUse.into())
}

/// Takes the development provider's port. Otherwise the provider of a second instance would end, and report why only in
/// its log.
fn take_debug_port() -> Result<TcpListener, Error> {
    match TcpListener::bind((Ipv4Addr::UNSPECIFIED, DEBUG)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(Error::Missing {
            what: format!(
                "port {DEBUG} is taken: Cluster API's development provider needs it, so there can be only one in each network namespace"
            ),
        }),
        listener => tried(format!("failed to listen on port {DEBUG}"), listener),
    }
}
