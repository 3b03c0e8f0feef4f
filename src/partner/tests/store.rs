//! Tests of the token file: its content, its directory and its lock.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use super::stored_token::{Ancestor, Lineage, StoredToken};
use super::*;
use crate::partner::refresh_tokens::RefreshTokens;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_successor_is_stored_in_a_file_that_only_its_owner_can_read() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    assert_eq!((mode(&bed.token_file()), mode(&bed.state_directory())), (0o600, 0o700));
    let stored = bed.stored().unwrap();
    assert_eq!(stored["version"], 1);
    assert_eq!(stored["issued_at"], START.to_string());
    assert!(text(&stored["refresh_token"]).starts_with("simulated-refresh-token-"));
    let shown = stored.to_string();
    assert!(!shown.contains(&format!("{REFRESH_TOKEN}\"")), "the configured token is not in it: {shown}");
    assert_eq!(bed.ledger.read().credentials.refresh_token_issued_at, Some(START));
    let files = fs::read_dir(bed.state_directory()).unwrap().count();
    assert_eq!(files, 2, "there are the token and its lock, and no temporary file");
}

#[tokio::test]
async fn a_successor_is_on_disk_before_the_next_request_is_sent() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    let [token, usage] = &bed.arrivals()[..] else { panic!("two requests") };
    assert_eq!(token.stored, None);
    assert_eq!(usage.stored, Some(text(&bed.stored().unwrap()["refresh_token"])));
}

#[tokio::test]
async fn the_next_start_knows_when_the_stored_token_was_issued() {
    let mut bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    bed.ledger = Ledger::new(None, Arc::default());
    bed.clock = Clock::fixed(START + Duration::from_hours(5));
    bed.scenario("token: {answer: server_error}");
    bed.client().usage().await.unwrap_err();
    assert_eq!(bed.ledger.read().credentials.refresh_token_issued_at, Some(START));
}

#[tokio::test]
async fn an_existing_file_without_a_checksum_is_read_and_written_byte_for_byte_with_one() {
    let bed = TestBed::new("").await;
    let store = TokenStore::open(&bed.state_directory(), &bed.account(REFRESH_TOKEN, "http")).unwrap();
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let signed_in = "  \"signed_in_at\": \"2026-11-20T00:00:00Z\",\n";
    for (digits, line, ancestor) in [
        (sha256, "", Ancestor::configured(&"abc".into())),
        (sha256, signed_in, Ancestor::configured(&"abc".into())),
        ("none", signed_in, Ancestor::NotConfigured),
        ("", signed_in, Ancestor::Unreadable),
        ("", "", Ancestor::Unreadable),
    ] {
        let fields = format!(
            "{{\n  \"version\": 1,\n  \"owner\": \"http://{} {TENANT} {CLIENT_ID}\",\n  \
             \"ancestor_sha256\": \"{digits}\",\n{line}  \"issued_at\": \"2026-11-23T05:13:20.123Z\",\n  \
             \"refresh_token\": \"0.a-token\"",
            bed.address
        );
        let compact = fields.replace("\n  ", "").replace(": ", ":") + "}";
        let checksum = crate::state::file::sha256(compact.as_bytes());
        for content in [format!("{fields}\n}}"), format!("{fields},\n  \"sha256\": \"{checksum}\"\n}}")] {
            fs::write(bed.token_file(), &content).unwrap();
            let stored = store.load().unwrap().unwrap();
            assert_eq!(stored.lineage.ancestor, ancestor);
            assert_eq!(stored.lineage.signed_in_at.is_some(), !line.is_empty());
            fs::remove_file(bed.token_file()).unwrap();
            store.save(stored).await.unwrap();
            let written = fs::read_to_string(bed.token_file()).unwrap();
            assert_eq!(written, format!("{fields},\n  \"sha256\": \"{checksum}\"\n}}"));
        }
    }
}

