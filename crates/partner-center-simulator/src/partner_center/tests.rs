//! Tests the usage endpoint as a client sees it.

use axum::http::Method;

use crate::testkit::{
    HOST, TestResponse, USAGE, access_token, exchange, get, parsed, send, simulator, usage,
};

mod commercial;

const DEPLOYMENT: &str = "/v1/analytics/licenses/deployment";
const REPORT: &[u8] = include_bytes!("../../../../tests/fixtures/usage-documented-wire-bytes.json");

async fn scripted(behaviour: &str) -> TestResponse {
    let simulator = simulator(&format!("usage: {behaviour}"));
    let token = access_token(&simulator, "contoso").await;
    usage(&simulator, &token).await
}

#[tokio::test]
async fn the_documented_rows_are_sent_as_the_documented_bytes() {
    let answer = scripted("{}").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, REPORT);
    assert_eq!(answer.header("content-length"), Some("1156"));
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.header("date"), Some("Mon, 23 Nov 2026 05:13:20 GMT"));
    assert_eq!(answer.header("ms-serverid"), Some("101112012"));
    assert!(answer.header("ms-cv").unwrap().ends_with(".0"));
}

#[tokio::test]
async fn the_ids_of_a_request_are_echoed_and_absent_ids_are_generated() {
    let ids = [("MS-RequestId", "request-1"), ("MS-CorrelationId", "correlation-1")];
    for path in [USAGE, "/elsewhere"] {
        let answer = get(&simulator("{}"), path, &ids).await;
        assert_eq!(answer.header("ms-requestid"), Some("request-1"));
        assert_eq!(answer.header("ms-correlationid"), Some("correlation-1"));
    }
    let answer = scripted("{ answer: throttled }").await;
    assert_eq!(answer.header("ms-requestid").unwrap().len(), 36);
    assert_ne!(answer.header("ms-requestid"), answer.header("ms-correlationid"));
}

#[tokio::test]
async fn access_without_a_known_token_is_denied() {
    let simulator = simulator("{}");
    for headers in [vec![], vec![("authorization", "Basic abc")], vec![("authorization", "Bearer unknown")]] {
        let answer = get(&simulator, USAGE, &headers).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
        let body = r#"{"code":400,"description":"Access denied","data":[],"source":"PartnerFD"}"#;
        assert_eq!(answer.text(), body);
    }
}

#[tokio::test]
async fn a_denied_request_does_not_count_as_a_call() {
    let simulator = simulator("usage: { answer: server_error, times: 1 }");
    assert_eq!(usage(&simulator, "unknown").await.status, 401);
    let token = access_token(&simulator, "contoso").await;
    assert_eq!(usage(&simulator, &token).await.status, 500);
    assert_eq!(usage(&simulator, &token).await.status, 200);
}

#[tokio::test]
async fn each_api_error_has_its_status_and_code() {
    for (kind, status, code) in [
        ("unauthorized", 401, 400),
        ("mfa_required", 401, 900_421),
        ("wrong_audience", 401, 900_420),
        ("forbidden", 403, 900_150),
        ("app_only", 403, 900_329),
        ("conditional_access", 403, 900_309),
        ("server_error", 500, 800_003),
    ] {
        let answer = scripted(&format!("{{ answer: {kind} }}")).await;
        assert_eq!((answer.status.as_u16(), answer.json()["code"].as_u64()), (status, Some(code)));
        assert_eq!(answer.json()["source"], "PartnerFD");
    }
}

#[tokio::test]
async fn a_throttled_response_is_worded_as_by_the_gateway() {
    let answer = scripted("{ answer: throttled }").await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after"), Some("57"));
    let body = r#"{ "statusCode": 429, "message": "Rate limit is exceeded. Try again in 57 seconds." }"#;
    assert_eq!(answer.text(), body);
    let answer = scripted("{ answer: throttled, retry_after: 9 }").await;
    assert_eq!(answer.header("retry-after"), Some("9"));
    assert!(answer.text().contains("in 9 seconds"));
}

