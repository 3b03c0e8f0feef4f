//! The status page: its texts, its order, its size and its headers.

use exporter_toolkit::web_config::WebConfig;
use jiff::SignedDuration;

use super::super::WEB_CONFIG_EXTENSION;
use super::*;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::figures::Percent;
use crate::domain::polled::LastGood;
use crate::domain::row::RowError;
use crate::domain::status::Credentials;
use crate::domain::usage::LicenseUsage;
use crate::partner::FetchError;

fn row(workload: &str, percent: f64) -> LicenseUsage {
    LicenseUsage {
        service: "o365".into(),
        workload: workload.into(),
        channel: "reseller".into(),
        percent: Percent::new(percent).unwrap(),
        licenses: None,
        processed_at: "2026-11-17T00:00:00Z".parse().unwrap(),
    }
}

fn collected(ledger: &Ledger, rows: impl IntoIterator<Item = LicenseUsage>) {
    let report = UsageReport::collect(rows.into_iter().map(Ok));
    let at = NOW - Duration::from_secs(90);
    ledger.write(|status| status.usage_mut().poll_ended(Ok(report.into()), at, Duration::ZERO));
}

fn failed(ledger: &Ledger, reason: FailureReason) {
    let error = FetchError::scripted(reason, None);
    ledger.write(|status| status.usage_mut().poll_ended(Err(error.into()), NOW, Duration::ZERO));
}

fn credentials(ledger: &Ledger, credentials: Credentials) {
    ledger.write(|status| status.credentials = credentials);
}

async fn page(accounts: Accounts) -> String {
    let received = send(&site(accounts).router, "GET", "/", &[]).await;
    assert_eq!((received.status, received.header("content-type")), (200, Some("text/html; charset=utf-8")));
    received.text().to_owned()
}

/// The text nodes of a page.
fn texts(html: &str) -> Vec<String> {
    let (_, body) = html.split_once("<body>").unwrap();
    let texts = body.split('<').filter_map(|part| Some(part.split_once('>')?.1.trim().to_owned()));
    texts.filter(|text| !text.is_empty()).collect()
}

fn text(html: &str) -> String {
    texts(html).join(" ")
}

