//! When a token is replaced by a newer one. Counterpart: `refreshMs` of Java's `ExpiringCredentialRefreshingLogin`.

use crate::security::sasl::oauthbearer::Token;

/// How long after a failure it is tried again, and how late a token is that should have been replaced already.
pub(super) const RETRY_MS: i64 = 10_000;

/// `sasl.login.refresh.*`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refresh {
    /// `window.factor`: after which share of its life.
    pub(super) factor: f64,
    /// `window.jitter`: how much of its life later at most, by chance.
    pub(super) jitter: f64,
    /// `min.period.seconds`: not sooner than this.
    pub(super) min_period_ms: i64,
    /// `buffer.seconds`: not closer to its end than this.
    pub(super) buffer_ms: i64,
}

impl Refresh {
    /// When a token that is there at `now_ms` is replaced; `chance` is from 0 to 1.
    pub(super) fn at(&self, token: &Token, now_ms: i64, chance: f64) -> i64 {
        let end = token.expires_ms;
        if now_ms > end {
            return now_ms + RETRY_MS;
        }
        let share = self.factor + self.jitter * chance;
        let after = |from: i64| from.saturating_add((end.saturating_sub(from) as f64 * share) as i64);
        if now_ms.saturating_add(self.min_period_ms + self.buffer_ms) > end {
            // Too short a life for both margins.
            return after(now_ms);
        }
        let proposed = after(token.start_ms.unwrap_or(now_ms));
        // The margin at the end counts more than the one at the beginning.
        proposed.max(now_ms + self.min_period_ms).min(end - self.buffer_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_in_time() {
        let refresh = Refresh { factor: 0.8, jitter: 0.05, min_period_ms: 60_000, buffer_ms: 300_000 };
        let cases = [
            // Start, end and now in seconds, chance, when.
            (Some(0), 3_600, 0, 0.0, 2_880),
            (Some(0), 3_600, 0, 1.0, 3_060),
            (None, 3_600, 100, 0.0, 2_900),
            // The margin at the end.
            (Some(0), 1_000, 0, 0.0, 700),
            // The margin at the beginning.
            (Some(0), 3_600, 2_900, 0.0, 2_960),
            // No room for both.
            (Some(0), 300, 0, 0.0, 240),
            (Some(0), 300, 100, 0.0, 260),
            // Over already.
            (Some(0), 300, 301, 0.0, 311),
        ];
        for (start, end, now, chance, expected) in cases {
            let token = Token {
                value: "x".into(),
                principal: "ada".to_owned(),
                start_ms: start.map(|start: i64| start * 1_000),
                expires_ms: end * 1_000,
                extensions: Vec::new(),
            };
            assert_eq!(refresh.at(&token, now * 1_000, chance), expected * 1_000, "{start:?} {end} {now} {chance}");
        }
    }
}
