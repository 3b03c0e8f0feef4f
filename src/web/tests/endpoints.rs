use super::*;

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let site = site(fleet(ledgers(&["contoso"])));
    let plain = "text/plain; version=0.0.4; charset=utf-8";
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let asks_for_open = [("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")];
    let in_two_headers =
        [("accept", "text/plain;q=0.5"), ("accept", "application/openmetrics-text;version=1.0.0")];
    for (accept, content_type) in [(&[][..], plain), (&asks_for_open, open), (&in_two_headers, open)] {
        let answer = send(&site.router, "GET", "/metrics", accept).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert_eq!(answer.header("vary"), Some("Accept"));
        assert!(answer.body.contains("\npartner_license_up{account=\"contoso\"} 0"), "{}", answer.body);
        assert!(answer.body.contains("\nprocess_cpu_seconds_total "), "{}", answer.body);
        assert_eq!(answer.body.matches("# EOF").count(), usize::from(content_type == open));
        assert_eq!(answer.body.ends_with("\n# EOF\n"), content_type == open);
    }
}

#[tokio::test]
async fn the_page_is_the_newest_that_was_drawn() {
    let site = site(fleet(ledgers(&["contoso"])));
    let changed = fleet(ledgers(&["fabrikam"]));
    site.page.send_replace(Arc::new(changed.draw(NOW)));
    let (_, body) = get_text(&site.router, "/metrics").await;
    assert!(body.starts_with(changed.draw(NOW).body(Format::Classic)), "{body}");
}

#[tokio::test]
async fn a_head_request_has_the_headers_and_no_body() {
    let site = site(fleet(ledgers(&["contoso"])));
    for path in ["/metrics", "/", "/-/healthy", "/-/ready"] {
        let (get, head) =
            (send(&site.router, "GET", path, &[]).await, send(&site.router, "HEAD", path, &[]).await);
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_not_found_and_metrics_cannot_be_posted() {
    let site = site(fleet(ledgers(&["contoso"])));
    assert_eq!(get_text(&site.router, "/metric").await.0, 404);
    let answer = send(&site.router, "POST", "/metrics", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("GET,HEAD")));
}

#[tokio::test]
async fn it_is_healthy_as_soon_as_it_answers() {
    let site = site(fleet(ledgers(&["contoso"])));
    let expected = (200, "partner-license-exporter is Healthy.\n".to_owned());
    assert_eq!(get_text(&site.router, "/-/healthy").await, expected);
}

#[tokio::test]
async fn it_is_ready_once_every_account_was_tried_and_stays_so() {
    let accounts = ledgers(&["a", "bb"]);
    let site = site(fleet(accounts.clone()));
    let waiting = |n: u8| (503, format!("{n} of 2 accounts have not been polled yet.\n"));
    let ready = (200, "partner-license-exporter is Ready.\n".to_owned());
    assert_eq!(get_text(&site.router, "/-/ready").await, waiting(2));
    succeed(&accounts[0]);
    assert_eq!(get_text(&site.router, "/-/ready").await, waiting(1));
    accounts[1].write(|status| {
        let error = crate::partner::FetchError::scripted(crate::reason::Reason::Network, None);
        status.poll_ended(Err(error.into()), NOW, std::time::Duration::ZERO);
    });
    assert_eq!(get_text(&site.router, "/-/ready").await, ready, "a failed poll is a poll");
    // A reload adds an account.
    let added = ledgers(&["new"]);
    added[0].write(|status| status.added_by_reload = true);
    site.fleet.send_replace(Arc::new(fleet([accounts, added].concat())));
    assert_eq!(get_text(&site.router, "/-/ready").await, ready);
}

#[tokio::test]
async fn it_is_ready_at_once_if_every_account_was_restored() {
    let accounts = ledgers(&["a", "bb"]);
    let site = site(fleet(accounts.clone()));
    let good = crate::status::Good { report: Arc::default(), at: NOW, failed_since: false };
    accounts[0].write(|status| status.good = Some(good.clone()));
    assert_eq!(get_text(&site.router, "/-/ready").await.0, 503);
    accounts[1].write(|status| status.good = Some(good));
    assert_eq!(get_text(&site.router, "/-/ready").await.0, 200);
}

#[tokio::test]
async fn a_reload_needs_a_post() {
    let site = site(fleet(Vec::new()));
    for method in ["GET", "DELETE"] {
        let answer = send(&site.router, method, "/-/reload", &[]).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.body, "This endpoint requires a POST request.\n");
        assert_eq!(answer.header("allow"), Some("POST, PUT"));
    }
}

