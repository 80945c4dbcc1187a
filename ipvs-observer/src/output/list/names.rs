//! Names in the place of numbers, as `list` prints them without `-n`.
//!
//! Hosts are asked for by `getnameinfo` of the C library, which reads `/etc/hosts` and asks the servers of
//! `/etc/resolv.conf`; no other source of `/etc/nsswitch.conf` is known to it in a static program. Services are those of
//! `/etc/services`.
//!
//! Each host is looked up once, several at a time, by threads that are left behind when they hang. The threads ask in the
//! network namespace of the one that asks first.

mod lookup;
mod services;

use std::{collections::BTreeMap, fs, net::IpAddr, time::Duration};

use self::{lookup::Lookups, services::Services};
use crate::{clock, model::id::Protocol};

/// Where names of services are.
const SERVICES: &str = "/etc/services";

/// Names, and those that are looked for.
#[derive(Debug)]
pub struct Names {
    services: Services,
    hosts: BTreeMap<IpAddr, Host>,
    lookups: Lookups,
    /// How many hosts are [`Host::Unanswered`].
    unanswered: usize,
    /// How long lookups may still be waited for.
    patience: Duration,
}

#[derive(Debug)]
enum Host {
    /// There has been no answer yet.
    Unanswered,
    Nameless,
    Named(String),
}

impl Names {
    /// Those of this host; lookups are waited for `patience` in all. Without `/etc/services` ports have no names.
    pub fn new(patience: Duration) -> Self {
        let services = Services::parse(&fs::read(SERVICES).unwrap_or_default());
        Self::of(services, lookup::host, patience)
    }

    fn of(services: Services, lookup: lookup::Lookup, patience: Duration) -> Self {
        Self {
            services,
            hosts: BTreeMap::new(),
            lookups: Lookups::new(lookup),
            unanswered: 0,
            patience,
        }
    }

    /// Those given, for tests.
    #[cfg(test)]
    pub(super) fn known(services: &[u8], hosts: &[(&str, &str)]) -> Self {
        let mut names = Self::of(Services::parse(services), |_| None, Duration::ZERO);
        for (address, name) in hosts {
            let name = Host::Named((*name).to_owned());
            names.hosts.insert(address.parse().unwrap(), name);
        }
        names
    }

    /// Looks up the hosts that have not been looked up before, and waits until all are or patience is at its end.
    pub fn resolve(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        for address in addresses {
            self.hosts.entry(address).or_insert_with(|| {
                self.lookups.ask(address);
                self.unanswered += 1;
                Host::Unanswered
            });
        }
        let begun = clock::now().monotonic;
        let mut left = self.patience;
        while self.unanswered > 0
            && let Some((address, name)) = self.lookups.answer(left)
        {
            self.unanswered -= 1;
            self.hosts
                .insert(address, name.map_or(Host::Nameless, Host::Named));
            let waited = clock::now().monotonic.saturating_sub(begun);
            left = self.patience.saturating_sub(waited);
        }
        let waited = clock::now().monotonic.saturating_sub(begun);
        self.patience = self.patience.saturating_sub(waited);
    }

    /// Makes lookups be waited for `patience` in all from now on, those without an answer so far included.
    pub const fn renew(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// How many hosts there has been no answer for; they are printed as numbers.
    pub const fn unanswered(&self) -> usize {
        self.unanswered
    }

    pub(super) fn host(&self, address: IpAddr) -> Option<&str> {
        match self.hosts.get(&address)? {
            Host::Named(name) => Some(name),
            Host::Unanswered | Host::Nameless => None,
        }
    }

    pub(super) fn service(&self, protocol: Protocol, port: u16) -> Option<&str> {
        self.services.name(protocol, port)
    }
}

#[cfg(test)]
mod tests;
