//! Maintenance windows: when they open and close. Nothing here knows what waits for them.
//!
//! A window opens at the same local time on each of its days, and is open for a fixed length of time. If a clock change
//! skips that local time, the window opens as much later as the clock was put forward; if the local time occurs twice, it
//! opens at the first. Windows that overlap or touch are one.

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};

use crate::api::{AtEnd, MaintenanceWindow, Weekday};

/// For how many days before and after a moment openings are computed. Each window opens at least once in seven days.
const DAYS: i64 = 9;

/// The maintenance windows of a cluster at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Windows {
    /// The cluster has no windows: everything may begin at any time.
    None,
    /// A window is open. None: windows follow each other without a gap.
    Open {
        /// When it closes.
        closes_at: Option<Timestamp>,
    },
    /// No window is open.
    Closed {
        /// When the next one opens.
        opens_at: Timestamp,
        /// What the window that closed last says about operations that still run.
        at_end: AtEnd,
    },
    /// It can't be known when a window is open, for this reason. Nothing that has to wait begins.
    Unknown(String),
}

impl Windows {
    /// Returns the state of these windows at a moment.
    pub fn at(windows: &[MaintenanceWindow], now: Timestamp) -> Self {
        if windows.is_empty() {
            return Self::None;
        }
        let calendar = match Calendar::of(windows) {
            Ok(calendar) => calendar,
            Err(why) => return Self::Unknown(why),
        };
        let around = calendar.around(now);
        if let Some(open) = around.open() {
            let closes_at = around.known(open.closes);
            return Self::Open { closes_at };
        }
        match around.next() {
            Some(next) => Self::Closed {
                opens_at: next.opens,
                at_end: around.at_end_of_last(),
            },
            None => Self::Unknown("no window of spec.maintenanceWindows ever opens again".into()),
        }
    }

    /// Whether what needs an open window has to wait now.
    pub fn keep_waiting(&self) -> bool {
        match self {
            Self::None | Self::Open { .. } => false,
            Self::Closed { .. } | Self::Unknown(_) => true,
        }
    }

    /// Whether operations that needed an open window have to pause now.
    pub fn pause(&self) -> bool {
        matches!(
            self,
            Self::Closed {
                at_end: AtEnd::Pause,
                ..
            }
        )
    }

    /// Returns what a change that needs an open window waits for now. Empty if it needn't wait.
    pub fn wait(&self) -> String {
        match self {
            Self::None | Self::Open { .. } => String::new(),
            Self::Closed { opens_at, .. } => {
                format!("waits for the window that opens at {opens_at}")
            }
            Self::Unknown(why) => {
                format!("waits for a maintenance window, and it isn't known when one opens: {why}")
            }
        }
    }

    /// Returns the next moment at which a window opens or closes.
    pub fn changes_at(&self) -> Option<Timestamp> {
        match self {
            Self::None | Self::Unknown(_) => None,
            Self::Open { closes_at } => *closes_at,
            Self::Closed { opens_at, .. } => Some(*opens_at),
        }
    }
}

/// The times of a cluster's maintenance windows.
#[derive(Clone, Debug)]
struct Calendar(Vec<Window>);

#[derive(Clone, Debug)]
struct Window {
    /// Empty: every day.
    days: Vec<civil::Weekday>,
    start: civil::Time,
    duration: SignedDuration,
    zone: TimeZone,
    at_end: AtEnd,
}

/// A time in which a window is open without a break, from its opening to before its closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Period {
    opens: Timestamp,
    closes: Timestamp,
    at_end: AtEnd,
}

impl Calendar {
    /// Returns the times of these windows.
    ///
    /// # Errors
    /// Returns what is wrong with the first window whose times can't be known: its time zone isn't in the IANA database,
    /// or its start isn't a time.
    fn of(windows: &[MaintenanceWindow]) -> Result<Self, String> {
        let windows = windows.iter().enumerate();
        let windows = windows.map(|(at, window)| Window::of(at, window));
        windows.collect::<Result<_, _>>().map(Self)
    }

