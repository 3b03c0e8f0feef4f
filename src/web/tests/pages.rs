use std::time::Duration;

use super::*;
use crate::reason::Reason;
use crate::usage::{LicenseUsage, Percent};

fn row(workload: &str, percent: f64) -> LicenseUsage {
    LicenseUsage {
        service: "o365".to_owned(),
        workload: workload.to_owned(),
        channel: "reseller".to_owned(),
        percent: Percent::new(percent).unwrap(),
        processed_at: "2026-11-17T00:00:00Z".parse().unwrap(),
    }
}

fn collected(ledger: &Ledger, rows: impl IntoIterator<Item = LicenseUsage>) {
    let report = UsageReport::collect(rows.into_iter().map(Ok));
    let at = NOW - Duration::from_secs(90);
    ledger.write(|status| status.poll_ended(Ok(report), at, Duration::ZERO));
}

fn failed(ledger: &Ledger, reason: Reason) {
    let error = crate::partner::FetchError::scripted(reason, None);
    ledger.write(|status| status.poll_ended(Err(error.into()), NOW, Duration::ZERO));
}

async fn page(fleet: Fleet) -> String {
    let answer = send(&site(fleet).router, "GET", "/", &[]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    answer.body
}

#[tokio::test]
async fn nothing_from_outside_gets_into_the_page_as_markup() {
    let accounts = ledgers(&["<img src=x onerror=alert(1)> & 'co' \"x\""]);
    collected(&accounts[0], [row("</td><script>alert(1)</script>", 1.0)]);
    let body = page(fleet(accounts)).await;
    assert!(!body.contains("<script") && !body.contains("<img"), "{body}");
    assert!(body.contains("&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;"), "{body}");
    let heading = "<h2>&lt;img src=x onerror=alert(1)&gt; &amp; &#39;co&#39; &quot;x&quot;</h2>";
    assert!(body.contains(heading), "{body}");
}

#[tokio::test]
async fn rows_are_listed_lowest_first_and_low_ones_are_marked() {
    let accounts = ledgers(&["contoso"]);
    collected(
        &accounts[0],
        [row("Exchange", 104.5), row("SharePoint", 39.9), row("Teams", 9.0), row("Yammer", 40.0)],
    );
    let body = page(fleet(accounts)).await;
    let cells: Vec<&str> = body
        .split("<td class=\"number")
        .filter_map(|cell| {
            cell.split_once("%</td>").or_else(|| cell.split_once("% low</td>")).map(|(cell, _)| cell)
        })
        .collect();
    let expected =
        [" bad\">9 ", "\">40 ", " bad\">39.9 ", "\">40 ", "\">40 ", "\">40 ", "\">104.5 ", "\">40 "];
    assert_eq!(cells, expected, "usage and threshold in turn");
    assert!(body.contains("<td>2026-11-17</td>"), "{body}");
    assert!(body.contains("<p>Last poll: 1m 30s ago · Last good poll: 1m 30s ago.</p>"), "{body}");
    assert!(body.contains("Polling works since 2026-11-23 05:11:50."), "{body}");
}

#[tokio::test]
async fn a_failing_account_shows_the_reason_and_what_to_do_and_its_last_good_rows() {
    let accounts = ledgers(&["contoso"]);
    collected(&accounts[0], [row("Exchange", 38.0)]);
    failed(&accounts[0], Reason::Consent);
    let body = page(fleet(accounts)).await;
    for text in [
        "Polling fails since 2026-11-23 05:13:20: consent</p>",
        "<p>as the script says</p>",
        &format!("What to do: {}.", Reason::Consent.remedy()),
        "<td>Exchange</td>",
    ] {
        assert!(body.contains(text), "{text}\n{body}");
    }
}

#[tokio::test]
async fn an_account_without_rows_says_why() {
    let never = page(fleet(ledgers(&["contoso"]))).await;
    assert!(never.contains("Not polled yet.") && !never.contains("<p>.</p>"), "{never}");
    let accounts = ledgers(&["contoso"]);
    let good = crate::status::Good { report: Arc::default(), at: NOW, failed_since: false };
    accounts[0].write(|status| status.good = Some(good));
    assert!(page(fleet(accounts)).await.contains("Not polled since the start; the rows are of before."));
    let accounts = ledgers(&["contoso"]);
    collected(&accounts[0], []);
    assert!(page(fleet(accounts)).await.contains("The last good collection was empty."));
    let accounts = ledgers(&["contoso"]);
    collected(&accounts[0], [row("Exchange", 38.0)]);
    let stale = Fleet { stale_after: Some(Duration::from_mins(1)), ..fleet(accounts) };
    let body = page(stale).await;
    assert!(body.contains("The last good rows are older than stale_after and no longer shown."), "{body}");
    assert!(!body.contains("Exchange"), "{body}");
}