#[tokio::test]
async fn an_unusable_file_is_set_aside_and_the_configured_token_is_used() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    let (good, whole) = (bed.stored().unwrap(), fs::read(bed.token_file()).unwrap());
    let with = |key: &str, value: Value| {
        let mut record = good.clone();
        record[key] = value;
        record.to_string().into_bytes()
    };
    for (what, content) in [
        ("damaged", b"{\"version\": 1, \"own".to_vec()),
        ("not even text", vec![0xff, 0xfe]),
        ("empty", Vec::new()),
        ("of another tenant", with("owner", "https://login.example other.example x".into())),
        ("with a flipped bit in the token", {
            let mut content = whole.clone();
            let token = b"simulated-refresh-token-";
            let at = content.windows(token.len()).position(|window| window == token).unwrap();
            content[at] ^= 1;
            content
        }),
        ("of a later version", with("version", 2.into())),
    ] {
        fs::write(bed.token_file(), &content).unwrap();
        bed.client().usage().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(bed.sent_tokens().last().unwrap(), REFRESH_TOKEN, "{what}");
        let aside = bed.token_file().with_extension("json.set-aside");
        assert_eq!(fs::read(&aside).unwrap(), content, "{what}");
        if what != "of a later version" {
            fs::remove_file(aside).unwrap();
        }
        assert_eq!(bed.stored().unwrap()["owner"], good["owner"], "{what}: a good file replaces it");
    }
    // A second file that is set aside does not replace the first.
    fs::write(bed.token_file(), "x").unwrap();
    bed.client().usage().await.unwrap();
    assert_eq!(fs::read(bed.token_file().with_extension("json.set-aside-2")).unwrap(), b"x");
}

#[tokio::test]
async fn a_store_that_cannot_be_written_loses_the_successor_and_nothing_else() {
    type Fault = fn(&TestBed);
    let faults: [(&str, Fault); 2] = [
        ("a file is in the directory's place", |bed| {
            fs::remove_dir_all(bed.state_directory()).unwrap();
            fs::write(bed.state_directory(), "").unwrap();
        }),
        ("the file cannot be replaced", |bed| fs::create_dir_all(bed.token_file().join("x")).unwrap()),
    ];
    for (what, break_store) in faults {
        let bed = TestBed::new("").await;
        let client = bed.client();
        break_store(&bed);
        assert_eq!(client.usage().await.unwrap().rows().len(), 5, "{what}");
        advance(Duration::from_hours(1)).await;
        client.usage().await.unwrap();
        assert_eq!(bed.sent_tokens(), [REFRESH_TOKEN; 2], "{what}");
        assert_eq!(bed.ledger.read().credentials.refresh_token_issued_at, None, "{what}");
    }
}

#[tokio::test]
async fn a_removed_directory_is_created_again_and_the_newest_known_token_is_used() {
    let bed = TestBed::new("rotation: strict").await;
    let client = bed.client();
    client.usage().await.unwrap();
    let successor = text(&bed.stored().unwrap()["refresh_token"]);
    fs::remove_dir_all(bed.state_directory()).unwrap();
    advance(Duration::from_hours(1)).await;
    client.usage().await.unwrap();
    assert_eq!(bed.sent_tokens(), [REFRESH_TOKEN, &successor]);
    assert_eq!((mode(&bed.token_file()), mode(&bed.state_directory())), (0o600, 0o700));
    assert_ne!(text(&bed.stored().unwrap()["refresh_token"]), successor, "the newest token is on disk");
}

