//! Synthetic traces: a seeded generator of plausible secret key rates.
//!
//! What it makes is **not** measured data, and the first line of the trace says so. The shape follows published statements
//! about real links:
//!
//! * the mean falls with the loss of the fibre: `S0 * 10^(-loss/10)`, with `loss = 0.2 dB * km * 1.3 + 2 dB`;
//! * a slow drift, an AR(1) process of the logarithm of the rate;
//! * Gaussian noise from step to step, cut off at 0;
//! * incidents: a chain of the states GOOD, DEGRADED and DEAD, in which a GOOD phase has an exponential and an incident a
//!   lognormal length; some incidents pass through DEAD in their middle;
//! * devices deliver in batches, so the bits of each step are whole batches.
//!
//! Drift is scaled so that its mean over the GOOD steps of the trace is 1: the GOOD steps then have the mean that the loss
//! gives, and incidents take away from it. The same parameters give the same octets on every machine.

use std::fmt;

use crate::prng::Prng;
use crate::rate::Skr;
use crate::trace::{LinkState, MAX_SAMPLES, Sample, Trace};

/// The version of the generator, in the header of each trace; it changes when the octets for a seed change.
pub const GENERATOR_VERSION: u32 = 1;

/// A class of QKD system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// 40 kbit/s without loss, no key beyond 20 dB.
    Slow,
    /// 3 Mbit/s without loss, no key beyond 30 dB.
    Fast,
}

impl Class {
    /// The name in the header of a trace: `slow` or `fast`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Fast => "fast",
        }
    }

    /// The rate without loss, in bits per second.
    #[must_use]
    pub const fn lossless_bps(self) -> f64 {
        match self {
            Self::Slow => 40e3,
            Self::Fast => 3e6,
        }
    }

    /// The loss in dB beyond which there is no key.
    #[must_use]
    pub const fn max_loss_db(self) -> f64 {
        match self {
            Self::Slow => 20.0,
            Self::Fast => 30.0,
        }
    }

    /// The mean rate in bits per second at a loss in dB; 0 beyond the limit.
    #[must_use]
    pub fn mean_bps(self, loss_db: f64) -> f64 {
        if loss_db > self.max_loss_db() { 0.0 } else { self.lossless_bps() * libm::pow(10.0, -loss_db / 10.0) }
    }
}

/// How often the link degrades and fails. Lengths are in steps of the trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Incidents {
    /// The mean length of a GOOD phase.
    pub mean_good_steps: f64,
    /// The mean length of an incident.
    pub mean_steps: f64,
    /// The median length of an incident.
    pub median_steps: f64,
    /// The probability that an incident passes through DEAD.
    pub dead_probability: f64,
    /// The part of such an incident that is DEAD.
    pub dead_part: f64,
}

impl Incidents {
    /// A link in ordinary service: 1.8 % of the time in incidents, one of 15 of them passing through DEAD.
    pub const ORDINARY: Self =
        Self { mean_good_steps: 5_300.0, mean_steps: 95.0, median_steps: 20.0, dead_probability: 1.0 / 15.0, dead_part: 0.5 };
    /// A link at the edge of its reach: dead for a quarter of the time.
    pub const HARSH: Self =
        Self { mean_good_steps: 209.0, mean_steps: 95.0, median_steps: 20.0, dead_probability: 1.0, dead_part: 0.8 };

    /// The share of time that is DEAD in a very long trace.
    #[must_use]
    pub fn dead_share(&self) -> f64 {
        self.mean_steps / (self.mean_good_steps + self.mean_steps) * self.dead_probability * self.dead_part
    }

    fn is_valid(&self) -> bool {
        let lengths = [self.mean_good_steps, self.mean_steps, self.median_steps];
        let shares = [self.dead_probability, self.dead_part];
        lengths.iter().all(|steps| (1.0..=1e9).contains(steps))
            && self.median_steps <= self.mean_steps
            && shares.iter().all(|share| (0.0..=1.0).contains(share))
    }
}

/// The parameters of a synthetic trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// The class of QKD system.
    pub class: Class,
    /// The distance on the map in kilometres.
    pub km: f64,
    /// The length of the trace in hours.
    pub hours: f64,
    /// The step in seconds.
    pub step_s: u32,
    /// The seed of the pseudo-random numbers.
    pub seed: u64,
    /// The time constant of the drift in hours.
    pub drift_hours: f64,
    /// The standard deviation of the drift, of the natural logarithm of the rate.
    pub drift_deviation: f64,
    /// The relative standard deviation of the noise from step to step.
    pub noise_deviation: f64,
    /// How many bits the device delivers at once.
    pub batch_bits: u32,
    /// Degraded and dead phases.
    pub incidents: Incidents,
}