fn assert_contains(html: &str, expected: &[&str]) {
    let text = text(html);
    for expected in expected {
        assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn text_from_outside_is_never_markup() {
    let accounts = ledgers(&["<img src=x onerror=alert(1)> & 'co' \"x\"", "fabrikam"]);
    collected(&accounts[0], [row("</td><script>alert(1)</script>", 1.0)]);
    let failure = Failure { text: "<b onclick='x'>".to_owned(), ..Failure::of(FailureReason::Server) };
    accounts[1].write(|status| status.usage_mut().poll_ended(Err(failure), NOW, Duration::ZERO));
    let body = page(accounts_with(accounts)).await;
    assert!(!body.contains("<script") && !body.contains("<img") && !body.contains("<b onclick"), "{body}");
    assert!(body.contains("&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;"), "{body}");
    let heading =
        "<h2 id=\"account-1\"><bdi>&lt;img src=x onerror=alert(1)&gt; &amp; 'co' &quot;x&quot;</bdi></h2>";
    assert!(body.contains(heading), "{body}");
}

#[tokio::test]
async fn the_policy_allows_nothing_but_the_pages_own_style() {
    let received = send(&site(accounts_with(ledgers(&["contoso"]))).router, "GET", "/", &[]).await;
    let (_, style) = received.text().split_once("<style>").unwrap();
    let (style, _) = style.split_once("</style>").unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    let digest = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, digest);
    let policy = received.header("content-security-policy").unwrap();
    assert!(policy.starts_with(&format!("default-src 'none'; style-src 'sha256-{digest}'; ")), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(
        !received.text().contains(" style=") && !received.text().contains("<script"),
        "{}",
        received.text()
    );
    let headers = ["cache-control", "referrer-policy", "x-content-type-options"];
    let expected = [Some("no-store"), Some("no-referrer"), Some("nosniff")];
    assert_eq!(headers.map(|name| received.header(name)), expected);
}

#[tokio::test]
async fn a_policy_of_the_web_configuration_file_takes_the_place_of_the_pages_own() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "http_server_config: { headers: { Content-Security-Policy: \"default-src 'self'\" } }\n";
    std::fs::write(file.path(), text).unwrap();
    let web_config = Arc::new(WebConfig::open(file.path(), WEB_CONFIG_EXTENSION).unwrap());
    let router = web_config.protect(site(accounts_with(ledgers(&["contoso"]))).router, Arc::new(|_| {}));
    let received = send(&router, "GET", "/", &[]).await;
    let policies: Vec<_> = received.headers.get_all("content-security-policy").iter().collect();
    assert_eq!(policies, ["default-src 'self'"]);
    assert_eq!(received.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn rows_are_listed_lowest_first_and_low_and_muted_ones_are_marked() {
    let accounts = ledgers(&["contoso"]);
    let rows = [("Exchange", 104.5), ("SharePoint", 39.9), ("Teams", 9.0), ("Yammer", 40.0), ("Sway", 12.0)];
    collected(&accounts[0], rows.map(|(workload, percent)| row(workload, percent)));
    let config = "thresholds: { overrides: [ { workload: sway, mute: true } ] }\naccounts:\n- {tenant_id: a.example, \
                  client_id: 00000000-0000-0000-0000-00000000c11e, client_secret: s, refresh_token: r}\n";
    let thresholds = Config::parse(config, &no_environment).unwrap().thresholds;
    let body = page(Accounts { thresholds, ..accounts_with(accounts) }).await;
    let rows: Vec<String> = body
        .split("<tr")
        .skip(2)
        .map(|row| {
            let (class, cells) = row.split_once('>').unwrap();
            format!("{}|{}", class.trim(), texts(&format!("<body><tr>{cells}"))[..6].join("|"))
        })
        .collect();
    let expected = [
        "class=\"low\"|Teams|o365|reseller|9.00 %|low|40 %",
        "class=\"muted\"|Sway|o365|reseller|12.00 %|muted|2026-11-17",
        "class=\"low\"|SharePoint|o365|reseller|39.90 %|low|40 %",
        "|Yammer|o365|reseller|40.00 %|40 %|2026-11-17",
        "|Exchange|o365|reseller|104.50 %|40 %|2026-11-17",
    ];
    assert_eq!(rows, expected);
    assert_contains(&body, &["5 rows, lowest first · 2 low · 1 muted."]);
}

#[tokio::test]
async fn the_page_of_a_shard_says_which_it_is() {
    for (shard, says) in [(Shard::new(1, 3).unwrap(), true), (Shard::default(), false)] {
        let (_, reloader) = supervisor(ConfigSource::Environment);
        let (site, ..) = web_site(accounts_with(Vec::new()), reloader, true);
        let page = send(&router(Site { shard, ..site }), "GET", "/", &[]).await;
        assert_eq!(page.text().contains("shard 1 of 3, counted from 0."), says, "{}", page.text());
    }
}

#[tokio::test]
async fn a_shard_without_accounts_says_so_is_healthy_ready_and_scraped() {
    let site = site(accounts_with(Vec::new()));
    let page = send(&site.router, "GET", "/", &[]).await;
    assert!(page.text().contains("all those of the configuration belong to other shards"), "{}", page.text());
    for path in ["/-/healthy", "/-/ready", "/metrics"] {
        assert_eq!(send(&site.router, "GET", path, &[]).await.status, 200, "{path}");
    }
    let metrics = send(&site.router, "GET", "/metrics", &[]).await;
    assert!(metrics.text().contains("\npartner_license_exporter_build_info{"));
    assert!(!metrics.text().contains("\npartner_license_up"), "{}", metrics.text());
}

#[tokio::test]
async fn a_working_account_shows_since_when_and_the_age_of_its_data() {
    let accounts = ledgers(&["contoso"]);
    let older = LicenseUsage { processed_at: "2026-11-12T00:00:00Z".parse().unwrap(), ..row("Teams", 50.0) };
    collected(&accounts[0], [row("Exchange", 50.0), older]);
    accounts[0]
        .write(|status| status.usage_mut().next_poll_at = Some(NOW + SignedDuration::from_secs(20_000)));
    let body = page(accounts_with(accounts)).await;
    assert_contains(
        &body,
        &[
            "contoso working since 2026-11-23 05:11 UTC , for 1 min 30 s",
            "Rows fetched 1 min 30 s ago 2026-11-23 05:11 UTC",
            "Data processed 6 d 5 h ago 2026-11-17 , oldest 2026-11-12",
            "Next poll in 5 h 33 min 2026-11-23 10:46 UTC",
            "As of 2026-11-23 05:13 UTC",
        ],
    );
    assert!(body.contains("<time datetime=\"2026-11-23T05:11:50Z\">"), "{body}");
    assert!(body.contains("<title>Partner license exporter</title>"), "{body}");
    assert!(!body.contains("id=\"summary\""), "one account is its own summary");
}

#[tokio::test]
async fn a_failing_account_shows_the_reason_the_remedy_and_its_last_good_rows() {
    let accounts = ledgers(&["contoso"]);
    collected(&accounts[0], [row("Exchange", 38.0)]);
    failed(&accounts[0], FailureReason::Consent);
    let once = page(accounts_with(accounts.clone())).await;
    assert_contains(
        &once,
        &[
            "contoso failing since 2026-11-23 05:13 UTC",
            "Reason: consent · last tried 0 s ago, 2026-11-23 05:13 UTC",
            "What happened: as the script says",
            &format!("What to do: {}.", FailureReason::Consent.remedy()),
            "The rows are those of the last good poll.",
            "Exchange o365 reseller 38.00 % low",
        ],
    );
    assert!(once.contains("<title>Failing · Partner"), "{once}");
    failed(&accounts[0], FailureReason::Consent);
    let twice =
        page(Accounts { stale_after: Some(Duration::from_hours(48)), ..accounts_with(accounts) }).await;
    assert_contains(
        &twice,
        &[
            "Reason: consent · 2 times in a row",
            "Unless another one succeeds, they vanish in 1 d 23 h, 2026-11-25 05:11 UTC .",
        ],
    );
}

#[tokio::test]
async fn an_account_without_rows_shows_why() {
    let never = page(accounts_with(ledgers(&["contoso"]))).await;
    assert_contains(&never, &["contoso not polled yet Rows fetched never"]);
    let accounts = ledgers(&["contoso"]);
    collected(&accounts[0], []);
    let empty = page(accounts_with(accounts)).await;
    assert_contains(
        &empty,
        &[
            "contoso no rows · polls have succeeded since",
            "The last good collection is empty: Partner Center sent no rows. What to do: check whether Partner Center's \
             own pages show usage",
        ],
    );
    let accounts = ledgers(&["contoso"]);
    collected(&accounts[0], [row("Exchange", 38.0)]);
    let stale = page(Accounts { stale_after: Some(Duration::from_mins(1)), ..accounts_with(accounts) }).await;
    assert_contains(&stale, &["The last good rows are older than stale_after (1m) and no longer served."]);
    assert!(!stale.contains("Exchange") && !stale.contains("<table"), "{stale}");
}

#[tokio::test]
async fn restored_rows_and_dropped_rows_are_noted() {
    let accounts = ledgers(&["contoso"]);
    let good = LastGood { report: Arc::new(UsageReport::default().into()), at: NOW, failed_since: false };
    accounts[0].write(|status| status.usage_mut().last_good = Some(good));
    let restored = page(accounts_with(accounts.clone())).await;
    assert_contains(
        &restored,
        &[
            "not polled yet",
            "These rows date from before the start. No poll has completed since the start, so partner_license_up is 0. \
             The first one is under way.",
        ],
    );
    accounts[0].write(|status| status.usage_mut().next_poll_at = Some(NOW + Duration::from_mins(12)));
    let waiting = site(accounts_with(accounts));
    for (host, address) in [
        ("exporter.example:10365", "exporter.example:10365"),
        ("[::1]:10365", "[::1]:10365"),
        ("$(reboot)", "127.0.0.1:10365"),
        ("a;b", "127.0.0.1:10365"),
    ] {
        let received = send(&waiting.router, "GET", "/", &[("host", host)]).await;
        let command =
            format!("The first one is due in 12 min. To poll now: curl -X POST http://{address}/-/reload");
        assert_contains(received.text(), &[&command]);
    }
    let accounts = ledgers(&["contoso"]);
    let rows = [Ok(row("Teams", 1.0)), Ok(row("Teams", 2.0)), Err(RowError::MissingValue)];
    let report = UsageReport::collect(rows);
    accounts[0].write(|status| status.usage_mut().poll_ended(Ok(report.into()), NOW, Duration::ZERO));
    let dropped = page(accounts_with(accounts)).await;
    assert_contains(
        &dropped,
        &["Dropped from the last good collection: 2 rows (1 duplicate, 1 missing_value)."],
    );
}

#[tokio::test]
async fn credentials_show_their_expiry_and_are_marked_when_it_is_near() {
    let day = SignedDuration::from_hours(24);
    let accounts = ledgers(&["contoso"]);
    let unknown = page(accounts_with(accounts.clone())).await;
    assert_contains(&unknown, &["Refresh token not renewed yet expiry not known", "MFA not known yet"]);
    assert!(!unknown.contains("Client certificate") && !unknown.contains("class=\"attention\""), "{unknown}");
    let with = |issued: i32, certificate: i32, mfa| Credentials {
        refresh_token_issued_at: Some(NOW - day * issued),
        client_certificate_expires_at: Some(NOW + day * certificate),
        mfa_compliant: Some(mfa),
        ..Credentials::default()
    };
    for (given, expected) in [
        (
            with(1, 20, true),
            ["Refresh token expires in 89 d 2", "Client certificate expires in 20 d 2", "MFA compliant"],
        ),
        (
            with(61, 13, false),
            [
                "Refresh token expires soon, in 29 d",
                "Client certificate expires soon, in 13 d",
                "MFA not compliant sign in",
            ],
        ),
        (
            with(93, -2, false),
            [
                "Refresh token expired 3 d ago",
                "Client certificate expired 2 d ago",
                "MFA not compliant sign in again",
            ],
        ),
    ] {
        credentials(&accounts[0], given);
        let body = page(accounts_with(accounts.clone())).await;
        assert_contains(&body, &expected);
        let marked = body.matches("class=\"attention\"").count();
        assert_eq!(marked, if given.mfa_compliant == Some(true) { 0 } else { 3 });
    }
}

#[tokio::test]
async fn several_accounts_have_a_summary_with_failing_ones_first() {
    let accounts = ledgers(&["a", "bb", "ccc", "dddd"]);
    collected(&accounts[0], [row("Exchange", 38.0), row("Teams", 90.0)]);
    collected(&accounts[1], []);
    failed(&accounts[3], FailureReason::Mfa);
    let body = page(accounts_with(accounts)).await;
    assert_contains(
        &body,
        &["4 accounts 1 failing 1 no rows 1 not polled yet 1 working 1 of 2 rows low \
             dddd failing: mfa bb no rows ccc not polled yet a working, 1 low"],
    );
    let order: Vec<_> =
        body.split("<h2 id=\"account-").skip(1).filter_map(|rest| rest.chars().next()).collect();
    assert_eq!(order, ['4', '2', '3', '1']);
    assert!(body.contains("<a href=\"#account-4\">"), "{body}");
    assert!(body.contains("<title>1 of 4 failing · Partner"), "{body}");
}

#[tokio::test]
async fn a_page_stays_small_and_counts_all_rows_however_many_there_are() {
    let rows = |count: u32| (0..count).map(move |n| row(&format!("Workload {n:05}"), f64::from(count - n)));
    let single = ledgers(&["contoso"]);
    collected(&single[0], rows(10_000));
    let body = page(accounts_with(single)).await;
    assert_contains(
        &body,
        &["10000 rows, lowest first · 39 low. Only the lowest 5000 are shown; the metrics have all of them."],
    );
    assert_eq!(body.matches("<tr").count(), 5_001);
    assert!(body.contains("Workload 09999") && !body.contains("Workload 04999"), "the lowest are shown");
    assert!(body.len() < 2_500_000, "{} bytes", body.len());

    let names: Vec<String> = (1..=200).map(|n| "x".repeat(n % 60 + 1) + &n.to_string()).collect();
    let many: Vec<Ledger> = names.iter().flat_map(|name| ledgers(&[name])).collect();
    for ledger in &many {
        collected(ledger, rows(300));
    }
    let body = page(accounts_with(many)).await;
    assert_contains(
        &body,
        &["200 accounts 200 working 7800 of 60000 rows low", "300 rows, lowest first · 39 low. Only"],
    );
    assert_eq!(body.matches("<tr class=\"low\">").count(), 200 * 25);
    assert!(body.len() < 2_500_000, "{} bytes", body.len());
}

/// A row whose figure is this old.
fn row_of(workload: &str, days: i32) -> LicenseUsage {
    LicenseUsage { processed_at: NOW - SignedDuration::from_hours(24) * days, ..row(workload, 50.0) }
}

#[tokio::test]
async fn old_figures_are_not_called_working_unless_their_rows_are_muted() {
    let muted = "thresholds: { overrides: [ { workload: Sway, mute: true } ] }\naccounts:\n- {tenant_id: a.example, \
                 client_id: 00000000-0000-0000-0000-00000000c11e, client_secret: s, refresh_token: r}\n";
    let muted = Config::parse(muted, &no_environment).unwrap().thresholds;
    let page_of = async |rows: &[(&str, i32)], thresholds: Thresholds| {
        let accounts = ledgers(&["contoso"]);
        collected(&accounts[0], rows.iter().map(|(workload, days)| row_of(workload, *days)));
        page(Accounts { thresholds, ..accounts_with(accounts) }).await
    };
    let old = page_of(&[("Exchange", 3300), ("Teams", 3300)], Thresholds::default()).await;
    assert_contains(
        &old,
        &[
            "contoso old figures · polls have succeeded since",
            "2 rows with figures older than 16 days: Microsoft no longer updates them.",
            "2 rows, lowest first · 2 old.",
            "2017-11-10 old",
        ],
    );
    assert!(old.contains("<title>Attention · Partner") && old.contains("class=\"state doubtful\""), "{old}");
    assert!(old.contains("<strong class=\"doubtful\">3300 d ago</strong>"), "{old}");

    let one = page_of(&[("Exchange", 3), ("Teams", 17)], Thresholds::default()).await;
    assert_contains(&one, &["contoso old figures", "1 row with figures older than"]);
    for (rows, thresholds) in [
        (&[("Exchange", 3), ("Sway", 17)], muted),
        (&[("Exchange", 3), ("Teams", 16)], Thresholds::default()),
    ] {
        let fine = page_of(rows, thresholds).await;
        assert_contains(&fine, &["contoso working since"]);
        assert!(!fine.contains("doubtful\">"), "{fine}");
    }
}

#[tokio::test]
async fn an_account_without_a_success_for_three_intervals_is_overdue() {
    let accounts = ledgers(&["contoso"]);
    collected(&accounts[0], [row_of("Exchange", 3)]);
    for (interval, word) in [(30, "working"), (29, "overdue")] {
        let poll_interval = Duration::from_secs(interval);
        accounts[0].write(|status| status.usage_mut().poll_interval = poll_interval);
        let body = page(accounts_with(accounts.clone())).await;
        assert_contains(&body, &[&format!("contoso {word}")]);
        let marked = body.contains("<strong class=\"doubtful\">1 min 30 s ago</strong>");
        assert_eq!(marked, word == "overdue");
    }
}

#[tokio::test]
async fn a_refused_refresh_token_has_no_time_left() {
    let accounts = ledgers(&["contoso"]);
    for (days, expected) in
        [(1, "Refresh token refused issued 2026-11-22"), (93, "Refresh token expired 3 d ago")]
    {
        credentials(
            &accounts[0],
            Credentials {
                refresh_token_issued_at: Some(NOW - SignedDuration::from_hours(24 * days)),
                refresh_token_refused: true,
                ..Credentials::default()
            },
        );
        let body = page(accounts_with(accounts.clone())).await;
        assert_contains(&body, &[expected]);
        assert_eq!(body.matches("class=\"attention\"").count(), 1);
    }
    let configured = Credentials { refresh_token_refused: true, ..Credentials::default() };
    credentials(&accounts[0], configured);
    assert_contains(&page(accounts_with(accounts)).await, &["Refresh token refused MFA"]);
}

#[tokio::test]
async fn an_account_that_fails_for_want_of_a_second_factor_is_not_called_compliant() {
    let accounts = ledgers(&["contoso"]);
    credentials(&accounts[0], Credentials { mfa_compliant: Some(true), ..Credentials::default() });
    for (reason, expected) in [
        (FailureReason::Mfa, "MFA demanded sign in again with MFA"),
        (FailureReason::Server, "MFA compliant"),
    ] {
        failed(&accounts[0], reason);
        assert_contains(&page(accounts_with(accounts.clone())).await, &[expected]);
    }
}

#[tokio::test]
async fn a_failed_reload_is_shown_until_one_succeeds() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    let problems = "invalid configuration:\n  accounts[0].<b>: unknown key\n  poll_interval: not a duration";
    site.own.reloaded(Some(problems.to_owned()), NOW - Duration::from_secs(61));
    let failed = send(&site.router, "GET", "/", &[]).await.text().to_owned();
    assert_contains(
        &failed,
        &[
            "The configuration was not reloaded The last reload failed 1 min 1 s ago, 2026-11-23 05:12 UTC . The previous \
         configuration remains in use",
            "accounts[0].&lt;b&gt;: unknown key",
            "poll_interval: not a duration What to do:",
        ],
    );
    assert!(failed.contains("<title>Reload failed · Partner"), "{failed}");
    site.own.reloaded(None, NOW);
    let loaded = send(&site.router, "GET", "/", &[]).await.text().to_owned();
    assert!(!loaded.contains("was not reloaded") && loaded.contains("<title>Partner"), "{loaded}");
}