#[tokio::test]
async fn a_file_that_is_damaged_while_the_program_runs_is_replaced() {
    let bed = TestBed::new("rotation: strict").await;
    let client = bed.client();
    client.usage().await.unwrap();
    fs::write(bed.token_file(), "x").unwrap();
    advance(Duration::from_hours(1)).await;
    client.usage().await.unwrap();
    assert!(bed.stored().is_some(), "a good file replaces it");
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_reported_at_the_start() {
    let bed = TestBed::new("").await;
    let (account, file) = (bed.account(REFRESH_TOKEN, "http"), bed.directory.path().join("file"));
    fs::write(&file, "").unwrap();
    let error = TokenStore::open(&file, &account).unwrap_err().to_string();
    let expected = format!(
        "cannot write to {0}: File exists (os error 17): {0}, or a part of its path, is no directory: remove what is \
         there, or set state_directory to another directory",
        file.display()
    );
    assert_eq!(error, expected);
    assert!(TokenStore::open(&file.join("below"), &account).is_err());
}

#[tokio::test]
async fn the_store_of_an_account_does_not_examine_the_directory_that_all_accounts_share() {
    let bed = TestBed::new("").await;
    let (account, directory) = (bed.account(REFRESH_TOKEN, "http"), bed.state_directory());
    let leftover = directory.join("refresh-token-t-c.json.new");
    assert!(TokenStore::open_prepared(&directory, &account).is_err(), "it creates no directory");
    TokenStore::prepare(&directory).unwrap();
    fs::write(&leftover, "half of a rec").unwrap();
    TokenStore::open_prepared(&directory, &account).unwrap();
    assert!(leftover.exists());
    TokenStore::open(&directory, &account).unwrap();
    assert!(!leftover.exists());
}

#[tokio::test]
async fn the_case_of_ids_does_not_matter_and_no_other_tenant_shares_the_file() {
    let bed = TestBed::new("").await;
    let account = bed.account(REFRESH_TOKEN, "http");
    let upper_case = Account { tenant_id: TENANT.to_uppercase(), ..account.clone() };
    let other = Account { tenant_id: "fabrikam.example".to_owned(), ..account };
    bed.client().usage().await.unwrap();
    let stored = |account: &Account| {
        TokenStore::open(&bed.state_directory(), account).unwrap().load().unwrap().is_some()
    };
    assert_eq!((stored(&upper_case), stored(&other)), (true, false));
}

/// A token that a person obtained by signing in.
fn signed_in(token: &str) -> StoredToken {
    let lineage = Lineage { ancestor: Ancestor::NotConfigured, signed_in_at: Some(START) };
    StoredToken { token: token.into(), issued_at: START, lineage }
}

#[tokio::test]
async fn after_a_reload_the_newest_token_is_known_even_if_its_file_is_gone_and_not_that_of_another_account() {
    let bed = TestBed::new("").await;
    let account = bed.account(REFRESH_TOKEN, "http");
    let other = Account { tenant_id: "fabrikam.example".to_owned(), ..account.clone() };
    let open = |account: &Account| TokenStore::open(&bed.state_directory(), account).unwrap();
    let before = open(&account);
    before.save(signed_in("newest")).await.unwrap();
    fs::remove_file(bed.token_file()).unwrap();
    let known = |store: TokenStore| Some(store.load().unwrap()?.token.expose_secret().to_owned());
    assert_eq!(known(open(&account)), None);
    assert_eq!(known(open(&account).continuing(&before)).as_deref(), Some("newest"));
    assert_eq!(known(open(&other).continuing(&before)), None);
}

#[tokio::test]
async fn a_reload_hands_on_a_successor_that_the_disk_did_not_accept_and_tries_again_to_save_it() {
    let bed = TestBed::new("rotation: strict").await;
    let account = bed.account(REFRESH_TOKEN, "http");
    let open = || TokenStore::open(&bed.state_directory(), &account).unwrap();
    let client = |store: &TokenStore| {
        let (limit, anchors) = (Duration::from_mins(1), TrustAnchors::default());
        PartnerCenter::new(&account, store.clone(), &bed.ledger, &bed.clock, limit, &anchors).unwrap()
    };
    let before = open();
    fs::create_dir_all(bed.token_file().join("x")).unwrap();
    client(&before).usage().await.unwrap();
    // The disk still refuses it: only the memory has a token that is accepted.
    let during = open().continuing(&before);
    client(&during).usage().await.unwrap();
    let sent = bed.sent_tokens();
    assert_eq!(sent[..2], [REFRESH_TOKEN; 2]);
    assert!(sent[2].starts_with("simulated-refresh-token-"), "{sent:?}");
    // The disk accepts it again: it is stored before it is used.
    fs::remove_dir_all(bed.token_file()).unwrap();
    let after = open().continuing(&during);
    client(&after).usage().await.unwrap();
    let last = bed.arrivals().into_iter().rfind(|arrival| arrival.path.ends_with("/token")).unwrap();
    assert_eq!(bed.sent_tokens().len(), 4, "the token that is used first is accepted");
    assert_eq!(last.stored.as_ref(), bed.sent_tokens().last(), "it was on disk when it was used");
    assert!(after.unsaved().is_none());
}

#[tokio::test]
async fn a_successor_that_the_disk_did_not_accept_does_not_replace_a_newer_token() {
    let bed = TestBed::new("").await;
    let store = TokenStore::open(&bed.state_directory(), &bed.account(REFRESH_TOKEN, "http")).unwrap();
    let tokens =
        RefreshTokens::new(Arc::new(bed.account(REFRESH_TOKEN, "http")), store.clone(), bed.ledger.clone());
    fs::create_dir_all(bed.token_file().join("x")).unwrap();
    store.save(signed_in("unsaved")).await.unwrap_err();
    fs::remove_dir_all(bed.token_file()).unwrap();
    let other = TokenStore::open(&bed.state_directory(), &bed.account(REFRESH_TOKEN, "http")).unwrap();
    for (issued_at, expected) in [
        (START + Duration::from_secs(1), "of another process"),
        (START, "of another process"),
        (START - Duration::from_secs(1), "unsaved"),
    ] {
        other.save(StoredToken { issued_at, ..signed_in("of another process") }).await.unwrap();
        tokens.save_unsaved().await;
        assert_eq!(bed.stored().unwrap()["refresh_token"], expected, "{issued_at}");
    }
    assert!(store.unsaved().is_none());
}

#[tokio::test]
async fn a_token_that_was_set_aside_for_a_slip_in_the_configuration_is_taken_back_and_a_damaged_one_is_not() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    let (file, aside) = (bed.token_file(), bed.token_file().with_extension("json.set-aside"));
    let (good, successor) = (fs::read(&file).unwrap(), text(&bed.stored().unwrap()["refresh_token"]));
    let mut slip = bed.account(REFRESH_TOKEN, "http");
    slip.cloud.login_base_url = "https://login.partner.microsoftonline.cn".to_owned();
    let tokens = |account: Account| {
        let store = TokenStore::open(&bed.state_directory(), &account).unwrap();
        RefreshTokens::new(Arc::new(account), store, bed.ledger.clone())
    };
    let chosen = |tokens: &RefreshTokens| {
        let token = tokens.choose().unwrap().candidates.remove(0).token;
        token.expose_secret().to_owned()
    };
    assert_eq!(chosen(&tokens(slip.clone())), REFRESH_TOKEN, "the token of another cloud is not used");
    assert!(!file.exists() && aside.exists());
    // A reader, such as the doctor, says that there is a token, and moves nothing.
    let right = bed.account(REFRESH_TOKEN, "http");
    assert!(TokenStore::read_only(&bed.state_directory(), &right).has_token().unwrap());
    assert!(!TokenStore::read_only(&bed.state_directory(), &slip).has_token().unwrap());
    assert!(!file.exists() && aside.exists());
    // Also in the place of a file that is itself set aside now.
    fs::write(&file, "damaged").unwrap();
    assert_eq!(chosen(&tokens(right.clone())), successor);
    assert_eq!(fs::read(&file).unwrap(), good);
    assert!(!aside.exists());
    let second = file.with_extension("json.set-aside-2");
    assert_eq!(fs::read_to_string(&second).unwrap(), "damaged");
    // What was damaged, or has another owner, stays where it is.
    fs::remove_file(&file).unwrap();
    let at = good.windows(9).position(|window| window == b"simulated").unwrap();
    let mut damaged = good.clone();
    damaged[at] ^= 1;
    fs::write(&aside, &damaged).unwrap();
    assert_eq!(chosen(&tokens(right)), REFRESH_TOKEN);
    assert!(!file.exists() && aside.exists() && second.exists());
}