impl Parameters {
    /// Parameters with the usual drift (0.15 over 4 h), noise (0.10), batches (4096 bits), step (60 s) and ordinary incidents.
    #[must_use]
    pub fn new(class: Class, km: f64, hours: f64, seed: u64) -> Self {
        Self {
            class,
            km,
            hours,
            step_s: 60,
            seed,
            drift_hours: 4.0,
            drift_deviation: 0.15,
            noise_deviation: 0.10,
            batch_bits: 4096,
            incidents: Incidents::ORDINARY,
        }
    }

    /// The loss of the link in dB.
    #[must_use]
    pub fn loss_db(&self) -> f64 {
        FIBRE_DB_PER_KM * self.km * ROUTE_FACTOR + FIXED_LOSS_DB
    }

    /// The mean rate of the GOOD phases in bits per second.
    #[must_use]
    pub fn mean_bps(&self) -> f64 {
        self.class.mean_bps(self.loss_db())
    }

    /// Makes the trace.
    ///
    /// # Errors
    /// [`ParameterError`] when a parameter is out of range, or the link is too long for its class.
    pub fn generate(&self) -> Result<Trace, ParameterError> {
        let steps = self.check()?;
        let phases = self.phases(steps);
        let drift = self.scaled_drift(&phases);
        let mean_bps = self.mean_bps();
        let step_s = f64::from(self.step_s);
        let batch = f64::from(self.batch_bits);
        let mut noise = Prng::new(self.seed, NOISE);
        let mut qber = Prng::new(self.seed, QBER);
        // Bits that do not fill a batch yet.
        let mut pending = 0.0;
        let mut samples = Vec::with_capacity(steps);
        for (index, (phase, drift)) in phases.iter().zip(&drift).enumerate() {
            let noise = (1.0 + self.noise_deviation * noise.normal()).max(0.0);
            pending += mean_bps * drift * noise * phase.factor * step_s;
            let delivered = if phase.state == LinkState::Dead { 0.0 } else { (pending / batch).floor() * batch };
            pending -= delivered;
            samples.push(Sample {
                t_s: index as f64 * step_s,
                skr: Skr::new(round(delivered / step_s, 1e3)).map_err(|_| ParameterError::Incidents)?,
                qber: Some(round(phase.qber(&mut qber), 1e5)),
                state: phase.state,
            });
        }
        Trace::new(self.header(), samples).map_err(|_| ParameterError::Length)
    }

    /// Checks the parameters and counts the steps.
    fn check(&self) -> Result<usize, ParameterError> {
        let distance_ok = (0.0..=1e4).contains(&self.km);
        if !distance_ok {
            return Err(ParameterError::Distance);
        }
        if self.loss_db() > self.class.max_loss_db() {
            return Err(ParameterError::TooLong { class: self.class, loss_db: round(self.loss_db(), 10.0) });
        }
        let steps = self.hours * 3600.0 / f64::from(self.step_s);
        if self.step_s == 0 || !(1.0..=MAX_SAMPLES as f64).contains(&steps) {
            return Err(ParameterError::Length);
        }
        let drift_ok = (0.01..=1e4).contains(&self.drift_hours) && (0.0..=1.0).contains(&self.drift_deviation);
        if !drift_ok || !(0.0..=1.0).contains(&self.noise_deviation) {
            return Err(ParameterError::Variation);
        }
        if self.batch_bits == 0 {
            return Err(ParameterError::Batch);
        }
        if !self.incidents.is_valid() {
            return Err(ParameterError::Incidents);
        }
        Ok(steps as usize)
    }

