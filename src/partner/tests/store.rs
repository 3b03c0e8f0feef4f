use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

fn token_file(bed: &Bed) -> std::path::PathBuf {
    bed.state_directory().join(format!("refresh-token-{TENANT}-{CLIENT_ID}.json"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The refresh tokens that were sent, in order.
fn sent_tokens(bed: &Bed) -> Vec<String> {
    let arrivals = bed.arrivals().into_iter().filter(|arrival| arrival.path.ends_with("/token"));
    arrivals
        .map(|arrival| {
            let token = arrival.form.split('&').find_map(|pair| pair.strip_prefix("refresh_token="));
            token.unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn a_successor_is_kept_in_a_file_that_only_its_owner_can_read() {
    let bed = Bed::new("").await;
    bed.client().fetch().await.unwrap();
    assert_eq!((mode(&token_file(&bed)), mode(&bed.state_directory())), (0o600, 0o700));
    let stored = bed.stored().unwrap();
    assert_eq!(stored["version"], 1);
    assert_eq!(stored["issued_at"], START.to_string());
    assert!(text(&stored["refresh_token"]).starts_with("simulated-refresh-token-"));
    let shown = stored.to_string();
    assert!(!shown.contains(&format!("{REFRESH_TOKEN}\"")), "the first token itself is not in it: {shown}");
    assert_eq!(bed.ledger.read().credentials.refresh_token_issued_at, Some(START));
    let files = fs::read_dir(bed.state_directory()).unwrap().count();
    assert_eq!(files, 2, "the token and its lock, and no temporary file is left behind");
}

#[tokio::test]
async fn a_successor_is_on_the_disk_before_anything_else_is_sent() {
    let bed = Bed::new("").await;
    bed.client().fetch().await.unwrap();
    let [token, usage] = &bed.arrivals()[..] else { panic!("two requests") };
    assert_eq!(token.stored, None);
    assert_eq!(usage.stored, Some(text(&bed.stored().unwrap()["refresh_token"])));
}

#[tokio::test]
async fn the_next_start_uses_the_successor() {
    let bed = Bed::new("rotation: strict").await;
    bed.client().fetch().await.unwrap();
    let successor = text(&bed.stored().unwrap()["refresh_token"]);
    bed.client().fetch().await.unwrap();
    assert_eq!(sent_tokens(&bed), [REFRESH_TOKEN, &successor]);
    // Were the file lost, the first token alone would not do any more.
    fs::remove_file(token_file(&bed)).unwrap();
    assert_eq!(bed.client().fetch().await.unwrap_err().reason(), Reason::Credentials);
}

#[tokio::test]
async fn the_next_start_knows_when_the_stored_token_was_issued() {
    let mut bed = Bed::new("").await;
    bed.client().fetch().await.unwrap();
    bed.ledger = Ledger::new(None, Arc::default());
    bed.clock = Clock::fixed(START + Duration::from_hours(5));
    bed.scenario("token: {answer: server_error}");
    bed.client().fetch().await.unwrap_err();
    assert_eq!(bed.ledger.read().credentials.refresh_token_issued_at, Some(START));
}

#[tokio::test]
async fn a_file_that_cannot_be_ours_is_set_aside_and_the_configured_token_used() {
    let bed = Bed::new("").await;
    bed.client().fetch().await.unwrap();
    let good = bed.stored().unwrap();
    let changed = |key: &str, value: Value| {
        let mut record = good.clone();
        record[key] = value;
        record.to_string().into_bytes()
    };
    for (what, content) in [
        ("damaged", b"{\"version\": 1, \"own".to_vec()),
        ("not even text", vec![0xff, 0xfe]),
        ("empty", Vec::new()),
        ("of another tenant", changed("owner", "https://login.example other.example x".into())),
        ("of a later version", changed("version", 2.into())),
    ] {
        fs::write(token_file(&bed), &content).unwrap();
        bed.client().fetch().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(sent_tokens(&bed).last().unwrap(), REFRESH_TOKEN, "{what}");
        let aside = token_file(&bed).with_extension("json.set-aside");
        assert_eq!(fs::read(&aside).unwrap(), content, "{what}");
        if what != "of a later version" {
            fs::remove_file(aside).unwrap();
        }
        assert_eq!(bed.stored().unwrap()["owner"], good["owner"], "{what}: a good file is in its place");
    }
    // What was set aside first is still there when there is more to set aside.
    fs::write(token_file(&bed), "x").unwrap();
    bed.client().fetch().await.unwrap();
    assert_eq!(fs::read(token_file(&bed).with_extension("json.set-aside-2")).unwrap(), b"x");
}

#[tokio::test]
async fn another_first_token_from_the_operator_replaces_the_stored_one() {
    let bed = Bed::new("").await;
    bed.client().fetch().await.unwrap();
    bed.scenario("refresh_token: a-second-first");
    let account = bed.account("a-second-first", "http");
    for _ in 0..2 {
        bed.client_of(&account, Duration::from_mins(1)).fetch().await.unwrap();
    }
    let sent = sent_tokens(&bed);
    assert_eq!(sent[..2], [REFRESH_TOKEN, "a-second-first"]);
    assert!(sent[2].starts_with("simulated-refresh-token-"), "from then on its own successors: {sent:?}");
}

#[tokio::test]
async fn a_store_that_cannot_be_written_costs_the_successor_and_nothing_else() {
    type Sabotage = fn(&Bed);
    let sabotages: [(&str, Sabotage); 2] = [
        ("a file is in the directory's place", |bed| {
            fs::remove_dir_all(bed.state_directory()).unwrap();
            fs::write(bed.state_directory(), "").unwrap();
        }),
        ("the file cannot be replaced", |bed| fs::create_dir_all(token_file(bed).join("x")).unwrap()),
    ];
    for (what, sabotage) in sabotages {
        let bed = Bed::new("").await;
        let client = bed.client();
        sabotage(&bed);
        assert_eq!(client.fetch().await.unwrap().rows().len(), 5, "{what}");
        pass(Duration::from_hours(1)).await;
        client.fetch().await.unwrap();
        assert_eq!(sent_tokens(&bed), [REFRESH_TOKEN; 2], "{what}");
        assert_eq!(bed.ledger.read().credentials.refresh_token_issued_at, None, "{what}");
    }
}

#[tokio::test]
async fn a_directory_that_vanishes_is_made_anew_and_the_newest_token_known_is_used() {
    let bed = Bed::new("rotation: strict").await;
    let client = bed.client();
    client.fetch().await.unwrap();
    let successor = text(&bed.stored().unwrap()["refresh_token"]);
    fs::remove_dir_all(bed.state_directory()).unwrap();
    pass(Duration::from_hours(1)).await;
    client.fetch().await.unwrap();
    assert_eq!(sent_tokens(&bed), [REFRESH_TOKEN, &successor]);
    assert_eq!((mode(&token_file(&bed)), mode(&bed.state_directory())), (0o600, 0o700));
    assert_ne!(text(&bed.stored().unwrap()["refresh_token"]), successor, "the newest is on the disk");
}

#[tokio::test]
async fn a_file_that_is_damaged_while_the_program_runs_costs_nothing() {
    let bed = Bed::new("rotation: strict").await;
    let client = bed.client();
    client.fetch().await.unwrap();
    fs::write(token_file(&bed), "x").unwrap();
    pass(Duration::from_hours(1)).await;
    client.fetch().await.unwrap();
    assert!(bed.stored().is_some(), "a good file is in its place");
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_found_at_the_start() {
    let bed = Bed::new("").await;
    let (account, file) = (bed.account(REFRESH_TOKEN, "http"), bed.directory.path().join("file"));
    fs::write(&file, "").unwrap();
    let error = TokenStore::open(&file, &account).unwrap_err().to_string();
    assert_eq!(error, format!("cannot write to {}: File exists (os error 17)", file.display()));
    assert!(TokenStore::open(&file.join("below"), &account).is_err());
}

#[tokio::test]
async fn the_file_outlives_another_spelling_of_the_ids_and_no_other_tenant_shares_it() {
    let bed = Bed::new("").await;
    let account = bed.account(REFRESH_TOKEN, "http");
    let loud = Account { tenant_id: TENANT.to_uppercase(), ..account.clone() };
    let other = Account { tenant_id: "fabrikam.example".to_owned(), ..account };
    bed.client().fetch().await.unwrap();
    let stored = |account: &Account| {
        TokenStore::open(&bed.state_directory(), account).unwrap().load().unwrap().is_some()
    };
    assert_eq!((stored(&loud), stored(&other)), (true, false));
}

#[tokio::test]
async fn a_configured_token_that_is_refused_gives_way_to_the_stored_one_for_good() {
    let bed = Bed::new("rotation: strict").await;
    bed.client().fetch().await.unwrap();
    // As after the return of an old configuration.
    let client = bed.client_of(&bed.account("an-old-token", "http"), Duration::from_mins(1));
    for _ in 0..2 {
        client.fetch().await.unwrap();
        pass(Duration::from_hours(1)).await;
    }
    let sent = sent_tokens(&bed);
    assert_eq!(sent[..2], [REFRESH_TOKEN, "an-old-token"]);
    assert!(sent[2..].iter().all(|token| token.starts_with("simulated-refresh-token-")), "{sent:?}");
    assert_eq!(sent.len(), 4, "the refused one is not tried again");
}

#[tokio::test]
async fn two_processes_that_share_a_state_directory_take_turns() {
    let bed = Bed::new("rotation: strict").await;
    let replicas: Vec<_> = (0..4).map(|_| bed.client()).collect();
    let (a, b, c, d) =
        tokio::join!(replicas[0].fetch(), replicas[1].fetch(), replicas[2].fetch(), replicas[3].fetch());
    for outcome in [a, b, c, d] {
        outcome.unwrap();
    }
    let sent: std::collections::BTreeSet<_> = sent_tokens(&bed).into_iter().collect();
    assert_eq!(sent.len(), 4, "each used the successor of the one before: {sent:?}");
}

#[tokio::test]
async fn whoever_waits_for_a_turn_in_vain_can_give_up_and_says_what_to_do_after_half_of_its_time() {
    let bed = Bed::new("").await;
    let client = bed.client();
    client.fetch().await.unwrap();
    let lock_path = token_file(&bed).with_extension("lock");
    let lock = fs::File::open(&lock_path).unwrap();
    lock.lock().unwrap();
    let waiting = bed.client();
    let in_vain = timeout(Duration::from_millis(200), waiting.fetch()).await;
    assert!(in_vain.is_err(), "somebody else has the turn");
    waiting.settle().await;
    let hasty = bed.client_of(&bed.account(REFRESH_TOKEN, "http"), Duration::from_millis(200));
    let error = hasty.fetch().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Timeout);
    let path = lock_path.display();
    assert_eq!(error.to_string(), format!("another process has kept {path} locked for 100ms"));
    assert!(error.remedy().contains("find the process"), "{}", error.remedy());
    assert_eq!(bed.traffic(), "token 200: 1, usage 200: 1");
    lock.unlock().unwrap();
    waiting.fetch().await.unwrap();
}

#[tokio::test]
async fn the_token_of_a_new_sign_in_is_noticed_and_used() {
    let bed = Bed::new("").await;
    let client = bed.client();
    client.fetch().await.unwrap();
    let mut record = bed.stored().unwrap();
    record["refresh_token"] = "another-one".into();
    record["signed_in_at"] = START.to_string().into();
    let noticed = async {
        client.changed().await;
        client.fetch().await
    };
    let signing_in = async { fs::write(token_file(&bed), record.to_string()).unwrap() };
    let (outcome, ()) = tokio::join!(noticed, signing_in);
    drop(outcome);
    assert_eq!(sent_tokens(&bed).last().unwrap(), "another-one");
}

#[tokio::test]
async fn a_successor_that_another_process_stores_is_no_news() {
    let bed = Bed::new("").await;
    let (one, other) = (bed.client(), bed.client());
    one.fetch().await.unwrap();
    other.fetch().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 2, "the other has replaced the token of the one");
    tokio::time::pause();
    assert!(timeout(Duration::from_mins(10), one.changed()).await.is_err());
}

#[tokio::test]
async fn a_person_who_signs_in_without_the_configured_token_in_sight_has_the_newer_one() {
    let bed = Bed::new("").await;
    bed.client().fetch().await.unwrap();
    let mut record = bed.stored().unwrap();
    record["ancestor_sha256"] = "".into();
    record["signed_in_at"] = START.to_string().into();
    fs::write(token_file(&bed), record.to_string()).unwrap();
    let signed_in = text(&record["refresh_token"]);
    bed.client().fetch().await.unwrap();
    assert_eq!(sent_tokens(&bed), [REFRESH_TOKEN, &signed_in]);
    // Another one that is configured later is newer still.
    bed.scenario("refresh_token: configured-later");
    bed.client_of(&bed.account("configured-later", "http"), Duration::from_mins(1)).fetch().await.unwrap();
    assert_eq!(sent_tokens(&bed).last().unwrap(), "configured-later");
}

#[tokio::test]
async fn a_wrong_client_secret_is_not_held_against_a_new_refresh_token() {
    let bed = Bed::new("").await;
    bed.client().fetch().await.unwrap();
    bed.scenario("{refresh_token: a-second-first, token: {answer: bad_client_secret, times: 1}}");
    let client = bed.client_of(&bed.account("a-second-first", "http"), Duration::from_mins(1));
    assert_eq!(client.fetch().await.unwrap_err().reason(), Reason::Credentials);
    client.fetch().await.unwrap();
    assert_eq!(sent_tokens(&bed)[1..], ["a-second-first"; 2], "tried again once the secret is right");
}

#[tokio::test]
async fn where_the_configured_and_the_stored_token_are_refused_both_are_tried_again() {
    let bed = Bed::new("").await;
    bed.client().fetch().await.unwrap();
    bed.scenario("{refresh_token: a-second-first, token: {answer: consent_revoked, times: 2}}");
    let client = bed.client_of(&bed.account("a-second-first", "http"), Duration::from_mins(1));
    assert_eq!(client.fetch().await.unwrap_err().reason(), Reason::Consent);
    client.fetch().await.unwrap();
    let sent = sent_tokens(&bed);
    assert_eq!((sent.len(), &sent[1], &sent[3]), (4, &"a-second-first".into(), &"a-second-first".into()));
}

#[tokio::test]
async fn a_directory_that_somebody_keeps_locked_costs_some_seconds_and_stops_nothing_else() {
    let bed = Bed::new("").await;
    let client = bed.client();
    let directory = fs::File::open(bed.state_directory()).unwrap();
    directory.lock().unwrap();
    let started = tokio::time::Instant::now();
    client.fetch().await.unwrap();
    assert!(started.elapsed() > Duration::from_secs(2), "it waited for the lock");
    assert!(bed.stored().is_some());
}

/// Not even root opens a directory for writing.
fn make_unlockable(bed: &Bed) {
    let lock = token_file(bed).with_extension("lock");
    drop(fs::remove_file(&lock));
    fs::create_dir_all(lock).unwrap();
}

#[tokio::test]
async fn where_there_can_be_no_lock_any_more_renewals_go_on() {
    let bed = Bed::new("rotation: strict").await;
    let client = bed.client();
    make_unlockable(&bed);
    client.fetch().await.unwrap();
    pass(Duration::from_hours(1)).await;
    client.fetch().await.unwrap();
    assert_eq!(sent_tokens(&bed).len(), 2);
}

#[tokio::test]
async fn where_there_can_be_no_lock_from_the_start_there_is_no_start() {
    let bed = Bed::new("").await;
    make_unlockable(&bed);
    let error = TokenStore::open(&bed.state_directory(), &bed.account(REFRESH_TOKEN, "http")).unwrap_err();
    let lock = token_file(&bed).with_extension("lock");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot lock {}: Is a directory (os error 21); state_directory must be on a file system with locks: \
             without them two exporters could use the same refresh token",
            lock.display()
        )
    );
}

#[tokio::test]
async fn looking_at_a_store_leaves_everything_as_it_is() {
    let bed = Bed::new("").await;
    let account = bed.account(REFRESH_TOKEN, "http");
    fs::create_dir(bed.state_directory()).unwrap();
    fs::write(token_file(&bed), "damaged").unwrap();
    let store = TokenStore::look_at(&bed.state_directory(), &account);
    store.check_lock().unwrap();
    let client = PartnerCenter::new(&account, store, &bed.ledger, &bed.clock, Duration::from_mins(1));
    client.unwrap().without_rotation().fetch().await.unwrap();
    let files: Vec<_> =
        fs::read_dir(bed.state_directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, [token_file(&bed).file_name().unwrap()], "no lock, nothing moved");
    assert_eq!(fs::read_to_string(token_file(&bed)).unwrap(), "damaged");
}

/// A client whose successors cannot be stored.
async fn client_without_a_disk(bed: &Bed) -> PartnerCenter {
    let client = bed.client();
    fs::create_dir_all(token_file(bed).join("x")).unwrap();
    client.fetch().await.unwrap();
    pass(Duration::from_hours(1)).await;
    client
}

#[tokio::test]
async fn a_successor_that_the_disk_did_not_take_is_used_where_the_old_token_ended_with_its_use() {
    let bed = Bed::new("rotation: strict").await;
    let client = client_without_a_disk(&bed).await;
    client.fetch().await.unwrap();
    let sent = sent_tokens(&bed);
    assert_eq!(sent[..2], [REFRESH_TOKEN; 2], "the one that is known to be kept comes first");
    assert!(sent[2].starts_with("simulated-refresh-token-"), "{sent:?}");
    fs::remove_dir_all(token_file(&bed)).unwrap();
    pass(Duration::from_hours(1)).await;
    client.fetch().await.unwrap();
    assert!(bed.stored().is_some(), "its own successor is on the disk");
}

#[tokio::test]
async fn a_successor_that_the_disk_did_not_take_does_not_come_before_a_new_sign_in() {
    let bed = Bed::new("rotation: strict").await;
    let client = client_without_a_disk(&bed).await;
    fs::remove_dir_all(token_file(&bed)).unwrap();
    let other = Bed::new("").await;
    other.client().fetch().await.unwrap();
    let mut record = other.stored().unwrap();
    record["owner"] = format!("http://{} {TENANT} {CLIENT_ID}", bed.address).into();
    record["signed_in_at"] = START.to_string().into();
    record["refresh_token"] = "refused-sign-in".into();
    fs::write(token_file(&bed), record.to_string()).unwrap();
    assert_eq!(client.fetch().await.unwrap_err().reason(), Reason::Credentials);
    assert_eq!(sent_tokens(&bed), [REFRESH_TOKEN, "refused-sign-in"]);
}

#[tokio::test]
async fn where_the_configured_token_is_refused_an_outage_that_hides_the_stored_one_is_an_outage() {
    let bed = Bed::new("").await;
    bed.client().fetch().await.unwrap();
    bed.scenario("token: {answer: server_error, skip: 1}");
    let client = bed.client_of(&bed.account("an-old-token", "http"), Duration::from_mins(1));
    assert_eq!(client.fetch().await.unwrap_err().reason(), Reason::Server);
    bed.scenario("");
    client.fetch().await.unwrap();
}

/// Has the stored token come from a sign-in with this in the place of the configured token's fingerprint.
fn signed_in_with(bed: &Bed, ancestor: &str) -> String {
    let mut record = bed.stored().unwrap();
    record["ancestor_sha256"] = ancestor.into();
    record["signed_in_at"] = START.to_string().into();
    fs::write(token_file(bed), record.to_string()).unwrap();
    text(&record["refresh_token"])
}

#[tokio::test]
async fn a_token_that_is_configured_after_a_sign_in_without_any_is_the_newer_one() {
    let bed = Bed::new("").await;
    bed.client().fetch().await.unwrap();
    let signed_in = signed_in_with(&bed, "none");
    bed.scenario("refresh_token: configured-later");
    bed.client_of(&bed.account("configured-later", "http"), Duration::from_mins(1)).fetch().await.unwrap();
    assert_eq!(sent_tokens(&bed).last().unwrap(), "configured-later");
    signed_in_with(&bed, "none");
    bed.client_of(&bed.account("configured-wrongly", "http"), Duration::from_mins(1)).fetch().await.unwrap();
    let sent = sent_tokens(&bed);
    assert_eq!(sent[2], "configured-wrongly");
    assert!(sent[3].starts_with("simulated-refresh-token-") && sent[3] != signed_in, "{sent:?}");
}

#[tokio::test]
async fn where_a_sign_in_that_did_not_see_the_configured_token_has_ended_that_one_is_tried() {
    let bed = Bed::new("").await;
    bed.client().fetch().await.unwrap();
    signed_in_with(&bed, "");
    let mut record = bed.stored().unwrap();
    record["refresh_token"] = "revoked".into();
    fs::write(token_file(&bed), record.to_string()).unwrap();
    bed.client().fetch().await.unwrap();
    assert_eq!(sent_tokens(&bed)[1..], ["revoked", REFRESH_TOKEN]);
    assert!(text(&bed.stored().unwrap()["refresh_token"]).starts_with("simulated-refresh-token-"));
}
