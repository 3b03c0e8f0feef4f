//! Health, readiness, reload, bundled files and unknown paths.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::bundled::{concepts, runbooks};
use crate::domain::failure::FailureReason;
use crate::domain::polled::LastGood;
use crate::partner::FetchError;

#[tokio::test]
async fn a_head_request_gets_the_headers_and_no_body() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    for path in ["/metrics", "/", "/-/healthy", "/-/ready"] {
        let (get, head) =
            (send(&site.router, "GET", path, &[]).await, send(&site.router, "HEAD", path, &[]).await);
        assert_eq!((head.status, head.text()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_not_found_and_metrics_cannot_be_posted() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    assert_eq!(get_text(&site.router, "/metric").await.0, 404);
    let received = send(&site.router, "POST", "/metrics", &[]).await;
    assert_eq!((received.status, received.header("allow")), (405, Some("GET,HEAD")));
}

#[tokio::test]
async fn every_file_that_the_status_page_links_to_exists() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    let (_, page) = get_text(&site.router, "/").await;
    let links = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let files: Vec<_> =
        links.filter(|link| link.starts_with("./dashboards/") || link.starts_with("./runbooks/")).collect();
    assert_eq!(files.len(), 4 + 14, "{files:?}");
    for link in files {
        let (status, text) = get_text(&site.router, link.trim_start_matches('.')).await;
        let beginning = if link.starts_with("./dashboards/") { "{" } else { "<!DOCTYPE html>" };
        assert!(status == 200 && text.starts_with(beginning), "{link}: {status}");
    }
    for path in ["/dashboards/x.json", "/runbooks/x", "/runbooks/.md", "/runbooks/..%2f..%2fREADME"] {
        assert_eq!(get_text(&site.router, path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn each_runbook_is_a_page_whose_links_work_and_is_served_as_markdown_on_request() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    for (alert, markdown) in runbooks() {
        let path = format!("/runbooks/{alert}");
        let received = send(&site.router, "GET", &path, &[]).await;
        let page = received.text().to_owned();
        assert_eq!(received.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(
            received.header("content-security-policy").unwrap().starts_with("default-src 'none'; style-src")
        );
        assert!(page.contains(&format!("<h1 id=\"{}\">{alert}</h1>", alert.to_lowercase())), "{page}");
        for heading in ["meaning", "impact", "diagnosis", "remedy", "muting"] {
            assert!(page.contains(&format!("<h2 id=\"{heading}\">")), "{alert} has no {heading}");
        }
        assert_eq!(get_text(&site.router, &format!("{path}.md")).await.1, page, "both names are served");
        for link in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let target = match link {
                "../" => "/".to_owned(),
                _ if link.starts_with("data:") => continue,
                _ => {
                    let path = link.split('#').next().unwrap();
                    path.strip_prefix("..").map_or_else(|| format!("/runbooks/{path}"), str::to_owned)
                }
            };
            assert_eq!(get_text(&site.router, &target).await.0, 200, "{alert} links to {link}");
        }
        for (accept, is_text) in [
            ("text/markdown", true),
            ("text/plain;q=0.9, */*;q=0.1", true),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("text/html, text/plain", false),
            ("*/*", false),
        ] {
            for path in [&path, &format!("{path}.md")] {
                let received = send(&site.router, "GET", path, &[("accept", accept)]).await;
                assert_eq!(received.header("vary"), Some("Accept"));
                assert_eq!(received.text(), if is_text { markdown } else { &page }, "{accept}");
            }
        }
    }
}

#[tokio::test]
async fn each_document_about_a_concept_is_a_page_whose_links_work() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    assert!(concepts().any(|(name, _)| name == "the-numbers"));
    for (name, markdown) in concepts() {
        let (status, page) = get_text(&site.router, &format!("/concepts/{name}")).await;
        assert_eq!(status, 200);
        for link in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => format!("/concepts/{name}"),
                "../" => "/".to_owned(),
                _ if link.starts_with("data:") || link.starts_with("https://") => continue,
                _ => path.strip_prefix("..").map_or_else(|| format!("/concepts/{path}"), str::to_owned),
            };
            let (status, text) = get_text(&site.router, &target).await;
            let has_anchor = anchor.is_empty() || text.contains(&format!("id=\"{anchor}\""));
            assert!(status == 200 && has_anchor, "{name} links to {link}");
        }
        let received =
            send(&site.router, "GET", &format!("/concepts/{name}.md"), &[("accept", "text/plain")]).await;
        assert_eq!(received.text(), markdown);
    }
    assert_eq!(get_text(&site.router, "/concepts/x").await.0, 404);
}

#[tokio::test]
async fn every_link_of_the_status_page_leads_below_the_page() {
    let accounts = ledgers(&["contoso", "fabrikam"]);
    let error = FetchError::scripted(FailureReason::Consent, None);
    accounts[1].write(|status| status.usage_mut().poll_ended(Err(error.into()), NOW, Duration::ZERO));
    let (_, reloader) = supervisor(ConfigSource::Environment);
    let (site, ..) = web_site(accounts_with(accounts), reloader, true);
    // The first segment of this path would be a scheme, as in `mailto:`.
    let router = router(Site { telemetry_path: "/a:b/metrics".to_owned(), ..site });
    let (_, page) = get_text(&router, "/").await;
    let links = ["href=\"", "src=\"", "action=\""].map(|name| page.split(name).skip(1));
    let links: Vec<_> = links.into_iter().flatten().filter_map(|rest| rest.split('"').next()).collect();
    assert!(links.len() > 20 && links.contains(&"./a:b/metrics"), "{links:?}");
    for link in links {
        let is_below = link.starts_with("./") && !link.contains("..");
        assert!(is_below || link.starts_with('#') || link.starts_with("data:"), "{link}");
    }
}

#[tokio::test]
async fn a_web_page_of_another_site_cannot_cause_a_reload() {
    let site = site(accounts_with(Vec::new()));
    let host = ("host", "127.0.0.1:10365");
    for (header, expected) in [
        (("origin", "https://evil.example"), 403),
        (("origin", "null"), 403),
        (("sec-fetch-site", "cross-site"), 403),
        (("sec-fetch-site", "same-site"), 403),
        // The supervisor of this site has stopped.
        (("sec-fetch-site", "same-origin"), 503),
        (("origin", "http://127.0.0.1:10365"), 503),
        (("user-agent", "curl/8"), 503),
    ] {
        for method in ["POST", "PUT"] {
            let received = send(&site.router, method, "/-/reload", &[host, header]).await;
            assert_eq!(received.status, expected, "{method} {header:?}: {}", received.text());
        }
    }
    let linked = [host, ("sec-fetch-site", "cross-site")];
    for path in ["/", "/metrics", "/-/healthy"] {
        assert_eq!(send(&site.router, "GET", path, &linked).await.status, 200, "a link from elsewhere");
    }
}

#[tokio::test]
async fn metrics_may_take_the_place_of_the_status_page() {
    let (reload, first) = (supervisor(ConfigSource::Environment).1, accounts_with(ledgers(&["contoso"])));
    let (site, _accounts, _snapshot) = web_site(first, reload, true);
    let router = router(Site { telemetry_path: "/".to_owned(), ..site });
    let (status, text) = get_text(&router, "/").await;
    assert!(status == 200 && text.starts_with("# HELP partner_license_"), "{status}: {text:.80}");
}

#[tokio::test]
async fn it_is_healthy_as_soon_as_it_answers() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    let expected = (200, "partner-license-exporter is Healthy.\n".to_owned());
    assert_eq!(get_text(&site.router, "/-/healthy").await, expected);
}