#[tokio::test]
async fn of_several_files_that_were_set_aside_the_newest_is_taken_back_and_nothing_if_there_is_a_token() {
    let bed = TestBed::new("").await;
    let account = bed.account(REFRESH_TOKEN, "http");
    let open = || TokenStore::open(&bed.state_directory(), &account).unwrap();
    let aside = |extension: &str| bed.token_file().with_extension(extension);
    for (token, age, extension) in [
        ("old", 2, "json.set-aside"),
        ("newest", 0, "json.set-aside-2"),
        ("older", 3, "json.set-aside-10"),
        ("not set aside", 0, "json.copy"),
    ] {
        let issued_at = START - Duration::from_hours(age);
        open().save(StoredToken { issued_at, ..signed_in(token) }).await.unwrap();
        fs::rename(bed.token_file(), aside(extension)).unwrap();
    }
    let tokens = RefreshTokens::new(Arc::new(account.clone()), open(), bed.ledger.clone());
    for _ in 0..2 {
        assert!(
            tokens.choose().unwrap().candidates.iter().any(|found| found.token.expose_secret() == "newest")
        );
        assert!(bed.token_file().exists() && !aside("json.set-aside-2").exists());
        assert!(aside("json.set-aside").exists() && aside("json.set-aside-10").exists());
    }
}

