//! When windows open and close: across midnight, clock changes and time zones.

use jiff::Timestamp;
use proptest::{prelude::*, sample::select};
use serde_json::json;

use crate::api::{AtEnd, MaintenanceWindow};

use super::*;

/// Zones with summer time in the north and the south, with odd offsets, and one that once skipped a whole day.
const ZONES: [&str; 9] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "Africa/Casablanca",
];

impl Calendar {
    /// Whether a window is open.
    fn is_open(&self, now: Timestamp) -> bool {
        self.around(now).open().is_some()
    }

    /// Returns when a window opens next, after `now`. None if there is no window, or if one is always open.
    fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        let around = self.around(now);
        Some(around.next()?.opens)
    }

    /// Returns when the window that is open closes. None if none is open, or if one is always open.
    fn closes_at(&self, now: Timestamp) -> Option<Timestamp> {
        let around = self.around(now);
        around.known(around.open()?.closes)
    }
}

fn window(days: &[&str], start: &str, duration: &str, zone: &str) -> MaintenanceWindow {
    let mut window = json!({"start": start, "duration": duration, "timeZone": zone});
    if !days.is_empty() {
        window["days"] = json!(days);
    }
    serde_json::from_value(window).expect("a window")
}

fn pausing(window: MaintenanceWindow) -> MaintenanceWindow {
    MaintenanceWindow {
        at_end: AtEnd::Pause,
        ..window
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// Returns the state at a moment: `open until 02:00`, or `opens 22:00`.
fn state(windows: &[MaintenanceWindow], now: &str) -> String {
    match Windows::at(windows, time(now)) {
        Windows::None => "no windows".into(),
        Windows::Open {
            closes_at: Some(at),
        } => format!("open until {at}"),
        Windows::Open { closes_at: None } => "always open".into(),
        Windows::Closed { opens_at, .. } => format!("opens at {opens_at}"),
        Windows::Unknown(why) => why,
    }
}

#[test]
fn a_window_is_open_from_its_start_to_before_its_end() {
    let windows = [window(&[], "22:00", "1h30m", "UTC")];
    for (now, expected) in [
        ("2026-01-05T21:59:59Z", "opens at 2026-01-05T22:00:00Z"),
        ("2026-01-05T22:00:00Z", "open until 2026-01-05T23:30:00Z"),
        ("2026-01-05T23:29:59Z", "open until 2026-01-05T23:30:00Z"),
        ("2026-01-05T23:30:00Z", "opens at 2026-01-06T22:00:00Z"),
    ] {
        assert_eq!(state(&windows, now), expected, "{now}");
    }
}

#[test]
fn a_window_belongs_to_the_day_on_which_it_opens() {
    // 2026-01-05 is a Monday.
    let windows = [window(&["Monday"], "22:00", "4h", "Europe/Berlin")];
    for (now, expected) in [
        ("2026-01-05T00:30:00Z", "opens at 2026-01-05T21:00:00Z"),
        ("2026-01-05T23:30:00Z", "open until 2026-01-06T01:00:00Z"),
        ("2026-01-06T00:59:59Z", "open until 2026-01-06T01:00:00Z"),
        ("2026-01-06T01:00:00Z", "opens at 2026-01-12T21:00:00Z"),
    ] {
        assert_eq!(state(&windows, now), expected, "{now}");
    }
}

#[test]
fn the_day_is_that_of_the_time_zone() {
    // Sunday evening in UTC is Monday morning in Kathmandu.
    let windows = [window(&["Monday"], "01:00", "1h", "Asia/Kathmandu")];
    let state = state(&windows, "2026-01-04T12:00:00Z");
    assert_eq!(state, "opens at 2026-01-04T19:15:00Z");
}

#[test]
fn a_start_that_a_clock_change_skips_comes_as_much_later() {
    // On 2026-03-29, 02:00 to 03:00 doesn't exist in Berlin: 02:30 becomes 03:30 there.
    let windows = [window(&[], "02:30", "1h", "Europe/Berlin")];
    for (now, expected) in [
        ("2026-03-28T12:00:00Z", "opens at 2026-03-29T01:30:00Z"),
        ("2026-03-29T01:30:00Z", "open until 2026-03-29T02:30:00Z"),
        ("2026-03-29T12:00:00Z", "opens at 2026-03-30T00:30:00Z"),
    ] {
        assert_eq!(state(&windows, now), expected, "{now}");
    }
}

#[test]
fn a_start_that_occurs_twice_opens_the_window_once() {
    // On 2026-10-25, 02:00 to 03:00 occurs twice in Berlin: at 00:00 and at 01:00 UTC.
    let windows = [window(&[], "02:30", "30m", "Europe/Berlin")];
    for (now, expected) in [
        ("2026-10-25T00:00:00Z", "opens at 2026-10-25T00:30:00Z"),
        ("2026-10-25T00:45:00Z", "open until 2026-10-25T01:00:00Z"),
        ("2026-10-25T01:30:00Z", "opens at 2026-10-26T01:30:00Z"),
    ] {
        assert_eq!(state(&windows, now), expected, "{now}");
    }
}

#[test]
fn a_clock_change_does_not_change_how_long_a_window_is_open() {
    let windows = [window(&[], "22:00", "8h", "Europe/Berlin")];
    for (now, closes) in [
        // Clocks go forward: 8 hours later it is 07:00 there.
        ("2026-03-28T21:00:00Z", "2026-03-29T05:00:00Z"),
        // Clocks go back: 8 hours later it is 05:00 there.
        ("2026-10-24T20:00:00Z", "2026-10-25T04:00:00Z"),
    ] {
        assert_eq!(state(&windows, now), format!("open until {closes}"));
    }
}

#[test]
fn windows_that_overlap_or_touch_are_one() {
    let windows = [
        window(&[], "20:00", "2h", "UTC"),
        window(&[], "21:00", "2h", "UTC"),
        window(&[], "23:00", "1h", "UTC"),
    ];
    let state = state(&windows, "2026-01-05T20:30:00Z");
    assert_eq!(state, "open until 2026-01-06T00:00:00Z");
}

#[test]
fn the_window_that_closes_last_decides_about_the_pause() {
    let (early, late) = (
        window(&[], "20:00", "2h", "UTC"),
        window(&[], "21:00", "2h", "UTC"),
    );
    let same_end = window(&[], "22:00", "1h", "UTC");
    for (windows, pauses) in [
        (vec![early.clone(), late.clone()], false),
        (vec![pausing(early.clone()), late.clone()], false),
        (vec![early, pausing(late.clone())], true),
        (vec![pausing(late.clone()), same_end.clone()], true),
        (vec![late, pausing(same_end)], true),
    ] {
        let open = Windows::at(&windows, time("2026-01-05T22:59:59Z"));
        assert!(!open.pause() && !open.keep_waiting());
        let closed = Windows::at(&windows, time("2026-01-05T23:00:00Z"));
        assert_eq!(closed.pause(), pauses, "{windows:?}");
        assert!(closed.keep_waiting());
    }
}

#[test]
fn windows_of_a_whole_day_never_close() {
    let windows = [window(&[], "00:00", "24h", "UTC")];
    assert_eq!(state(&windows, "2026-01-05T00:00:00Z"), "always open");
    assert_eq!(state(&[], "2026-01-05T00:00:00Z"), "no windows");
}

#[test]
fn an_unknown_time_zone_is_named_and_nothing_may_begin() {
    let windows = [
        window(&[], "00:00", "24h", "UTC"),
        window(&[], "22:00", "1h", "Europe/Berln"),
    ];
    let state = Windows::at(&windows, time("2026-01-05T00:00:00Z"));
    assert!(state.keep_waiting() && !state.pause());
    assert_eq!(
        state,
        Windows::Unknown(
            "spec.maintenanceWindows[1].timeZone of the ManagedCluster is \"Europe/Berln\", which isn't a known time zone: write a name of the IANA database, for example Europe/Berlin".into()
        )
    );
}

fn any_window() -> impl Strategy<Value = MaintenanceWindow> {
    const DAYS: [&[&str]; 4] = [
        &[],
        &["Monday"],
        &["Saturday", "Sunday"],
        &["Tuesday", "Wednesday", "Thursday"],
    ];
    let days = select(&DAYS);
    let start = (0..24, 0..60).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"));
    let minutes = 15..=24 * 60_u32;
    (days, start, minutes, select(&ZONES), any::<bool>()).prop_map(
        |(days, start, minutes, zone, pauses)| {
            let window = window(days, &start, &format!("{minutes}m"), zone);
            if pauses { pausing(window) } else { window }
        },
    )
}

/// Moments of the years 2026 to 2028, and of 2011, when Samoa skipped the 30th of December.
fn any_moment() -> impl Strategy<Value = Timestamp> {
    let (from, to) = (time("2026-01-01T00:00:00Z"), time("2029-01-01T00:00:00Z"));
    let skipped = time("2011-12-30T10:00:00Z").as_second();
    let around = (skipped - 3 * 86_400)..(skipped + 3 * 86_400);
    prop_oneof![
        9 => from.as_second()..to.as_second(),
        1 => around,
    ]
    .prop_map(|second| Timestamp::from_second(second).expect("a time"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn opening_and_closing_moments_agree_with_whether_a_window_is_open(
        windows in prop::collection::vec(any_window(), 1..4),
        now in any_moment(),
    ) {
        let calendar = Calendar::of(&windows).expect("known zones");
        let second = SignedDuration::from_secs(1);
        if calendar.is_open(now) {
            if let Some(closes) = calendar.closes_at(now) {
                prop_assert!(closes > now);
                prop_assert!(calendar.is_open(closes - second));
                prop_assert!(!calendar.is_open(closes));
            }
        } else {
            prop_assert_eq!(calendar.closes_at(now), None);
            let opens = calendar.opens_at(now).expect("each window opens every week");
            prop_assert!(opens > now);
            prop_assert!(!calendar.is_open(opens - second));
            prop_assert!(calendar.is_open(opens));
        }
    }

    #[test]
    fn between_two_changes_nothing_changes(
        window in any_window(),
        now in any_moment(),
        part in 0.0..1.0_f64,
    ) {
        let calendar = Calendar::of(&[window]).expect("a known zone");
        let is_open = calendar.is_open(now);
        let until = if is_open { calendar.closes_at(now) } else { calendar.opens_at(now) };
        if let Some(until) = until {
            let between = now + until.duration_since(now).mul_f64(part);
            prop_assert_eq!(calendar.is_open(between), is_open, "{}", between);
        }
    }

    #[test]
    fn a_window_opens_at_its_start_on_one_of_its_days_unless_the_clock_skips_it(
        window in any_window(),
        now in any_moment(),
    ) {
        let calendar = Calendar::of(std::slice::from_ref(&window)).expect("a known zone");
        let one = &calendar.0[0];
        let opens = one.around(now).find(|period| period.opens > now).expect("an opening").opens;
        let there = opens.to_zoned(one.zone.clone());
        // Samoa skipped a whole day.
        prop_assume!(there.year() != 2011);
        let is_skipped = one
            .zone
            .to_ambiguous_zoned(there.date().to_datetime(one.start))
            .is_ambiguous();
        let is_day = one.days.is_empty() || one.days.contains(&there.weekday());
        prop_assert!(is_skipped || (is_day && there.time() == one.start), "{}", there);
    }
}