    fn around(&self, now: Timestamp) -> Around {
        let mut periods: Vec<_> = self
            .0
            .iter()
            .flat_map(|window| window.around(now))
            .collect();
        periods.sort_by_key(|period| (period.opens, period.closes));
        let mut joined: Vec<Period> = Vec::new();
        for period in periods {
            match joined.last_mut() {
                Some(last) if period.opens <= last.closes => last.join(period),
                _ => joined.push(period),
            }
        }
        Around {
            now,
            periods: joined,
        }
    }
}

/// The periods around a moment, in order. There is a gap between any two of them.
struct Around {
    now: Timestamp,
    periods: Vec<Period>,
}

impl Around {
    fn open(&self) -> Option<&Period> {
        let mut periods = self.periods.iter();
        periods.find(|period| period.opens <= self.now && self.now < period.closes)
    }

    fn next(&self) -> Option<&Period> {
        self.periods.iter().find(|period| period.opens > self.now)
    }

    /// Returns a closing moment, unless it only ends the days that were computed.
    fn known(&self, closes: Timestamp) -> Option<Timestamp> {
        let known = SignedDuration::from_hours(24 * (DAYS - 1));
        (closes.duration_since(self.now) < known).then_some(closes)
    }

    /// Returns what the window that closed last says about operations that still run.
    fn at_end_of_last(&self) -> AtEnd {
        let mut periods = self.periods.iter();
        let last = periods.rfind(|period| period.closes <= self.now);
        last.map_or(AtEnd::Continue, |period| period.at_end)
    }
}

impl Period {
    /// Goes on until the end of a period that begins in this one. Whichever closes last says what happens then; if both close
    /// at the same moment, a pause takes precedence.
    fn join(&mut self, other: Self) {
        if other.closes > self.closes
            || (other.closes == self.closes && other.at_end == AtEnd::Pause)
        {
            (self.closes, self.at_end) = (other.closes, other.at_end);
        }
    }
}

impl Window {
    fn of(at: usize, window: &MaintenanceWindow) -> Result<Self, String> {
        let field =
            |name: &str| format!("spec.maintenanceWindows[{at}].{name} of the ManagedCluster");
        let start = civil::Time::strptime("%H:%M", &window.start).map_err(|_| {
            let (field, start) = (field("start"), &window.start);
            format!("{field} is {start:?}, which isn't a time: write HH:MM, for example 22:00")
        })?;
        let zone = TimeZone::get(&window.time_zone).map_err(|_| {
            let (field, zone) = (field("timeZone"), &window.time_zone);
            format!(
                "{field} is {zone:?}, which isn't a known time zone: write a name of the IANA database, for example Europe/Berlin"
            )
        })?;
        Ok(Self {
            days: window.days.iter().copied().map(weekday).collect(),
            start,
            duration: SignedDuration::try_from(std::time::Duration::from(window.duration))
                .unwrap_or(SignedDuration::ZERO),
            zone,
            at_end: window.at_end,
        })
    }

    /// Returns its periods on the days around a moment. A day that the calendar doesn't have is left out.
    fn around(&self, now: Timestamp) -> impl Iterator<Item = Period> {
        let today = now.to_zoned(self.zone.clone()).date();
        let days = (-DAYS..=DAYS).filter_map(move |away| {
            today
                .checked_add(SignedDuration::from_hours(24 * away))
                .ok()
        });
        days.filter(|day| self.days.is_empty() || self.days.contains(&day.weekday()))
            .filter_map(|day| {
                let opens = day
                    .to_datetime(self.start)
                    .to_zoned(self.zone.clone())
                    .ok()?;
                let opens = opens.timestamp();
                Some(Period {
                    opens,
                    closes: opens.checked_add(self.duration).ok()?,
                    at_end: self.at_end,
                })
            })
    }
}

fn weekday(day: Weekday) -> civil::Weekday {
    match day {
        Weekday::Monday => civil::Weekday::Monday,
        Weekday::Tuesday => civil::Weekday::Tuesday,
        Weekday::Wednesday => civil::Weekday::Wednesday,
        Weekday::Thursday => civil::Weekday::Thursday,
        Weekday::Friday => civil::Weekday::Friday,
        Weekday::Saturday => civil::Weekday::Saturday,
        Weekday::Sunday => civil::Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests;