#[tokio::test]
async fn an_empty_report_has_no_rows() {
    let answer = scripted("{ answer: empty }").await;
    let body = "\u{feff}{\"totalCount\":0,\"items\":[],\"attributes\":{\"objectType\":\"Collection\"}}";
    assert_eq!((answer.status.as_u16(), answer.text()), (200, body));
}

#[tokio::test]
async fn a_report_can_lack_the_byte_order_mark() {
    assert_eq!(scripted("{ answer: no_bom }").await.body, REPORT[3..]);
}

#[tokio::test]
async fn responses_without_a_body_are_empty() {
    for (kind, status) in [("no_content", 204), ("not_found", 404)] {
        let answer = scripted(&format!("{{ answer: {kind} }}")).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (status, ""));
    }
}

#[tokio::test]
async fn a_malformed_report_has_the_announced_length_and_is_not_json() {
    let answer = scripted("{ answer: malformed }").await;
    assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
    let json = answer.text().trim_start_matches('\u{feff}');
    assert!(serde_json::from_str::<serde_json::Value>(json).is_err());
}

#[tokio::test]
async fn a_truncated_report_is_shorter_than_announced() {
    let answer = scripted("{ answer: truncated }").await;
    assert_eq!(answer.header("content-length"), Some("1156"));
    assert_eq!(answer.body, REPORT[..578]);
}

#[tokio::test]
async fn a_proxy_page_is_html_with_the_status_of_the_scenario() {
    let answer = scripted("{ answer: html, status: 502 }").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.text().starts_with("<!DOCTYPE html>"));
}

#[tokio::test]
async fn each_tenant_has_its_own_report_and_errors() {
    let simulator =
        simulator("tenants: { contoso: { rows: portfolio }, fabrikam: { usage: { answer: forbidden } } }");
    let mut statuses = vec![];
    let mut lengths = vec![];
    for tenant in ["contoso", "fabrikam", "northwind"] {
        let token = access_token(&simulator, tenant).await;
        let answer = usage(&simulator, &token).await;
        statuses.push(answer.status.as_u16());
        lengths.push(answer.text().matches("workloadName").count());
    }
    assert_eq!(statuses, [200, 403, 200]);
    assert_eq!(lengths, [14, 0, 5]);
}

#[tokio::test]
async fn a_caller_can_query_whether_its_sign_in_had_a_second_factor() {
    for (kind, compliant) in [("ok", "true"), ("mfa_required", "false")] {
        let simulator = simulator(&format!("usage: {{ answer: {kind} }}"));
        let authorization = format!("Bearer {}", access_token(&simulator, "contoso").await);
        let asked = [("authorization", &*authorization), ("ValidateMfa", "true")];
        assert_eq!(get(&simulator, USAGE, &asked).await.header("isMfaCompliant"), Some(compliant));
        assert_eq!(get(&simulator, USAGE, &asked[..1]).await.header("isMfaCompliant"), None);
    }
}

#[tokio::test]
async fn a_token_without_a_second_factor_is_refused_where_mfa_is_enforced() {
    let simulator = simulator(
        "{ enforce_mfa: true, usage: { answer: no_bom, times: 1 }, tenants: { contoso: { mfa: false } } }",
    );
    let authorization = format!("Bearer {}", access_token(&simulator, "contoso").await);
    let asked = [("authorization", &*authorization), ("ValidateMfa", "true")];
    let answer = get(&simulator, USAGE, &asked).await;
    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_u64()), (401, Some(900_421)));
    assert_eq!(answer.header("isMfaCompliant"), Some("false"));
    let log = get(&simulator, "/simulator/requests", &[]).await.json();
    assert_eq!(log["requests"][1]["authorization"], "no_second_factor");
    let token = access_token(&simulator, "fabrikam").await;
    assert_eq!(usage(&simulator, &token).await.status, 200);
}