#[tokio::test]
async fn a_reload_says_whether_it_worked_and_if_not_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yml");
    let (supervisor, reloader) = supervisor(Source::File(path.clone()));
    let (web, ..) = web(fleet(Vec::new()), reloader);
    let router = router(web);
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(supervisor.run(no_environment, stop.clone()));

    let answer = send(&router, "POST", "/-/reload", &[]).await;
    let path_shown = path.display();
    let expected = format!(
        "failed to reload config: cannot read {path_shown}: No such file or directory (os error 2)\n"
    );
    assert_eq!((answer.status.as_u16(), answer.body), (500, expected));

    std::fs::write(&path, "accounts: []\ncolour: blue\n").unwrap();
    let answer = send(&router, "POST", "/-/reload", &[]).await;
    assert_eq!(answer.status, 500);
    let start = format!(
        "failed to reload config: {path_shown}: 2 problems\n  accounts: is empty; list at least one account\n  colour: "
    );
    assert!(answer.body.starts_with(&start), "{}", answer.body);

    let state = directory.path().join("state");
    let valid = format!(
        "state_directory: {}\naccounts: [{{tenant_id: t.example, client_secret: s, refresh_token: r, \
         client_id: 00000000-0000-0000-0000-00000000c11e, cloud: custom, \
         api_base_url: \"http://127.0.0.1:9\", login_base_url: \"http://127.0.0.1:9\"}}]",
        state.display()
    );
    std::fs::write(&path, valid).unwrap();
    for method in ["POST", "PUT"] {
        let answer = send(&router, method, "/-/reload", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "Configuration reloaded.\n"));
    }
    stop.cancel();
    task.await.unwrap();
    let answer = send(&router, "POST", "/-/reload", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (503, "The exporter is stopping.\n"));
}

#[tokio::test]
async fn a_scrape_too_many_is_refused_and_counted() {
    let (_, reloader) = supervisor(Source::Environment);
    let (web, _fleet, _page) = web(fleet(ledgers(&["contoso"])), reloader);
    let own = Arc::clone(&web.own);
    let site = Arc::new(super::super::Site { web, scrapes: Arc::new(Semaphore::new(2)) });
    let busy = site.scrapes.try_acquire_many(2).unwrap();
    let refused = read(metrics(State(Arc::clone(&site)), HeaderMap::new()).await).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.body, "Limit of concurrent requests reached (2), try again later.\n");
    drop(busy);
    let answer = metrics(State(Arc::clone(&site)), HeaderMap::new()).await;
    assert_eq!(site.scrapes.available_permits(), 1, "an answer that was not sent yet keeps its permit");
    let served = read(answer).await;
    assert_eq!(served.status, 200);
    assert_eq!(site.scrapes.available_permits(), 2, "each scrape gives its permit back");
    let text = own.body(Format::Classic);
    for line in [
        "promhttp_metric_handler_requests_total{code=\"200\"} 1",
        "promhttp_metric_handler_requests_total{code=\"503\"} 1",
        "promhttp_metric_handler_requests_in_flight 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn the_scrape_under_way_counts_itself_among_those_in_flight() {
    let site = site(fleet(Vec::new()));
    let (_, body) = get_text(&site.router, "/metrics").await;
    assert!(body.contains("\npromhttp_metric_handler_requests_in_flight 1\n"), "{body}");
    assert!(site.own.body(Format::Classic).contains("\npromhttp_metric_handler_requests_in_flight 0\n"));
}
