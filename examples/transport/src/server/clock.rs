//! The time limits of a connection.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::{Activity, Phase};
use super::{Limits, TimeLimit};

/// The time limits of a connection, by one timer that is moved only when a limit comes nearer.
pub(super) struct Clock<'a> {
    activity: &'a Activity,
    limits: &'a Limits,
    seen: (Phase, u32),
    since: Instant,
    /// When the connection has been used long enough, until that is told.
    end: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    sleeper: Option<Waker>,
}

impl<'a> Clock<'a> {
    pub(super) fn new(activity: &'a Activity, limits: &'a Limits, age: Duration) -> Self {
        let since = Instant::now();
        let end = Some(since + age.min(FAR));
        let timer = Box::pin(sleep_until(since));
        let mut clock = Self { activity, limits, seen: activity.phase(), since, end, timer, sleeper: None };
        let wake = clock.deadline().map_or(since + FAR, |(at, _)| at);
        clock.timer.as_mut().reset(wake);
        clock
    }

    /// Ready when a limit has passed; the same limit holds once more should the connection go on.
    pub(super) fn poll_limit(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TimeLimit> {
        let phase = self.activity.phase();
        if phase != self.seen {
            (self.seen, self.since) = (phase, Instant::now());
        }
        let deadline = self.deadline();
        if let Some((at, _)) = deadline
            && at < self.timer.deadline()
        {
            self.timer.as_mut().reset(at);
            self.sleeper = None;
        }
        // Nearly always, it is not time yet, and the timer knows already whom to wake.
        let known = self.sleeper.as_ref().is_some_and(|sleeper| sleeper.will_wake(cx.waker()));
        if known && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                self.sleeper = Some(cx.waker().clone());
                return Poll::Pending;
            }
            match deadline {
                Some((at, limit)) if at <= Instant::now() => {
                    match limit {
                        TimeLimit::Age => self.end = None,
                        _ => self.since = Instant::now(),
                    }
                    let again = self.deadline().map_or(at + FAR, |(at, _)| at);
                    self.timer.as_mut().reset(again);
                    self.sleeper = None;
                    return Poll::Ready(limit);
                }
                Some((at, _)) => self.timer.as_mut().reset(at),
                // Busy: look again when the next limit could pass at the earliest.
                None => {
                    let nearest = Instant::now() + self.limits.idle.clamp(Duration::from_secs(1), FAR);
                    self.timer.as_mut().reset(nearest);
                }
            }
        }
    }

    fn deadline(&self) -> Option<(Instant, TimeLimit)> {
        let phase = match self.seen.0 {
            Phase::Idle => Some((self.limits.idle, TimeLimit::Idle)),
            Phase::Head => Some((self.limits.head, TimeLimit::Head)),
            Phase::Busy => None,
        };
        let phase = phase.map(|(time, limit)| (self.since + time.min(FAR), limit));
        let age = self.end.map(|at| (at, TimeLimit::Age));
        phase.into_iter().chain(age).min_by_key(|(at, _)| *at)
    }
}

/// Stands for "no limit": tokio's timer does not reach much further.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits { head: 10 * SECOND, idle: 60 * SECOND, ..Limits::default() }
    }

    fn ageless<'a>(activity: &'a Activity, limits: &'a Limits) -> Clock<'a> {
        Clock::new(activity, limits, Duration::MAX)
    }

    /// Which limit passes within `time`, on a clock that stands still otherwise.
    async fn within(clock: &mut Pin<&mut Clock<'_>>, time: Duration) -> Option<TimeLimit> {
        timeout(time, poll_fn(|cx| clock.as_mut().poll_limit(cx))).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_own_time() {
        let (activity, limits) = (Activity::new(true), limits());
        let mut clock = pin!(ageless(&activity, &limits));
        assert_eq!(within(&mut clock, 9 * SECOND).await, None);
        assert_eq!(within(&mut clock, 2 * SECOND).await, Some(TimeLimit::Head));
        activity.begin();
        activity.end();
        assert_eq!(within(&mut clock, 59 * SECOND).await, None, "idle since just now");
        assert_eq!(within(&mut clock, 2 * SECOND).await, Some(TimeLimit::Idle));
        activity.begin();
        assert_eq!(within(&mut clock, 10_000 * SECOND).await, None, "busy");
        activity.end();
        assert_eq!(within(&mut clock, 59 * SECOND).await, None, "idle since just now");
        assert_eq!(within(&mut clock, 2 * SECOND).await, Some(TimeLimit::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn age_comes_once_whatever_happens_meanwhile() {
        let (activity, limits) = (Activity::new(true), limits());
        let mut clock = pin!(Clock::new(&activity, &limits, 100 * SECOND));
        for _ in 0..9 {
            activity.begin();
            assert_eq!(within(&mut clock, 5 * SECOND).await, None);
            activity.end();
            assert_eq!(within(&mut clock, 5 * SECOND).await, None);
        }
        activity.begin();
        assert_eq!(within(&mut clock, 9 * SECOND).await, None);
        assert_eq!(within(&mut clock, 2 * SECOND).await, Some(TimeLimit::Age), "also while busy");
        assert_eq!(within(&mut clock, 500 * SECOND).await, None, "busy still");
        activity.end();
        assert_eq!(within(&mut clock, 59 * SECOND).await, None, "idle since just now");
        assert_eq!(within(&mut clock, 2 * SECOND).await, Some(TimeLimit::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn every_request_starts_the_idle_time_anew() {
        let (activity, limits) = (Activity::new(true), limits());
        let mut clock = pin!(ageless(&activity, &limits));
        for _ in 0..20 {
            activity.begin();
            activity.end();
            assert_eq!(within(&mut clock, 40 * SECOND).await, None);
        }
        assert_eq!(within(&mut clock, 21 * SECOND).await, Some(TimeLimit::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn octets_shorten_the_time_once() {
        let (activity, limits) = (Activity::new(false), limits());
        let mut clock = pin!(ageless(&activity, &limits));
        assert_eq!(within(&mut clock, 30 * SECOND).await, None);
        for _ in 0..9 {
            activity.octets_came();
            assert_eq!(within(&mut clock, SECOND).await, None);
        }
        activity.octets_came();
        assert_eq!(within(&mut clock, 2 * SECOND).await, Some(TimeLimit::Head), "dripping buys no time");
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_is_no_overflow() {
        let limits = Limits { head: Duration::MAX, idle: Duration::MAX, ..Limits::default() };
        let activity = Activity::new(true);
        let mut clock = pin!(ageless(&activity, &limits));
        assert_eq!(within(&mut clock, SECOND).await, None);
        advance(SECOND).await;
        activity.begin();
        assert_eq!(within(&mut clock, SECOND).await, None);
    }
}
