//! The sum of the windows of a span, for each service and real server, and how it came about over time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::events::EventSummary;
use crate::model::{
    activity::Activity,
    id::{DestinationId, Netns, ServiceId},
    sample::{ServiceKey, Timestamp},
    snapshot::{Completeness, Run, Snapshot},
};

/// Steps of a time line; when there are more, each two become one.
const MOST_STEPS: usize = 240;

/// A span of a recording.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Facts of the run; `None` before the first window.
    pub run: Option<Arc<Run>>,
    /// When its first window began.
    pub from: Timestamp,
    /// When its last window ended.
    pub to: Timestamp,
    /// How many there are.
    pub windows: u64,
    /// The length of all.
    pub measured: Duration,
    /// How complete they are.
    pub health: Completeness,
    /// Windows that were lost before they could be written.
    pub missed_windows: u64,
    /// Of the host itself.
    pub host: Activity,
    /// Services in their order.
    pub services: Vec<ServiceSummary>,
    /// Events of single connections, where they were recorded.
    pub events: Option<EventSummary>,
    places: BTreeMap<ServiceKey, usize>,
}

/// A service.
#[derive(Clone, Debug)]
pub struct ServiceSummary {
    /// The network namespace, where several were observed.
    pub netns: Option<String>,
    /// What identifies it there.
    pub id: ServiceId,
    /// What was seen of it and of all its servers.
    pub activity: Activity,
    /// Its real servers.
    pub servers: BTreeMap<DestinationId, Activity>,
    /// Whether replies pass the director.
    pub has_return_path: bool,
    /// Steps of the whole span, one after the other.
    pub steps: Vec<Step>,
    /// Windows of one step.
    per_step: u64,
    in_last: u64,
}

/// A part of the time.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its end.
    pub at: Timestamp,
    /// Its length.
    pub length: Duration,
    /// What was seen.
    pub activity: Activity,
}

impl Summary {
    /// Of nothing yet, in a recording that `began` then.
    pub fn new(began: Timestamp) -> Self {
        Self {
            run: None,
            from: began,
            to: began,
            windows: 0,
            measured: Duration::ZERO,
            health: Completeness {
                packets: Some(0),
                ..Completeness::default()
            },
            missed_windows: 0,
            host: Activity::none(),
            services: Vec::new(),
            events: None,
            places: BTreeMap::new(),
        }
    }

    /// Adds a window.
    pub fn add(&mut self, snapshot: &Snapshot) {
        if self.windows == 0 {
            self.from = Timestamp {
                wall: snapshot.at.wall.saturating_sub(snapshot.window),
                monotonic: snapshot.at.monotonic.saturating_sub(snapshot.window),
            };
        }
        self.run = Some(Arc::clone(&snapshot.run));
        self.to = snapshot.at;
        self.windows += 1;
        self.measured += snapshot.window;
        self.health.add(&snapshot.health.interval);
        self.missed_windows = snapshot.health.missed_windows;
        self.host.merge(&snapshot.director.interval);
        for (&key, row) in &snapshot.services {
            let place = *self.places.entry(key).or_insert_with(|| {
                self.services.push(ServiceSummary {
                    netns: snapshot.label(key.0),
                    id: key.1,
                    activity: Activity::none(),
                    servers: BTreeMap::new(),
                    has_return_path: false,
                    steps: Vec::new(),
                    per_step: 1,
                    in_last: 0,
                });
                self.services.len() - 1
            });
            let service = &mut self.services[place];
            service.has_return_path |= row.row.has_return_path;
            service.activity.merge(&row.row.interval);
            service.step(snapshot, &row.row.interval);
            for (&id, server) in &row.destinations {
                let sum = service.servers.entry(id).or_default();
                sum.merge(&server.row.interval);
            }
        }
    }
}

impl Summary {
    /// The label of a network namespace that has this service, where several were observed.
    pub fn label(&self, netns: Option<Netns>, service: Option<ServiceId>) -> Option<&str> {
        let place = *self.places.get(&(netns?, service?))?;
        self.services.get(place)?.netns.as_deref()
    }
}

impl ServiceSummary {
    /// What people call it.
    pub fn name(&self) -> String {
        match &self.netns {
            Some(netns) => format!("{netns} {}", self.id),
            None => self.id.to_string(),
        }
    }

    fn step(&mut self, snapshot: &Snapshot, activity: &Activity) {
        let is_full = self.in_last == 0 || self.in_last >= self.per_step;
        match self.steps.last_mut() {
            Some(last) if !is_full => {
                last.at = snapshot.at;
                last.length += snapshot.window;
                last.activity.merge(activity);
                self.in_last += 1;
            }
            _ => {
                self.steps.push(Step {
                    at: snapshot.at,
                    length: snapshot.window,
                    activity: activity.clone(),
                });
                self.in_last = 1;
            }
        }
        if self.steps.len() > MOST_STEPS {
            self.halve();
        }
    }

    fn halve(&mut self) {
        let mut halved: Vec<Step> = Vec::with_capacity(MOST_STEPS);
        for (place, step) in self.steps.drain(..).enumerate() {
            match halved.last_mut() {
                Some(last) if place % 2 == 1 => {
                    last.at = step.at;
                    last.length += step.length;
                    last.activity.merge(&step.activity);
                }
                _ => halved.push(step),
            }
        }
        // The newest one of an odd number is alone in its step, and goes on.
        self.per_step *= 2;
        self.steps = halved;
    }
}
