use super::*;

/// How long changes are gathered before they are drawn.
const BREATH: Duration = Duration::from_millis(20);

/// A scene of one account's rows, which are shown for a day.
struct Shelf {
    name: &'static str,
    ledger: Ledger,
}

impl Scene for Shelf {
    type Picture = (&'static str, u64, bool);

    fn draw(&self, now: Timestamp) -> Self::Picture {
        let status = self.ledger.read();
        (self.name, status.polls, status.visible(now, Some(24 * HOUR)).is_some())
    }

    fn changes_by_itself_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.ledger.read().vanishes_at(Some(24 * HOUR)).filter(|end| *end > now)
    }
}

struct Stage {
    bell: Arc<Notify>,
    scene: watch::Sender<Arc<Shelf>>,
    pictures: watch::Receiver<Arc<(&'static str, u64, bool)>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    began: Instant,
}

impl Stage {
    fn new() -> (Self, Ledger) {
        let bell: Arc<Notify> = Arc::default();
        let ledger = Ledger::new(None, Arc::clone(&bell));
        let scene = watch::Sender::new(Arc::new(Shelf { name: "first", ledger: ledger.clone() }));
        let (out, pictures) = watch::channel(Arc::new(("nothing", 0, false)));
        let stop = CancellationToken::new();
        let clock = Clock::from_tokio(START);
        let task = tokio::spawn(publish(scene.subscribe(), Arc::clone(&bell), out, clock, stop.clone()));
        (Self { bell, scene, pictures, stop, task, began: Instant::now() }, ledger)
    }

    /// The next picture, and when it was drawn.
    async fn next(&mut self) -> ((&'static str, u64, bool), Duration) {
        timeout(100 * HOUR, self.pictures.changed()).await.expect("a picture").unwrap();
        (**self.pictures.borrow_and_update(), self.began.elapsed())
    }
}

fn poll_ends(ledger: &Ledger, at: Timestamp) {
    ledger.write(|status| status.poll_ended(Ok(UsageReport::default()), at, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn the_scene_is_drawn_at_the_start_and_whenever_the_bell_rings() {
    let (mut stage, ledger) = Stage::new();
    assert_eq!(stage.next().await, (("first", 0, false), Duration::ZERO));
    tokio::time::sleep(HOUR).await;
    poll_ends(&ledger, START);
    assert_eq!(stage.next().await, (("first", 1, true), HOUR + BREATH));
    stage.bell.notify_one();
    assert_eq!(stage.next().await, (("first", 1, true), HOUR + 2 * BREATH));
}

#[tokio::test(start_paused = true)]
async fn changes_that_follow_each_other_quickly_are_drawn_together_and_none_is_missed() {
    let (mut stage, ledger) = Stage::new();
    stage.next().await;
    poll_ends(&ledger, START);
    // While it takes its breath.
    tokio::time::sleep(BREATH / 2).await;
    poll_ends(&ledger, START);
    poll_ends(&ledger, START);
    assert_eq!(stage.next().await, (("first", 3, true), BREATH));
    // The bell rang meanwhile, which costs one more drawing and no more.
    assert_eq!(stage.next().await, (("first", 3, true), 2 * BREATH));
    stage.pictures.mark_unchanged();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!stage.pictures.has_changed().unwrap(), "nothing happened, nothing is drawn");
}

#[tokio::test(start_paused = true)]
async fn a_scene_that_replaces_another_is_drawn() {
    let (mut stage, ledger) = Stage::new();
    stage.next().await;
    tokio::time::sleep(HOUR).await;
    stage.scene.send_replace(Arc::new(Shelf { name: "second", ledger }));
    assert_eq!(stage.next().await, (("second", 0, false), HOUR + BREATH));
}

#[tokio::test(start_paused = true)]
async fn rows_vanish_at_their_second_although_nobody_writes() {
    let (mut stage, ledger) = Stage::new();
    poll_ends(&ledger, START);
    stage.next().await;
    let drawn = **stage.pictures.wait_for(|picture| picture.1 == 1).await.unwrap();
    assert_eq!(drawn, ("first", 1, true));
    let gone = timeout(100 * HOUR, stage.pictures.wait_for(|picture| !picture.2)).await.expect("a picture");
    let gone = **gone.unwrap();
    assert_eq!(gone, ("first", 1, false));
    assert_eq!(stage.began.elapsed(), 24 * HOUR + BREATH);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_publisher_at_once() {
    let (mut stage, _ledger) = Stage::new();
    stage.next().await;
    tokio::time::sleep(HOUR).await;
    stage.stop.cancel();
    stage.task.await.unwrap();
    assert_eq!(stage.began.elapsed(), HOUR);
}
