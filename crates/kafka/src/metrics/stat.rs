//! A figure over the last while and since the beginning.
//!
//! Counterpart of Java's `SampledStat` with `Avg`, `Max`, `Min` and `Rate`, and of `CumulativeSum`: one structure for all of them, because they are fed
//! together and their samples begin and end together.

use std::time::Duration;

use super::MetricsSettings;

/// More samples than this say nothing more; each is kept for every figure.
const MAX_SAMPLES: usize = 100;

#[derive(Clone, Debug)]
struct Sample {
    begun: Duration,
    last: Duration,
    count: f64,
    sum: f64,
    most: f64,
    least: f64,
}

impl Sample {
    fn new(now: Duration) -> Self {
        Self { begun: now, last: now, count: 0.0, sum: 0.0, most: f64::NEG_INFINITY, least: f64::INFINITY }
    }
}

/// What was recorded, windowed and in all.
#[derive(Clone, Debug)]
pub(crate) struct Stat {
    window: Duration,
    /// How many windows count; one more is kept, for one that has begun before and lasts on.
    limit: usize,
    samples: Vec<Sample>,
    current: usize,
    count: f64,
    sum: f64,
}

impl Default for Stat {
    fn default() -> Self {
        Self::new(MetricsSettings::default())
    }
}

impl Stat {
    pub(crate) fn new(settings: MetricsSettings) -> Self {
        let limit = (settings.samples.max(1) as usize).min(MAX_SAMPLES);
        let window = settings.window.max(Duration::from_millis(1));
        Self { window, limit, samples: Vec::new(), current: 0, count: 0.0, sum: 0.0 }
    }

    /// Events that are counted by the hour have windows of an hour, as in Java.
    pub(crate) fn hourly() -> Self {
        Self::new(MetricsSettings { samples: 2, window: Duration::from_secs(3_600) })
    }

    pub(crate) fn record(&mut self, now: Duration, value: f64) {
        self.record_many(now, 1.0, value);
    }

    /// Records `count` events whose values make `sum` together; the greatest and the least are then those of such calls.
    pub(crate) fn record_many(&mut self, now: Duration, count: f64, sum: f64) {
        match self.samples.get(self.current) {
            None => self.samples.push(Sample::new(now)),
            Some(sample) if now.saturating_sub(sample.begun) >= self.window => {
                self.current = (self.current + 1) % (self.limit + 1);
                match self.samples.get_mut(self.current) {
                    Some(oldest) => *oldest = Sample::new(now),
                    None => self.samples.push(Sample::new(now)),
                }
            }
            Some(_) => {}
        }
        let sample = &mut self.samples[self.current];
        sample.last = now;
        sample.count += count;
        sample.sum += sum;
        sample.most = sample.most.max(sum);
        sample.least = sample.least.min(sum);
        self.count += count;
        self.sum += sum;
    }

    /// Samples in which something happened of late.
    fn live(&self, now: Duration) -> impl Iterator<Item = &Sample> {
        let age = self.window.saturating_mul(self.limit as u32);
        self.samples.iter().filter(move |sample| now.saturating_sub(sample.last) < age)
    }

    /// Seconds that the samples stand for.
    fn span(&self, now: Duration) -> f64 {
        let oldest = self.live(now).map(|sample| sample.begun).min().unwrap_or(now);
        let elapsed = now.saturating_sub(oldest);
        let full = (elapsed.as_millis() / self.window.as_millis().max(1)) as usize;
        let missing = (self.limit - 1).saturating_sub(full) as u32;
        elapsed.saturating_add(self.window.saturating_mul(missing)).max(Duration::from_millis(1)).as_secs_f64()
    }

    /// Not a number when nothing was recorded.
    pub(crate) fn average(&self, now: Duration) -> f64 {
        let (count, sum) =
            self.live(now).fold((0.0, 0.0), |(count, sum), sample| (count + sample.count, sum + sample.sum));
        if count == 0.0 { f64::NAN } else { sum / count }
    }

