//! What a long outage leaves in the log.

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::*;

/// The levels of all events but those for debugging.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Level>>>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() <= Level::INFO {
            self.0.lock().unwrap().push(*event.metadata().level());
        }
    }
}

/// Runs the script to its end and returns what it left in the log.
async fn log_of(script: Vec<Answer>) -> Vec<Level> {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
    let ledger = ledger();
    let mut changes = ledger.subscribe();
    let polls = script.len() as u64;
    let polling = start(&ledger, script.into_iter().chain([Hangs]));
    drop(changes.wait_for(|status| status.polls == polls && status.next_at.is_some()).await.unwrap());
    polling.stop().await;
    let lines = lines.0.lock().unwrap();
    lines.clone()
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_month_with_changing_reasons_leaves_one_line_for_each_and_one_for_its_end() {
    let a_month_of_hours = 30 * 24;
    let mut script = vec![Good];
    for _ in 0..a_month_of_hours / 3 {
        script.extend([Fails(Reason::Network), Fails(Reason::Timeout), Throttles(3600)]);
    }
    script.extend([Good, Good]);
    let (info, warn) = (Level::INFO, Level::WARN);
    assert_eq!(log_of(script).await, [info, warn, warn, warn, info]);
}

#[tokio::test(start_paused = true)]
async fn the_next_outage_is_told_anew_and_what_a_person_must_mend_is_an_error() {
    let script = vec![Fails(Reason::Consent), Good, Fails(Reason::Consent), Fails(Reason::Consent)];
    assert_eq!(log_of(script).await, [Level::ERROR, Level::INFO, Level::ERROR]);
}