#[tokio::test]
async fn a_token_that_another_process_stores_goes_before_one_that_was_set_aside() {
    let bed = TestBed::new("").await;
    let store = TokenStore::open(&bed.state_directory(), &bed.account(REFRESH_TOKEN, "http")).unwrap();
    store.save(signed_in("set-aside")).await.unwrap();
    let aside = bed.token_file().with_extension("json.set-aside");
    fs::rename(bed.token_file(), &aside).unwrap();
    let other = TokenStore::open(&bed.state_directory(), &bed.account(REFRESH_TOKEN, "http")).unwrap();
    other.save(signed_in("of another process")).await.unwrap();
    assert_eq!(store.take_back().unwrap().token.expose_secret(), "of another process");
    assert_eq!(store.newest().unwrap().token.expose_secret(), "of another process");
    assert!(aside.exists());
}

#[tokio::test]
async fn a_token_that_is_stored_for_another_name_of_the_tenant_is_found_and_said() {
    const GUID: &str = "5f4dcc3b-0000-4000-8000-0000000000aa";
    let bed = TestBed::new("").await;
    let of = |tenant: &str| Account { tenant_id: tenant.to_owned(), ..bed.account(REFRESH_TOKEN, "http") };
    let open = |account: &Account| TokenStore::open(&bed.state_directory(), account).unwrap();
    let (by_domain, by_guid) = (of(TENANT), of(GUID));
    assert_eq!(open(&by_guid).misplaced(std::slice::from_ref(&by_guid)), None, "there is none");
    open(&by_domain).save(signed_in("a")).await.unwrap();
    let said = open(&by_guid).misplaced(std::slice::from_ref(&by_guid)).unwrap();
    let expected = format!(
        "there is no stored refresh token for tenant_id {GUID}, but {} has one of the same application for {TENANT}; if \
         that is another name of the same tenant, set tenant_id: {TENANT}",
        bed.token_file().display()
    );
    assert_eq!(said, expected);
    let another_domain = of("contoso.onmicrosoft.example");
    assert!(open(&another_domain).misplaced(&[]).is_some());
    // The file of another account of this configuration, of another cloud, or without a usable token is none of these.
    assert_eq!(open(&by_guid).misplaced(&[by_domain.clone(), by_guid.clone()]), None);
    let mut elsewhere = by_guid.clone();
    elsewhere.cloud.login_base_url = "https://login.partner.microsoftonline.cn".to_owned();
    assert_eq!(open(&elsewhere).misplaced(&[]), None);
    let good = fs::read(bed.token_file()).unwrap();
    fs::write(bed.token_file(), "x").unwrap();
    assert_eq!(open(&by_guid).misplaced(&[]), None);
    fs::write(bed.token_file(), good).unwrap();
    // Two GUIDs are two tenants.
    open(&by_guid).save(signed_in("b")).await.unwrap();
    assert_eq!(open(&by_guid).misplaced(&[]), None, "it has its own");
    fs::remove_file(bed.token_file()).unwrap();
    assert_eq!(open(&of("5f4dcc3b-0000-4000-8000-0000000000bb")).misplaced(&[]), None);
    assert!(open(&by_domain).misplaced(&[]).unwrap().ends_with(&format!("set tenant_id: {GUID}")));
}