#[tokio::test]
async fn a_missing_second_factor_is_reported_where_mfa_is_not_enforced() {
    let simulator = simulator("mfa: false");
    let authorization = format!("Bearer {}", access_token(&simulator, "contoso").await);
    let asked = [("authorization", &*authorization), ("ValidateMfa", "true")];
    let answer = get(&simulator, USAGE, &asked).await;
    assert_eq!((answer.status.as_u16(), answer.header("isMfaCompliant")), (200, Some("false")));
}

#[tokio::test]
async fn a_token_for_another_api_is_refused() {
    let simulator = simulator("{}");
    for (resource, status) in [
        ("http://localhost:1234", 200),
        ("http://localhost:1234/api", 200),
        ("http://localhost:12345", 401),
        // As behind a proxy that adds TLS.
        ("https://localhost:1234", 200),
        ("https://graph.windows.net", 401),
    ] {
        let scope = format!("{resource}/user_impersonation");
        let token = exchange(&simulator, "contoso", &[("scope", &scope)]).await.member("access_token");
        let headers = [("authorization", &*format!("Bearer {token}")), ("host", HOST)];
        let answer = get(&simulator, USAGE, &headers).await;
        assert_eq!(answer.status, status, "{resource}");
        if status == 401 {
            assert_eq!(answer.json()["code"], 900_420);
            assert!(answer.text().contains(resource), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_not_found() {
    let simulator = simulator("{}");
    for (method, path) in [
        (Method::GET, "/v1/customers"),
        (Method::POST, USAGE),
        (Method::GET, "/contoso/oauth2/v2.0/token"),
        (Method::POST, "/contoso/oauth2/token"),
    ] {
        let answer = send(&simulator, method, path, &[], "").await;
        let body = r#"{"code":1000,"description":"Not found","data":[],"source":"PartnerFD"}"#;
        assert_eq!((answer.status.as_u16(), answer.text()), (404, body));
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_report_arrives_after_the_delay() {
    let start = tokio::time::Instant::now();
    assert_eq!(scripted("{ delay: 90s }").await.status, 200);
    assert_eq!(start.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_logged_even_when_its_caller_gives_up() {
    let simulator = simulator("usage: { delay: 90s }");
    let token = exchange(&simulator, "contoso", &[]).await.member("access_token");
    let limit = std::time::Duration::from_secs(1);
    assert!(tokio::time::timeout(limit, usage(&simulator, &token)).await.is_err());
    assert_eq!(get(&simulator, "/simulator/requests", &[]).await.json()["totals"]["usage"], 1);
}

#[tokio::test]
async fn each_page_of_a_report_links_to_the_next_by_a_continuation_token() {
    let simulator = simulator("page_size: 2");
    let token = access_token(&simulator, "contoso").await;
    let authorization = format!("Bearer {token}");
    let mut counts = vec![];
    let mut page = None;
    loop {
        let mut headers = vec![("authorization", &*authorization)];
        headers.extend(page.as_deref().map(|page| ("ms-continuationtoken", page)));
        let answer = get(&simulator, USAGE, &headers).await;
        let json = parsed(&answer);
        counts.push(json["items"].as_array().unwrap().len());
        let next = &json["links"]["next"];
        let Some(header) = next["headers"].get(0) else { break };
        assert_eq!((&next["method"], &header["key"]), (&"GET".into(), &"MS-ContinuationToken".into()));
        page = Some(header["value"].as_str().unwrap().to_owned());
    }
    assert_eq!(counts, [2, 2, 1]);
    let unknown = [("authorization", &*authorization), ("ms-continuationtoken", "6")];
    assert_eq!(get(&simulator, USAGE, &unknown).await.status, 400);
}

#[tokio::test]
async fn a_scenario_can_replace_the_body_and_replace_or_remove_headers() {
    let answer = scripted(
        "{ answer: throttled, body: hello, headers: { retry-after: null, content-type: text/plain, Date: never } }",
    )
    .await;
    assert_eq!((answer.status.as_u16(), answer.text()), (429, "hello"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_eq!((answer.header("retry-after"), answer.header("date")), (None, Some("never")));
    assert_eq!(scripted("{ body_base64: /wA= }").await.body, [0xFF, 0]);
}

#[tokio::test]
async fn a_report_can_be_compressed() {
    use std::io::Read as _;
    let answer = scripted("{ gzip: true }").await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut report = vec![];
    flate2::read::GzDecoder::new(&*answer.body).read_to_end(&mut report).unwrap();
    assert_eq!(report, REPORT);
}

#[tokio::test]
async fn a_scenario_can_change_members_of_a_json_object() {
    let answer = scripted("{ merge: { totalCount: 7, items: null, more: [] } }").await;
    let body = "\u{feff}{\"totalCount\":7,\"attributes\":{\"objectType\":\"Collection\"},\"more\":[]}";
    assert_eq!(answer.text(), body);
    assert_eq!(answer.header("content-length"), Some(&*body.len().to_string()));
    let answer = scripted("{ answer: forbidden, merge: { code: \"900150\" } }").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (403, &"900150".into()));
    assert_eq!(scripted("{ body: hello, merge: { a: 1 } }").await.text(), "hello");
}

#[tokio::test]
async fn an_echo_quotes_the_token_of_the_request() {
    let simulator = simulator("usage: { answer: echo }");
    let token = access_token(&simulator, "contoso").await;
    let answer = usage(&simulator, &token).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains(&format!("Bearer {token}")), "{}", answer.text());
}

#[tokio::test]
async fn an_error_can_start_after_some_calls_and_end_after_more() {
    let simulator = simulator("usage: { answer: forbidden, skip: 1, times: 2 }");
    let token = access_token(&simulator, "contoso").await;
    let mut statuses = vec![];
    for _ in 0..5 {
        statuses.push(usage(&simulator, &token).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 403, 403, 200, 200]);
}

#[tokio::test]
async fn the_documented_deployment_is_sent_as_the_documented_bytes() {
    let simulator = simulator("{}");
    let authorization = format!("Bearer {}", access_token(&simulator, "contoso").await);
    let answer = get(&simulator, DEPLOYMENT, &[("authorization", &authorization)]).await;
    let fixture: &[u8] = include_bytes!("../../../../tests/fixtures/deployment-documented-wire-bytes.json");
    assert_eq!((answer.header("content-length"), &*answer.body), (Some("487"), fixture));
}

#[tokio::test]
async fn listed_rows_of_the_deployment_report_are_sent_as_they_are_written_and_in_pages() {
    let rows = r#"[{"licensesSold":206.0,"proratedDeploymentPercent":"26.16"},{"attributes":null},{"serviceName":5}]"#;
    let simulator = simulator(&format!("{{ page_size: 2, deployment: {{ rows: {rows} }} }}"));
    let authorization = format!("Bearer {}", access_token(&simulator, "contoso").await);
    let mut headers = vec![("authorization", &*authorization)];
    let first = parsed(&get(&simulator, DEPLOYMENT, &headers).await);
    let attributes = r#""attributes":{"objectType":"PartnerLicensesDeploymentInsights"}"#;
    assert_eq!(
        first["items"].to_string(),
        format!(
            r#"[{{"licensesSold":206.0,"proratedDeploymentPercent":"26.16",{attributes}}},{{"attributes":null}}]"#
        )
    );
    let next = &first["links"]["next"];
    assert_eq!(next["uri"], "/analytics/licenses/deployment?seekOperation=Next");
    headers.push(("ms-continuationtoken", next["headers"][0]["value"].as_str().unwrap()));
    assert_eq!(parsed(&get(&simulator, DEPLOYMENT, &headers).await)["items"][0]["serviceName"], 5);
}

#[tokio::test]
async fn the_usage_report_can_have_rows_that_are_sent_as_they_are_written() {
    let rows = r#"[{"proratedLicensesUsagePercent":"91.5","workloadName":null,"attributes":{}}]"#;
    let answer = scripted(&format!("{{ rows: {rows}, times: 0 }}")).await;
    assert_eq!(parsed(&answer)["items"].to_string(), rows);
}