    fn header(&self) -> Vec<String> {
        let incidents = &self.incidents;
        vec![
            "synthetic".to_owned(),
            "not measured: made by a seeded generator".to_owned(),
            format!("generator=qkd-link-trace version={GENERATOR_VERSION} seed={}", self.seed),
            format!("class={} km={} hours={} step_s={}", self.class.as_str(), self.km, self.hours, self.step_s),
            format!(
                "loss_db={} fibre_db_per_km={FIBRE_DB_PER_KM} route_factor={ROUTE_FACTOR} fixed_loss_db={FIXED_LOSS_DB}",
                round(self.loss_db(), 1e3)
            ),
            format!("mean_good_bps={} lossless_bps={}", round(self.mean_bps(), 1e3), self.class.lossless_bps()),
            format!("drift_hours={} drift_deviation={}", self.drift_hours, self.drift_deviation),
            format!("noise_deviation={} batch_bits={}", self.noise_deviation, self.batch_bits),
            format!(
                "mean_good_steps={} incident_mean_steps={} incident_median_steps={} dead_probability={} dead_part={}",
                incidents.mean_good_steps,
                incidents.mean_steps,
                incidents.median_steps,
                incidents.dead_probability,
                incidents.dead_part
            ),
        ]
    }

    /// The state of each step. A trace begins GOOD.
    fn phases(&self, steps: usize) -> Vec<Phase> {
        let incidents = &self.incidents;
        let mut chain = Prng::new(self.seed, CHAIN);
        let spread = (2.0 * libm::log(incidents.mean_steps / incidents.median_steps)).sqrt();
        let mut phases = Vec::with_capacity(steps);
        while phases.len() < steps {
            let good = whole_steps(incidents.mean_good_steps * chain.exponential());
            phases.extend(std::iter::repeat_n(Phase::GOOD, good.min(steps - phases.len())));

            let length = whole_steps(incidents.median_steps * libm::exp(spread * chain.normal()));
            let degraded = Phase { state: LinkState::Degraded, factor: chain.between(DEGRADED_FACTOR.0, DEGRADED_FACTOR.1) };
            let passes_dead = chain.uniform() < incidents.dead_probability;
            let dead = if passes_dead { (length as f64 * incidents.dead_part).round() as usize } else { 0 };
            let before = (length - dead) / 2;
            let incident = (0..length).map(|step| if step >= before && step < before + dead { Phase::DEAD } else { degraded });
            let room = steps - phases.len();
            phases.extend(incident.take(room));
        }
        phases
    }

    /// The drift of each step as a factor, with mean 1 over the GOOD steps.
    fn scaled_drift(&self, phases: &[Phase]) -> Vec<f64> {
        let mut factors: Vec<f64> = self.drift(phases.len()).into_iter().map(libm::exp).collect();
        let good = || phases.iter().zip(&factors).filter(|(phase, _)| phase.state == LinkState::Good);
        let (sum, count) = good().fold((0.0, 0.0), |(sum, count), (_, factor)| (sum + factor, count + 1.0));
        let mean = if count > 0.0 { sum / count } else { 1.0 };
        factors.iter_mut().for_each(|factor| *factor /= mean);
        factors
    }

    /// The drift of each step, in the logarithm of the rate.
    fn drift(&self, steps: usize) -> Vec<f64> {
        let mut prng = Prng::new(self.seed, DRIFT);
        let keep = libm::exp(-f64::from(self.step_s) / (self.drift_hours * 3600.0));
        let fresh = (1.0 - keep * keep).sqrt();
        let mut level = prng.normal();
        let mut drift = Vec::with_capacity(steps);
        for _ in 0..steps {
            drift.push(self.drift_deviation * level);
            level = keep * level + fresh * prng.normal();
        }
        drift
    }
}

/// Parameters that give no trace.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// The distance is negative or absurd.
    #[error("the distance is a number of kilometres from 0 to 10000")]
    Distance,
    /// The loss is beyond what the class can bridge.
    #[error("the link has {loss_db} dB; a {class} system makes no key beyond {} dB", class.max_loss_db())]
    TooLong {
        /// The class of system.
        class: Class,
        /// The loss of the link in dB.
        loss_db: f64,
    },
    /// Hours and step give no or too many samples.
    #[error("a trace has 1 to {MAX_SAMPLES} steps")]
    Length,
    /// Drift or noise are out of range.
    #[error("drift lasts 0.01 to 10000 hours; deviations lie between 0 and 1")]
    Variation,
    /// A batch has no bits.
    #[error("a batch has at least one bit")]
    Batch,
    /// The incident lengths or shares are out of range.
    #[error("lengths of incidents are at least one step, the median not above the mean; shares lie between 0 and 1")]
    Incidents,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug)]
struct Phase {
    state: LinkState,
    /// The rate as a part of the usual one.
    factor: f64,
}

impl Phase {
    const GOOD: Self = Self { state: LinkState::Good, factor: 1.0 };
    const DEAD: Self = Self { state: LinkState::Dead, factor: 0.0 };