#[tokio::test]
async fn a_store_says_whether_it_has_a_token() {
    let bed = TestBed::new("").await;
    let store = TokenStore::open(&bed.state_directory(), &bed.account(REFRESH_TOKEN, "http")).unwrap();
    assert!(!store.has_token().unwrap());
    store.save(signed_in("a")).await.unwrap();
    assert!(store.has_token().unwrap());
    fs::write(bed.token_file(), "x").unwrap();
    assert!(store.has_token().is_err());
}

#[tokio::test]
async fn a_new_sign_in_replaces_the_stored_token_under_the_lock() {
    let bed = TestBed::new("").await;
    let account = Arc::new(bed.account(REFRESH_TOKEN, "http"));
    let store = TokenStore::open(&bed.state_directory(), &account).unwrap();
    let tokens = RefreshTokens::new(Arc::clone(&account), store, bed.ledger.clone());
    assert_eq!(tokens.lock_path(), bed.token_file().with_extension("lock"));
    let lock = fs::File::open(tokens.lock_path()).unwrap();
    lock.lock().unwrap();
    let never = CancellationToken::new();
    let replacing = tokens.replace("by-login".into(), START, &never);
    tokio::pin!(replacing);
    assert!(timeout(Duration::from_millis(100), replacing.as_mut()).await.is_err(), "another process renews");
    assert_eq!(bed.stored(), None);
    lock.unlock().unwrap();
    assert_eq!(replacing.await.unwrap(), bed.token_file());
    let stored = bed.stored().unwrap();
    assert_eq!(
        (&stored["refresh_token"], &stored["signed_in_at"]),
        (&"by-login".into(), &START.to_string().into())
    );
    assert_eq!(
        tokens.choose().unwrap().candidates[0].token.expose_secret(),
        "by-login",
        "it goes before the configured one"
    );
}

#[tokio::test]
async fn a_sign_in_during_a_renewal_remains_stored_and_is_a_change_of_credentials() {
    for rotation in ["", "token: {answer: refresh_token_revoked}"] {
        let bed = TestBed::new("").await;
        let client = bed.client();
        client.usage().await.unwrap();
        let account = Arc::new(bed.account(REFRESH_TOKEN, "http"));
        let store = TokenStore::open(&bed.state_directory(), &account).unwrap();
        let login = RefreshTokens::new(account, store, bed.ledger.clone());
        bed.scenario(rotation);
        advance(Duration::from_hours(1)).await;
        bed.gate.send_replace(false);
        let signing_in = async {
            bed.wait_for_arrivals(3).await;
            // The person signed in before the renewal began, and pressed Ctrl+C instead of waiting for its end.
            let at_once = CancellationToken::new();
            at_once.cancel();
            login.replace("by-login".into(), START - Duration::from_secs(1), &at_once).await.unwrap();
            bed.gate.send_replace(true);
        };
        let (outcome, ()) = tokio::join!(client.usage(), signing_in);
        assert_eq!(outcome.is_ok(), rotation.is_empty());
        assert_eq!(bed.stored().unwrap()["refresh_token"], "by-login", "{rotation}");
        assert!(client.credentials_changed().await, "{rotation}");
        assert!(!client.credentials_changed().await, "{rotation}");
    }
}

