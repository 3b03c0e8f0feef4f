use super::*;
use crate::domain::polled::CollectionStatus;

/// How long changes are collected before they are rendered.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// A source of snapshots of one account, whose rows are served for a day.
struct Source {
    name: &'static str,
    ledger: Ledger,
}

/// The name of the source, the number of polls, and whether rows are visible.
type Snapshot = (&'static str, u64, bool);

impl Source {
    fn status(&self) -> CollectionStatus {
        self.ledger.read().of(Collection::Usage).cloned().unwrap_or_default()
    }
}

impl Render for Source {
    type Output = Snapshot;

    fn render(&self, now: Timestamp) -> Snapshot {
        let status = self.status();
        (self.name, status.polls, status.visible(now, Some(24 * HOUR)).is_some())
    }

    fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.status().vanishes_at(Some(24 * HOUR)).filter(|end| *end > now)
    }
}

/// A publishing task.
struct Publishing {
    changed: Arc<Notify>,
    source: watch::Sender<Arc<Source>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    started: Instant,
}

impl Publishing {
    fn start() -> (Self, Ledger) {
        Self::start_by(Clock::from_tokio(START))
    }

    fn start_by(clock: Clock) -> (Self, Ledger) {
        let changed: Arc<Notify> = Arc::default();
        let ledger = Ledger::new(None, Arc::clone(&changed));
        let source = watch::Sender::new(Arc::new(Source { name: "first", ledger: ledger.clone() }));
        let (out, snapshots) = watch::channel(Arc::new(("none", 0, false)));
        let stop = CancellationToken::new();
        let task =
            tokio::spawn(super::publish(source.subscribe(), Arc::clone(&changed), out, clock, stop.clone()));
        (Self { changed, source, snapshots, stop, task, started: Instant::now() }, ledger)
    }

    /// The next snapshot, and when it was rendered.
    async fn next(&mut self) -> (Snapshot, Duration) {
        timeout(100 * HOUR, self.snapshots.changed()).await.expect("a snapshot").unwrap();
        (**self.snapshots.borrow_and_update(), self.started.elapsed())
    }
}

fn poll_ends(ledger: &Ledger, at: Timestamp) {
    ledger
        .write(|status| status.usage_mut().poll_ended(Ok(UsageReport::default().into()), at, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_rendered_at_the_start_and_after_each_notification() {
    let (mut publishing, ledger) = Publishing::start();
    assert_eq!(publishing.next().await, (("first", 0, false), Duration::ZERO));
    tokio::time::sleep(HOUR).await;
    poll_ends(&ledger, START);
    assert_eq!(publishing.next().await, (("first", 1, true), HOUR + DEBOUNCE));
    publishing.changed.notify_one();
    assert_eq!(publishing.next().await, (("first", 1, true), HOUR + 2 * DEBOUNCE));
}

#[tokio::test(start_paused = true)]
async fn changes_in_quick_succession_are_rendered_together_and_none_is_missed() {
    let (mut publishing, ledger) = Publishing::start();
    publishing.next().await;
    poll_ends(&ledger, START);
    tokio::time::sleep(DEBOUNCE / 2).await;
    poll_ends(&ledger, START);
    poll_ends(&ledger, START);
    assert_eq!(publishing.next().await, (("first", 3, true), DEBOUNCE));
    // The notification during the debounce costs one more rendering, and no more.
    assert_eq!(publishing.next().await, (("first", 3, true), 2 * DEBOUNCE));
    publishing.snapshots.mark_unchanged();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!publishing.snapshots.has_changed().unwrap(), "nothing is rendered without a change");
}

#[tokio::test(start_paused = true)]
async fn a_replaced_source_is_rendered() {
    let (mut publishing, ledger) = Publishing::start();
    publishing.next().await;
    tokio::time::sleep(HOUR).await;
    publishing.source.send_replace(Arc::new(Source { name: "second", ledger }));
    assert_eq!(publishing.next().await, (("second", 0, false), HOUR + DEBOUNCE));
}

#[tokio::test(start_paused = true)]
async fn rows_vanish_at_their_second_without_a_notification() {
    let (mut publishing, ledger) = Publishing::start();
    poll_ends(&ledger, START);
    publishing.next().await;
    let rendered = **publishing.snapshots.wait_for(|snapshot| snapshot.1 == 1).await.unwrap();
    assert_eq!(rendered, ("first", 1, true));
    let gone = publishing.snapshots.wait_for(|snapshot| !snapshot.2);
    let gone = **timeout(100 * HOUR, gone).await.expect("a snapshot").unwrap();
    assert_eq!(gone, ("first", 1, false));
    assert_eq!(publishing.started.elapsed(), 24 * HOUR + DEBOUNCE);
}

#[tokio::test(start_paused = true)]
async fn after_a_suspension_stale_rows_vanish_within_five_seconds_and_come_back_if_the_clock_is_set_back() {
    let (time, clock) = Settable::new();
    let (mut publishing, ledger) = Publishing::start_by(clock);
    poll_ends(&ledger, START);
    publishing.snapshots.wait_for(|snapshot| snapshot.2).await.unwrap();
    tokio::time::sleep(HOUR).await;
    let limit = Duration::from_secs(5) + 2 * DEBOUNCE;
    for (hours, visible) in [(72, false), (-72, true)] {
        time.advance(hours);
        let changed = publishing.snapshots.wait_for(|snapshot| snapshot.2 == visible);
        timeout(limit, changed).await.expect("within five seconds").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_nothing_changes_is_not_rendered_again() {
    let (mut publishing, ledger) = Publishing::start();
    poll_ends(&ledger, START);
    publishing.snapshots.wait_for(|snapshot| snapshot.2).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    publishing.snapshots.mark_unchanged();
    tokio::time::sleep(23 * HOUR).await;
    assert!(!publishing.snapshots.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_publisher_at_once() {
    let (mut publishing, _ledger) = Publishing::start();
    publishing.next().await;
    tokio::time::sleep(HOUR).await;
    publishing.stop.cancel();
    publishing.task.await.unwrap();
    assert_eq!(publishing.started.elapsed(), HOUR);
}
