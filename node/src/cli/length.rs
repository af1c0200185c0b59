//! Lengths of time as people write them: `90s`, `15m`, `3h`, `7d`, `500ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use covey_state::window::{DAY, HOUR, MINUTE, SECOND, window_text};
use serde::Deserialize;

/// One millisecond in microseconds.
const MILLISECOND: i64 = SECOND / 1_000;

/// A length of time, in microseconds, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Length(i64);

impl Length {
    /// The length in microseconds.
    pub(crate) const fn micros(self) -> i64 {
        self.0
    }

    /// The length for timers.
    pub(crate) fn duration(self) -> Duration {
        Duration::from_micros(self.0.unsigned_abs())
    }
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time such as 90s, 15m, 3h or 7d");
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let number: i64 = digits
            .parse()
            .ok()
            .filter(|number| *number >= 0)
            .ok_or_else(wrong)?;
        let unit = match &text[digits.len()..] {
            "ms" => MILLISECOND,
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            _ => return Err(wrong()),
        };
        number
            .checked_mul(unit)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is too long"))
    }
}

impl TryFrom<String> for Length {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&window_text(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_printed() {
        for (text, micros) in [
            ("500ms", 500_000),
            ("90s", 90 * SECOND),
            ("3h", 3 * HOUR),
            ("7d", 7 * DAY),
        ] {
            assert_eq!(text.parse::<Length>().map(Length::micros), Ok(micros));
        }
        assert_eq!(Length(3 * HOUR).to_string(), "3h");
    }

    #[test]
    fn what_is_no_length_is_refused_with_an_example() {
        for text in ["", "3", "h", "-3h", "3 h", "3w", "99999999999999d"] {
            let refused = text.parse::<Length>().unwrap_err();
            assert!(refused.contains(text), "{refused}");
        }
    }
}