#[tokio::test]
async fn a_successor_replaces_the_token_from_which_it_comes_after_the_clock_was_set_back() {
    let bed = TestBed::new("").await;
    let store = TokenStore::open(&bed.state_directory(), &bed.account(REFRESH_TOKEN, "http")).unwrap();
    let ahead = StoredToken { issued_at: START + Duration::from_hours(24 * 365), ..signed_in("ahead") };
    store.save(ahead).await.unwrap();
    bed.scenario("refresh_token: ahead");
    bed.client().usage().await.unwrap();
    assert_eq!(bed.stored().unwrap()["issued_at"], START.to_string());
}

#[tokio::test]
async fn the_issue_of_the_stored_token_is_announced_before_its_first_use() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    let restarted = TestBed { ledger: Ledger::new(None, Arc::default()), ..bed };
    restarted.client().announce();
    assert_eq!(restarted.ledger.read().credentials.refresh_token_issued_at, Some(START));
}

#[tokio::test]
async fn processes_that_share_a_state_directory_renew_one_after_the_other() {
    let bed = TestBed::new("rotation: strict").await;
    let replicas: Vec<_> = (0..4).map(|_| bed.client()).collect();
    let (a, b, c, d) =
        tokio::join!(replicas[0].usage(), replicas[1].usage(), replicas[2].usage(), replicas[3].usage());
    for outcome in [a, b, c, d] {
        outcome.unwrap();
    }
    let sent: std::collections::BTreeSet<_> = bed.sent_tokens().into_iter().collect();
    assert_eq!(sent.len(), 4, "each used the successor that the one before stored: {sent:?}");
}

#[tokio::test]
async fn a_wait_for_the_lock_can_be_abandoned_and_ends_with_a_remedy_after_half_of_poll_timeout() {
    let bed = TestBed::new("").await;
    let client = bed.client();
    client.usage().await.unwrap();
    let lock_path = bed.token_file().with_extension("lock");
    let lock = fs::File::open(&lock_path).unwrap();
    lock.lock().unwrap();
    let waiting = bed.client();
    let fetch = timeout(Duration::from_millis(200), waiting.usage()).await;
    assert!(fetch.is_err(), "the lock is held");
    waiting.drain().await;
    let impatient = bed.client_of(&bed.account(REFRESH_TOKEN, "http"), Duration::from_millis(200));
    let error = impatient.usage().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Timeout);
    let path = lock_path.display();
    assert_eq!(error.to_string(), format!("another process has kept {path} locked for 100ms"));
    assert!(error.remedy().contains("find the process"), "{}", error.remedy());
    assert_eq!(bed.traffic(), "token 200: 1, usage 200: 1");
    lock.unlock().unwrap();
    waiting.usage().await.unwrap();
}