    /// A plausible error rate: near 1.25 % when good, the higher the lower the rate, beyond 11 % (no key) when dead.
    fn qber(self, prng: &mut Prng) -> f64 {
        if self.state == LinkState::Dead {
            return prng.between(NO_KEY_QBER, 0.25);
        }
        let rise = libm::pow((1.0 - self.factor).max(0.0), 3.0) * 0.08;
        (0.0125 + rise + 0.0046 * prng.normal()).clamp(0.001, NO_KEY_QBER - 0.001)
    }
}

const FIBRE_DB_PER_KM: f64 = 0.2;
const ROUTE_FACTOR: f64 = 1.3;
const FIXED_LOSS_DB: f64 = 2.0;
const DEGRADED_FACTOR: (f64, f64) = (0.2, 0.7);
const NO_KEY_QBER: f64 = 0.11;

// The parts of a trace that draw numbers of their own.
const CHAIN: u64 = 1;
const DRIFT: u64 = 2;
const NOISE: u64 = 3;
const QBER: u64 = 4;

fn whole_steps(steps: f64) -> usize {
    steps.round().max(1.0) as usize
}

fn round(value: f64, scale: f64) -> f64 {
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_falls_with_the_loss_and_ends_at_the_limit() {
        for (class, loss_db, low, high) in [
            (Class::Slow, 12.0, 2_500.0, 2_550.0),
            (Class::Fast, 10.0, 299_000.0, 301_000.0),
            (Class::Slow, 20.0, 399.0, 401.0),
            (Class::Slow, 20.1, 0.0, 0.0),
            (Class::Fast, 30.1, 0.0, 0.0),
        ] {
            let mean = class.mean_bps(loss_db);
            assert!((low..=high).contains(&mean), "{class} at {loss_db} dB: {mean}");
        }
    }

    #[test]
    fn good_steps_have_the_mean_of_the_loss_over_24_hours() {
        for seed in 0..50 {
            for class in [Class::Slow, Class::Fast] {
                let parameters = Parameters::new(class, 40.0, 24.0, seed);
                let trace = parameters.generate().expect("valid parameters");
                let good: Vec<f64> = trace.samples().iter().filter(|s| s.state == LinkState::Good).map(|s| s.skr.bps()).collect();
                let mean = good.iter().sum::<f64>() / good.len() as f64;
                assert!((mean / parameters.mean_bps() - 1.0).abs() < 0.05, "{class}, seed {seed}: {mean}");
            }
        }
    }

    #[test]
    fn the_drift_is_slow_and_has_its_deviation() {
        for seed in 0..20 {
            let parameters = Parameters::new(Class::Slow, 40.0, 24.0, seed);
            assert!(autocorrelation(&parameters.drift(1440), 1) > 0.9, "seed {seed}");
        }
        let long = Parameters::new(Class::Slow, 40.0, 24.0, 1).drift(1_000_000);
        let deviation = (long.iter().map(|x| x * x).sum::<f64>() / long.len() as f64).sqrt();
        assert!((0.14..0.16).contains(&deviation), "{deviation}");
        // After one time constant 1/e is left.
        let after_4_h = autocorrelation(&long, 240);
        assert!((0.3..0.44).contains(&after_4_h), "{after_4_h}");
    }

    #[test]
    fn dead_time_has_the_configured_share() {
        for (incidents, low, high) in [(Incidents::ORDINARY, 0.0003, 0.0010), (Incidents::HARSH, 0.20, 0.30)] {
            assert!((low..high).contains(&incidents.dead_share()), "{}", incidents.dead_share());
            let (mut dead, mut steps) = (0, 0);
            for seed in 0..30 {
                let parameters = Parameters { incidents, ..Parameters::new(Class::Slow, 40.0, 24.0, seed) };
                let phases = parameters.phases(200_000);
                dead += phases.iter().filter(|phase| phase.state == LinkState::Dead).count();
                steps += phases.len();
            }
            let share = dead as f64 / steps as f64;
            assert!((low..high).contains(&share), "{share}");
        }
    }

    #[test]
    fn incidents_have_their_median_and_mean() {
        let parameters = Parameters { incidents: Incidents::HARSH, ..Parameters::new(Class::Slow, 40.0, 24.0, 5) };
        let phases = parameters.phases(1_000_000);
        let mut lengths: Vec<usize> = phases
            .chunk_by(|a, b| (a.state == LinkState::Good) == (b.state == LinkState::Good))
            .filter(|run| run[0].state != LinkState::Good)
            .map(<[Phase]>::len)
            .collect();
        lengths.sort_unstable();
        let median = lengths[lengths.len() / 2];
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        assert!((17..=23).contains(&median), "{median}");
        assert!((70.0..125.0).contains(&mean), "{mean}");
    }

    #[test]
    fn states_agree_with_rates_and_error_rates() {
        let harsh = Parameters { incidents: Incidents::HARSH, ..Parameters::new(Class::Slow, 40.0, 240.0, 9) };
        let trace = harsh.generate().expect("valid parameters");
        let states = |state| trace.samples().iter().filter(move |sample| sample.state == state);
        let mean = |state| {
            let rates: Vec<f64> = states(state).map(|sample| sample.skr.bps()).collect();
            rates.iter().sum::<f64>() / rates.len() as f64 / harsh.mean_bps()
        };
        assert!((0.2..0.7).contains(&mean(LinkState::Degraded)), "{}", mean(LinkState::Degraded));
        assert!(states(LinkState::Dead).count() > 100);
        assert!(states(LinkState::Dead).all(|sample| sample.skr == Skr::ZERO && sample.qber >= Some(0.11)));
        assert!(states(LinkState::Good).all(|sample| sample.qber < Some(0.11)));
    }

    #[test]
    fn each_step_delivers_whole_batches() {
        let parameters = Parameters { step_s: 1, batch_bits: 4096, ..Parameters::new(Class::Slow, 40.0, 1.0, 2) };
        let trace = parameters.generate().expect("valid parameters");
        assert!(trace.samples().iter().all(|sample| sample.skr.bps() % 4096.0 == 0.0));
        assert!(trace.samples().iter().any(|sample| sample.skr == Skr::ZERO && sample.state == LinkState::Good));
    }

    #[test]
    fn the_seed_fixes_the_octets_and_the_header_tells_it() {
        let text = |seed| Parameters::new(Class::Fast, 25.0, 24.0, seed).generate().expect("valid parameters").to_string();
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
        assert!(text(7).starts_with("# synthetic\n"), "labelled in the first line");
        assert!(text(7).contains(" version=1 seed=7\n"));
        assert!(text(7).contains("class=fast km=25 hours=24 step_s=60"));
        // Fixed for this version of the generator: a change of the octets asks for a new GENERATOR_VERSION.
        let sum = text(7)
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3));
        assert_eq!(sum, 11_829_364_205_625_946_789);
    }

    #[test]
    fn a_trace_reads_back_as_it_was() {
        let trace = Parameters::new(Class::Slow, 30.0, 24.0, 1).generate().expect("valid parameters");
        assert!(trace.is_synthetic());
        assert_eq!(Trace::parse(&trace.to_string()), Ok(trace));
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let base = Parameters::new(Class::Slow, 40.0, 24.0, 1);
        let short = Incidents { median_steps: 200.0, ..Incidents::ORDINARY };
        for (parameters, error) in [
            (Parameters { km: -1.0, ..base.clone() }, ParameterError::Distance),
            (Parameters { km: f64::NAN, ..base.clone() }, ParameterError::Distance),
            (Parameters { km: 80.0, ..base.clone() }, ParameterError::TooLong { class: Class::Slow, loss_db: 22.8 }),
            (Parameters { hours: 0.0, ..base.clone() }, ParameterError::Length),
            (Parameters { hours: f64::INFINITY, ..base.clone() }, ParameterError::Length),
            (Parameters { step_s: 0, ..base.clone() }, ParameterError::Length),
            (Parameters { drift_hours: 0.0, ..base.clone() }, ParameterError::Variation),
            (Parameters { noise_deviation: -0.1, ..base.clone() }, ParameterError::Variation),
            (Parameters { batch_bits: 0, ..base.clone() }, ParameterError::Batch),
            (Parameters { incidents: short, ..base.clone() }, ParameterError::Incidents),
        ] {
            assert_eq!(parameters.generate(), Err(error), "{parameters:?}");
        }
        assert!(Parameters { km: 0.0, ..base }.generate().is_ok());
    }

    fn autocorrelation(series: &[f64], lag: usize) -> f64 {
        let mean = series.iter().sum::<f64>() / series.len() as f64;
        let variance: f64 = series.iter().map(|x| (x - mean).powi(2)).sum();
        let covariance: f64 = series.iter().zip(&series[lag..]).map(|(a, b)| (a - mean) * (b - mean)).sum();
        covariance / variance
    }
}