#[tokio::test]
async fn it_is_ready_once_every_account_was_polled_and_stays_ready() {
    let accounts = ledgers(&["a", "bb"]);
    let site = site(accounts_with(accounts.clone()));
    let waiting = |n: u8| (503, format!("{n} of 2 accounts have not been polled yet.\n"));
    let ready = (200, "partner-license-exporter is Ready.\n".to_owned());
    assert_eq!(get_text(&site.router, "/-/ready").await, waiting(2));
    succeed(&accounts[0]);
    assert_eq!(get_text(&site.router, "/-/ready").await, waiting(1));
    accounts[1].write(|status| {
        let error = FetchError::scripted(FailureReason::Network, None);
        status.usage_mut().poll_ended(Err(error.into()), NOW, Duration::ZERO);
    });
    assert_eq!(get_text(&site.router, "/-/ready").await, ready, "a failed poll is a poll");
    // A reload adds an account.
    let added = ledgers(&["new"]);
    added[0].write(|status| status.added_by_reload = true);
    site.accounts.send_replace(Arc::new(accounts_with([accounts, added].concat())));
    assert_eq!(get_text(&site.router, "/-/ready").await, ready);
}

#[tokio::test]
async fn it_is_ready_at_once_if_every_account_was_restored() {
    let accounts = ledgers(&["a", "bb"]);
    let site = site(accounts_with(accounts.clone()));
    let good = LastGood { report: Arc::new(UsageReport::default().into()), at: NOW, failed_since: false };
    accounts[0].write(|status| status.usage_mut().last_good = Some(good.clone()));
    assert_eq!(get_text(&site.router, "/-/ready").await.0, 503);
    accounts[1].write(|status| status.usage_mut().last_good = Some(good));
    assert_eq!(get_text(&site.router, "/-/ready").await.0, 200);
}

