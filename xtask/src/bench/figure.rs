//! One figure: what was measured, beside what, and whether it is within its budget.

use std::fmt;

use serde_json::{Value, json};

/// One line of the results.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// What was done on what.
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// What ours took.
    pub(crate) ours: f64,
    /// What it is compared with, and what that took.
    pub(crate) peer: Option<(&'static str, f64)>,
    /// The least that it could take.
    pub(crate) floor: Option<f64>,
    pub(crate) budget: Option<Budget>,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// Of a whole program.
    Instructions,
    /// Of a packet or a connection.
    FewInstructions,
    Bytes,
    /// A ratio of two figures.
    Times,
}

/// What was promised.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Budget {
    /// At most this part of what the peer took.
    OfPeer(f64),
    /// At most so much.
    AtMost(f64),
}

impl Figure {
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.peer.map(|(_, peer)| self.ours / peer)
    }

    /// None for a figure that nothing was promised of.
    pub(crate) fn is_held(&self) -> Option<bool> {
        match self.budget? {
            Budget::OfPeer(part) => Some(self.ratio().is_some_and(|ratio| ratio <= part)),
            Budget::AtMost(most) => Some(self.ours <= most),
        }
    }

    /// The cells of the table for people: figure, ours, peer, ratio, floor, budget, held.
    pub(crate) fn cells(&self) -> [String; 7] {
        let unit = self.unit;
        let peer = self
            .peer
            .map(|(name, value)| format!("{} ({name})", unit.text(value)));
        [
            Some(self.name.clone()),
            Some(unit.text(self.ours)),
            peer,
            self.ratio().map(|ratio| format!("{ratio:.3}")),
            self.floor.map(|floor| unit.text(floor)),
            self.budget.map(|budget| match budget {
                Budget::OfPeer(part) => format!("ratio ≤ {part:.2}"),
                Budget::AtMost(most) => format!("≤ {}", unit.text(most)),
            }),
            self.is_held()
                .map(|is_held| if is_held { "yes" } else { "**no**" }.to_owned()),
        ]
        .map(|cell| cell.unwrap_or_else(|| "–".to_owned()))
    }

    /// The same for programs; what there is not is left out.
    pub(crate) fn json(&self) -> Value {
        let mut value = json!({
            "figure": self.name,
            "unit": self.unit.name(),
            "ours": self.ours,
        });
        let budget = self.budget.map(|budget| match budget {
            Budget::OfPeer(part) => json!({ "ratio_at_most": part }),
            Budget::AtMost(most) => json!({ "at_most": most }),
        });
        let optional = [
            ("peer", self.peer.map(|(name, _)| name.into())),
            ("peers", self.peer.map(|(_, value)| value.into())),
            ("ratio", self.ratio().map(Value::from)),
            ("floor", self.floor.map(Value::from)),
            ("budget", budget),
            ("held", self.is_held().map(Value::from)),
        ];
        for (name, there) in optional {
            if let Some(there) = there {
                value[name] = there;
            }
        }
        value
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [name, ours, peer, ratio, _floor, budget, _held] = self.cells();
        write!(
            f,
            "{name}: {ours}, peer {peer}, ratio {ratio}, budget {budget}"
        )
    }
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Instructions | Self::FewInstructions => "instructions",
            Self::Bytes => "bytes",
            Self::Times => "times",
        }
    }

    /// A value as people read it.
    fn text(self, value: f64) -> String {
        match self {
            Self::Instructions => format!("{:.2} M", value / 1e6),
            Self::FewInstructions => format!("{value:.0}"),
            Self::Bytes => format!("{:.2} MiB", value / 1_048_576.0),
            Self::Times => format!("{value:.3} ×"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(budget: Budget) -> Figure {
        Figure {
            name: "listing".to_owned(),
            unit: Unit::Instructions,
            ours: 2e6,
            peer: Some(("other", 8e6)),
            floor: None,
            budget: Some(budget),
        }
    }

    #[test]
    fn a_budget_is_held_up_to_itself() {
        assert_eq!(figure(Budget::OfPeer(0.25)).is_held(), Some(true));
        assert_eq!(figure(Budget::OfPeer(0.24)).is_held(), Some(false));
        assert_eq!(figure(Budget::AtMost(2e6)).is_held(), Some(true));
        assert_eq!(figure(Budget::AtMost(1.9e6)).is_held(), Some(false));
        let mut alone = figure(Budget::OfPeer(0.25));
        alone.peer = None;
        assert_eq!(alone.is_held(), Some(false));
        alone.budget = None;
        assert_eq!(alone.is_held(), None);
    }

    #[test]
    fn people_and_programs_read_the_same() {
        let figure = figure(Budget::OfPeer(0.25));
        assert_eq!(
            figure.cells(),
            [
                "listing",
                "2.00 M",
                "8.00 M (other)",
                "0.250",
                "–",
                "ratio ≤ 0.25",
                "yes"
            ]
        );
        assert_eq!(
            figure.json(),
            json!({
                "figure": "listing",
                "unit": "instructions",
                "ours": 2e6,
                "peer": "other",
                "peers": 8e6,
                "ratio": 0.25,
                "budget": { "ratio_at_most": 0.25 },
                "held": true,
            })
        );
    }
}
