//! The log of a long outage.

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::*;
use crate::domain::polled::LastGood;

/// The levels of the events logged at info and above.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Level>>>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() <= Level::INFO {
            self.0.lock().unwrap().push(*event.metadata().level());
        }
    }
}

/// Runs the script to its end and returns the levels of what it logged.
async fn log_of(script: Vec<Answer>) -> Vec<Level> {
    log_with(&ledger(), script).await
}

async fn log_with(ledger: &Ledger, script: Vec<Answer>) -> Vec<Level> {
    let lines = Lines::default();
    let _guard = crate::testkit::listen(lines.clone());
    let mut changes = ledger.subscribe();
    let polls = script.len() as u64;
    let polling = start(ledger, script.into_iter().chain([Hangs]));
    drop(
        changes
            .wait_for(|status| status.usage().polls == polls && status.usage().next_poll_at.is_some())
            .await
            .unwrap(),
    );
    polling.stop().await;
    let lines = lines.0.lock().unwrap();
    lines.clone()
}

#[tokio::test(start_paused = true)]
async fn a_month_of_failures_with_alternating_reasons_logs_each_reason_and_the_recovery_once() {
    let a_month_of_hours = 30 * 24;
    let mut script = vec![Succeeds];
    for _ in 0..a_month_of_hours / 3 {
        script.extend([Fails(FailureReason::Network), Fails(FailureReason::Timeout), Throttles(3600)]);
    }
    script.extend([Succeeds, Succeeds]);
    let (info, warn) = (Level::INFO, Level::WARN);
    assert_eq!(log_of(script).await, [info, warn, warn, warn, info]);
}

#[tokio::test(start_paused = true)]
async fn the_next_outage_is_logged_again_and_a_failure_that_needs_an_operator_is_an_error() {
    let script = vec![
        Fails(FailureReason::Consent),
        Succeeds,
        Fails(FailureReason::Consent),
        Fails(FailureReason::Consent),
    ];
    assert_eq!(log_of(script).await, [Level::ERROR, Level::INFO, Level::ERROR]);
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_becomes_empty_is_a_warning_once_and_rows_that_return_are_reported() {
    let (info, warn) = (Level::INFO, Level::WARN);
    let network = || Fails(FailureReason::Network);
    for (script, expected, why) in [
        (vec![Succeeds, Empty, Empty, Empty], vec![info, warn], "one warning"),
        (vec![Empty, Empty], vec![info, warn], "the first poll counts"),
        (vec![Empty, Succeeds, Succeeds], vec![info, warn, info], "the rows are back"),
        (vec![Empty, Succeeds, Empty], vec![info, warn, info, warn], "each change is reported"),
        (vec![Empty, network(), Empty], vec![info, warn, warn, info], "a failure in between is no change"),
        (vec![network(), Empty, Empty], vec![warn, info, warn], "the first success counts"),
    ] {
        assert_eq!(log_of(script).await, expected, "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_collection_that_was_restored_is_reported_by_the_new_process() {
    let ledger = ledger();
    let good = LastGood { report: Arc::new(UsageReport::default().into()), at: START, failed_since: true };
    ledger.write(|status| status.usage_mut().last_good = Some(good));
    assert_eq!(
        log_with(&ledger, vec![Fails(FailureReason::Network), Empty, Empty]).await,
        [Level::WARN, Level::INFO, Level::WARN,]
    );
}