#[tokio::test]
async fn a_reload_needs_a_post() {
    let site = site(accounts_with(Vec::new()));
    for method in ["GET", "DELETE"] {
        let received = send(&site.router, method, "/-/reload", &[]).await;
        assert_eq!(received.status, 405, "{method}");
        assert_eq!(received.text(), "This endpoint requires a POST request.\n");
        assert_eq!(received.header("allow"), Some("POST, PUT"));
    }
}

#[tokio::test]
async fn a_reload_reports_success_or_the_reason_of_its_failure() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yml");
    let (supervisor, reloader) = supervisor(ConfigSource::File(path.clone()));
    let (site, ..) = web_site(accounts_with(Vec::new()), reloader, true);
    let router = router(site);
    let stop = CancellationToken::new();
    let task = tokio::spawn(supervisor.run(no_environment, || (), stop.clone()));

    let received = send(&router, "POST", "/-/reload", &[]).await;
    let path_shown = path.display();
    let expected = format!(
        "failed to reload config: cannot read {path_shown}: No such file or directory (os error 2)\n"
    );
    assert_eq!((received.status, received.text()), (500, expected.as_str()));

    std::fs::write(&path, "accounts: []\ncolour: blue\n").unwrap();
    let received = send(&router, "POST", "/-/reload", &[]).await;
    assert_eq!(received.status, 500);
    let start = format!(
        "failed to reload config: {path_shown}: 2 problems\n  accounts: is empty; list at least one account\n  colour: "
    );
    assert!(received.text().starts_with(&start), "{}", received.text());

    let state = directory.path().join("state");
    let valid = format!(
        "state_directory: {}\naccounts: [{{tenant_id: t.example, client_secret: s, refresh_token: r, \
         client_id: 00000000-0000-0000-0000-00000000c11e, cloud: custom, \
         api_base_url: \"http://127.0.0.1:9\", login_base_url: \"http://127.0.0.1:9\"}}]",
        state.display()
    );
    std::fs::write(&path, valid).unwrap();
    for method in ["POST", "PUT"] {
        let received = send(&router, method, "/-/reload", &[]).await;
        assert_eq!((received.status, received.text()), (200, "Configuration reloaded.\n"));
    }
    stop.cancel();
    task.await.unwrap();
    let received = send(&router, "POST", "/-/reload", &[]).await;
    assert_eq!((received.status, received.text()), (503, "The exporter is stopping.\n"));
}