    pub(crate) fn most(&self, now: Duration) -> f64 {
        let most = self.live(now).map(|sample| sample.most).fold(f64::NEG_INFINITY, f64::max);
        if most == f64::NEG_INFINITY { f64::NAN } else { most }
    }

    pub(crate) fn least(&self, now: Duration) -> f64 {
        let least = self.live(now).map(|sample| sample.least).fold(f64::INFINITY, f64::min);
        if least == f64::INFINITY { f64::NAN } else { least }
    }

    /// Of the values, a second.
    pub(crate) fn sum_rate(&self, now: Duration) -> f64 {
        // Not `sum`, which is -0 of nothing.
        self.live(now).fold(0.0, |sum, sample| sum + sample.sum) / self.span(now)
    }

    /// Of the events, a second.
    pub(crate) fn count_rate(&self, now: Duration) -> f64 {
        self.live(now).fold(0.0, |count, sample| count + sample.count) / self.span(now)
    }

    /// Of the events, an hour.
    pub(crate) fn hour_rate(&self, now: Duration) -> f64 {
        self.count_rate(now) * 3_600.0
    }

    /// All values together, since the beginning.
    pub(crate) fn sum(&self) -> f64 {
        self.sum
    }

    /// All events, since the beginning.
    pub(crate) fn count(&self) -> f64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_is_not_a_number_and_no_rate() {
        let stat = Stat::default();
        assert!(stat.average(at(9)).is_nan() && stat.most(at(9)).is_nan() && stat.least(at(9)).is_nan());
        assert_eq!((stat.sum_rate(at(9)), stat.count()), (0.0, 0.0));
        assert!(stat.sum_rate(at(9)).is_sign_positive() && stat.count_rate(at(9)).is_sign_positive());
    }

    /// What Java's `Rate`, `Avg` and `Max` show at the same moments.
    #[test]
    fn windows_run_as_javas_do() {
        let mut stat = Stat::default();
        stat.record(at(0), 6.0);
        stat.record(at(10), 2.0);
        // Ten seconds and a window that has not been yet.
        assert_eq!((stat.sum_rate(at(10)), stat.count_rate(at(10))), (8.0 / 40.0, 2.0 / 40.0));
        stat.record(at(30), 1.0);
        assert_eq!((stat.average(at(30)), stat.most(at(30)), stat.least(at(30))), (3.0, 6.0, 1.0));
        assert_eq!(stat.sum_rate(at(45)), 9.0 / 45.0);
        // The first sample's last event is 60 seconds ago.
        assert_eq!((stat.average(at(70)), stat.sum_rate(at(70))), (1.0, 1.0 / 40.0));
        stat.record(at(75), 5.0);
        assert_eq!((stat.average(at(75)), stat.sum()), (3.0, 14.0));
        assert!(stat.average(at(1_000)).is_nan());
        stat.record(at(2_000), 4.0);
        assert_eq!((stat.most(at(2_000)), stat.sum_rate(at(2_000))), (4.0, 4.0 / 30.0));
    }

    #[test]
    fn an_event_an_hour() {
        let mut stat = Stat::hourly();
        stat.record(at(0), 120.0);
        assert!((stat.hour_rate(at(4)) - 3_600.0 / 3_604.0).abs() < 1e-9);
    }

    #[test]
    fn odd_settings_do_no_harm() {
        for (samples, window) in [(0, Duration::ZERO), (u32::MAX, Duration::MAX), (1, Duration::ZERO)] {
            let mut stat = Stat::new(MetricsSettings { samples, window });
            for second in 0..300 {
                stat.record(at(second), 1.0);
                assert!(stat.samples.len() <= MAX_SAMPLES + 1 && stat.sum_rate(at(second)).is_finite());
            }
            assert_eq!(stat.count(), 300.0);
        }
    }
}