#[tokio::test]
async fn a_wait_for_the_lock_ends_at_its_limit_however_long_each_attempt_takes() {
    let bed = TestBed::new("").await;
    let store = TokenStore::open(&bed.state_directory(), &bed.account(REFRESH_TOKEN, "http")).unwrap();
    let lock = fs::File::open(bed.token_file().with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let mut waiting = std::pin::pin!(store.lock(TENANT, Duration::from_mins(5)));
    timeout(Duration::from_millis(100), waiting.as_mut()).await.expect_err("the lock is held");
    // As after attempts on a file system that answers slowly.
    advance(Duration::from_mins(5)).await;
    let error = timeout(Duration::from_secs(5), waiting).await.expect("the limit has passed").unwrap_err();
    assert!(error.to_string().ends_with(" locked for 5m"), "{error}");
}

#[tokio::test]
async fn a_locked_directory_delays_a_write_by_some_seconds_and_does_not_prevent_it() {
    let bed = TestBed::new("").await;
    let client = bed.client();
    let directory = fs::File::open(bed.state_directory()).unwrap();
    directory.lock().unwrap();
    let started = tokio::time::Instant::now();
    client.usage().await.unwrap();
    assert!(started.elapsed() > Duration::from_secs(2), "it waits for the lock");
    assert!(bed.stored().is_some());
}

/// Puts a directory in the place of the lock file, which not even root can open for writing.
fn make_unlockable(bed: &TestBed) {
    let lock = bed.token_file().with_extension("lock");
    drop(fs::remove_file(&lock));
    fs::create_dir_all(lock).unwrap();
}

#[tokio::test]
async fn renewals_continue_after_locks_have_become_impossible() {
    let bed = TestBed::new("rotation: strict").await;
    let client = bed.client();
    make_unlockable(&bed);
    client.usage().await.unwrap();
    advance(Duration::from_hours(1)).await;
    client.usage().await.unwrap();
    assert_eq!(bed.sent_tokens().len(), 2);
}

#[tokio::test]
async fn a_lock_that_cannot_be_opened_is_reported_at_the_start() {
    let bed = TestBed::new("").await;
    make_unlockable(&bed);
    let error = TokenStore::open(&bed.state_directory(), &bed.account(REFRESH_TOKEN, "http")).unwrap_err();
    let lock = bed.token_file().with_extension("lock");
    assert_eq!(error.to_string(), format!("{}: Is a directory (os error 21)", lock.display()));
}

#[tokio::test]
async fn a_lock_that_is_impossible_is_an_error_for_a_reader_too_and_a_missing_one_only_for_a_writer() {
    let bed = TestBed::new("").await;
    let account = bed.account(REFRESH_TOKEN, "http");
    let writer = TokenStore::open(&bed.state_directory(), &account).unwrap();
    let reader = TokenStore::read_only(&bed.state_directory(), &account);
    make_unlockable(&bed);
    assert!(reader.check_lock().is_err() && writer.check_lock().is_err());
    fs::remove_dir_all(bed.state_directory()).unwrap();
    reader.check_lock().unwrap();
    assert!(writer.check_lock().is_err());
}

#[tokio::test]
async fn a_read_only_store_changes_nothing() {
    let bed = TestBed::new("").await;
    let account = bed.account(REFRESH_TOKEN, "http");
    fs::create_dir(bed.state_directory()).unwrap();
    fs::write(bed.token_file(), "damaged").unwrap();
    let store = TokenStore::read_only(&bed.state_directory(), &account);
    store.check_lock().unwrap();
    let (limit, anchors) = (Duration::from_mins(1), TrustAnchors::default());
    let client = PartnerCenter::new(&account, store, &bed.ledger, &bed.clock, limit, &anchors);
    client.unwrap().without_rotation().usage().await.unwrap();
    let files: Vec<_> =
        fs::read_dir(bed.state_directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, [bed.token_file().file_name().unwrap()], "no lock is created, and nothing is moved");
    assert_eq!(fs::read_to_string(bed.token_file()).unwrap(), "damaged");
    let issued_at = bed.ledger.read().credentials.refresh_token_issued_at;
    assert_eq!(
        issued_at, None,
        "the configured token remains in use, not the successor that came with the response"
    );
}

#[test]
fn only_a_refused_permission_is_a_lack_of_permission() {
    let path = PathBuf::from("x");
    for (kind, expected) in [(io::ErrorKind::PermissionDenied, true), (io::ErrorKind::StorageFull, false)] {
        for error in [StoreError::Directory, StoreError::File, StoreError::Lock] {
            assert_eq!(error(path.clone(), kind.into()).lacks_permission(), expected, "{kind}");
        }
    }
    assert!(!StoreError::Busy(path, Duration::ZERO).lacks_permission());
}
