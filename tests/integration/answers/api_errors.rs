//! Error responses of the API: statuses, bodies and `Retry-After`.

use std::time::{Duration, SystemTime};

use super::bodies::{base64, gzip_body, quoted};
use super::row::{Row, failed, good, unusable};

pub(crate) fn rows() -> Vec<Row> {
    let tables = [shapes(), hostile(), refusals(), statuses(), throttled(), retry_after(), mfa()];
    tables.into_iter().flatten().collect()
}

/// Returns a row with an error response that is not retried. `usage` is the simulator's scenario besides the status.
fn once(name: &'static str, status: u16, usage: &str, reason: &'static str, text: &str) -> Row {
    failed(
        name,
        format!("usage: {{ status: {status}, {usage} }}"),
        reason,
        format!("the API answered {text}"),
    )
    .traffic(&format!("token 200: 1, usage {status}: 1"))
}

/// Returns a row with an error response that is retried twice.
fn retried(name: &'static str, status: u16, usage: &str, reason: &'static str, text: &str) -> Row {
    once(name, status, usage, reason, text)
        .traffic(&format!("token 200: 1, usage {status}: 3, usage retries: 2"))
}

/// Returns a row in which the API refuses the access token, which is renewed once.
fn unauthorized(name: &'static str, usage: &str, reason: &'static str, text: &str) -> Row {
    once(name, 401, usage, reason, &format!("401 Unauthorized{text}")).traffic("token 200: 2, usage 401: 2")
}

fn body(json: &str) -> String {
    format!("body: {}", quoted(json))
}

/// The body of a recorded response.
macro_rules! recorded {
    ($name:literal) => {
        &body(include_str!(concat!("../../fixtures/errors/", $name, ".json")))
    };
}

fn shapes() -> Vec<Row> {
    let bad_request =
        |name, usage: &str, text: &str| once(name, 400, usage, "server", &format!("400 Bad Request{text}"));
    let bodies = [
        (
            "the third shape",
            r#"{"code":7,"message":"Bad.","description":"Very bad.","errorName":"E","isRetryable":false,"parameters":{}}"#,
            ", code 7: Very bad.",
        ),
        (
            "the third shape with a message only",
            r#"{"code":7,"message":"Bad.","description":null}"#,
            ", code 7: Bad.",
        ),
        (
            "an empty description and a message",
            r#"{"code":7,"message":"Bad.","description":" "}"#,
            ", code 7: Bad.",
        ),
        ("a code as text", r#"{"code":"7","description":"Bad."}"#, ", code 7: Bad."),
        ("a code that is null", r#"{"code":null,"statusCode":8,"description":"Bad."}"#, ", code 8: Bad."),
        ("a code that is empty", r#"{"code":"","description":"Bad."}"#, ": Bad."),
        ("a code that is a list", r#"{"code":[1,2],"description":"Bad."}"#, ", code [1,2]: Bad."),
        ("a code alone", r#"{"code":7}"#, ", code 7"),
        ("a description alone", r#"{"description":"Bad."}"#, ": Bad."),
        (
            "a description that is a list",
            r#"{"code":7,"description":["Bad."],"data":7,"source":{}}"#,
            r#", code 7: ["Bad."]"#,
        ),
        (
            "an error after a byte order mark",
            "\u{feff}{\"code\":7,\"description\":\"Bad.\"}",
            ", code 7: Bad.",
        ),
        ("an error that is a list", r#"[{"code":7}]"#, ""),
        ("an error that is a number", "7", ""),
        ("a truncated error", r#"{"code":7,"descr"#, ""),
        ("an empty body", "", ""),
    ];
    let bodies = bodies.map(|(name, json, text)| bad_request(name, &body(json), text));
    let others = [
        bad_request(
            "the API's own shape",
            recorded!("400-900316-assign-licenses-to-a-user"),
            ", code 900316: Partner token is not allowed in license management calls. Please call with Partner Access Token. To learn more, see https://learn.microsoft.com/partner-center/developer/enable-secure-app-model#get-access-token",
        ),
        bad_request(
            "the API's own shape with data",
            recorded!("400-60012-assign-licenses-to-a-user"),
            ", code 60012: We are sorry, it looks like you have run out of licenses. Buy more licenses, and then try again.",
        ),
        once(
            "the API's own shape with 404",
            404,
            recorded!("404-3000-get-partner-by-mpn-id"),
            "server",
            "404 Not Found, code 3000: Partner Organization with partner_id 9999999 could not be found",
        ),
        once(
            "the shape of the gateway",
            403,
            recorded!("429-rate-limit-gateway-shape"),
            "forbidden",
            "403 Forbidden, code 429: Rate limit is exceeded. Try again in 57 seconds.",
        ),
        bad_request("an error in gzip", &gzip_body(r#"{"code":7,"description":"Bad."}"#), ", code 7: Bad."),
        once(
            "an error in invalid gzip",
            403,
            "answer: forbidden, headers: { content-encoding: gzip }",
            "forbidden",
            "403 Forbidden",
        ),
        once("an error with an HTML page of a proxy", 403, "answer: html", "forbidden", "403 Forbidden"),
        once("404 without a body", 404, "answer: not_found", "server", "404 Not Found"),
    ];
    bodies.into_iter().chain(others).collect()
}

fn hostile() -> Vec<Row> {
    let bad_request =
        |name, usage: &str, text: &str| once(name, 400, usage, "server", &format!("400 Bad Request{text}"));
    let long = "long ".repeat(820);
    let cut = format!("{}…", "long ".repeat(60));
    let descriptions = [
        (
            "a description of several lines",
            "one\r\nlevel=ERROR msg=two\nthree",
            "one  level=ERROR msg=two three",
        ),
        (
            "a description with escape sequences and a bell",
            "\u{1b}[31mred\u{1b}[0m\u{7}\0\u{9b}2J",
            "[31mred [0m   2J",
        ),
        (
            "a description with Unicode's new lines",
            "one\u{2028}two\u{2029}three\u{85}four",
            "one two three four",
        ),
        (
            "a description that changes the direction of text",
            "user\u{202e}nimda\u{2066}x\u{2069}",
            "user nimda x",
        ),
        ("a description of 4 KiB", &long, &cut),
        ("a description that looks like ids", "Bad. (MS-RequestId 0)", "Bad. (MS-RequestId 0)"),
    ];
    let described = |(name, description, text): (&'static str, &str, &str)| {
        let json = serde_json::json!({ "code": 7, "description": description });
        bad_request(name, &body(&json.to_string()), &format!(", code 7: {text}"))
    };
    let huge = format!(r#"{{"code":7,"description":"{}"}}"#, "x".repeat(100_000));
    let no_utf_8 = base64(b"{\"code\":7,\"description\":\"caf\xE9\"}");
    let others = [
        // The body is longer than the part that is read.
        bad_request("a description of 100 KiB", &gzip_body(&huge), ""),
        bad_request(
            "a description that is not UTF-8",
            &format!("body_base64: {no_utf_8}"),
            ", code 7: caf\u{fffd}",
        ),
        bad_request(
            "a code of several lines",
            &body(r#"{"code":"7\r\n8","description":"Bad."}"#),
            ", code 7  8: Bad.",
        ),
        bad_request(
            "a description that quotes the access token",
            "answer: echo",
            ", code 800002: Invalid request input: Bearer (secret)",
        ),
        unusable(
            "200 that quotes the access token",
            "usage: { status: 200, answer: echo }",
            // The column depends on the length of the token.
            "the body is not a collection with a list named items, see line 1 column",
        ),
    ];
    descriptions.into_iter().map(described).chain(others).collect()
}

fn refusals() -> Vec<Row> {
    let code = |code: u32| {
        body(&format!(r#"{{"code":{code},"description":"Bad.","data":[],"source":"PartnerFD"}}"#))
    };
    let forbidden = |name, number: u32| {
        once(name, 403, &code(number), "forbidden", &format!("403 Forbidden, code {number}: Bad."))
    };
    let not_found = |name, number: u32| {
        once(name, 404, &code(number), "server", &format!("404 Not Found, code {number}: Bad."))
    };
    let audience = r#"{"code":"900420","description":"The audience 'https://graph.windows.net' in the token is invalid."}"#;
    vec![
        once("400, code 3000", 400, &code(3000), "server", "400 Bad Request, code 3000: Bad."),
        once("400, code 800002", 400, &code(800_002), "server", "400 Bad Request, code 800002: Bad."),
        unauthorized("401, code 400", "answer: unauthorized", "credentials", ", code 400: Access denied"),
        unauthorized("401, code 800001", &code(800_001), "credentials", ", code 800001: Bad."),
        unauthorized(
            "401, code 900420",
            &body(audience),
            "credentials",
            ", code 900420: The audience 'https://graph.windows.net' in the token is invalid.",
        ),
        unauthorized(
            "401, code 900421",
            "answer: mfa_required",
            "mfa",
            ", code 900421: Multi-factor authentication is required to call this API.",
        )
        .mfa_compliant(Some(false)),
        unauthorized("401, code 900421 as text", &body(r#"{"code":"900421"}"#), "mfa", ", code 900421"),
        unauthorized("401 with an empty body", r#"body: """#, "credentials", ""),
        unauthorized("401 with an HTML page of a proxy", "answer: html", "credentials", ""),
        unauthorized(
            "401 with a claims challenge",
            r#"body: "", headers: { www-authenticate: 'Bearer error="insufficient_claims", claims="e30="' }"#,
            "mfa",
            ", insufficient_claims, claims {}",
        ),
        good("401 once", "rows: [], usage: { answer: unauthorized, times: 1 }", &[])
            .traffic("token 200: 2, usage 200: 1, usage 401: 1"),
        failed(
            "401, and the token cannot be renewed",
            "usage: { answer: unauthorized }, token: { answer: refresh_token_expired, skip: 1 }",
            "credentials",
            "the sign-in service answered 400 Bad Request, invalid_grant: AADSTS700082:",
        )
        .refused_later()
        .traffic("token 200: 1, token 400: 1, usage 401: 1"),
        forbidden("403, code 2032", 2032),
        forbidden("403, code 20002", 20_002),
        forbidden("403, code 900308", 900_308),
        forbidden("403, code 900329", 900_329),
        once(
            "403, code 900150",
            403,
            "answer: forbidden",
            "forbidden",
            "403 Forbidden, code 900150: The supplied role doesn't have the rights to perform the requested operation",
        ),
        once(
            "403, code 900309",
            403,
            recorded!("403-900309-assign-licenses-to-a-user"),
            "forbidden",
            "403 Forbidden, code 900309: Access has been blocked by Conditional Access policies. The access policy does not allow token issuance. Learn more at https://learn.microsoft.com/azure/active-directory/conditional-access/concept-conditional-access-users-groups.",
        ),
        not_found("404, code 1000", 1000),
        not_found("404, code 60003", 60_003),
    ]
}

fn statuses() -> Vec<Row> {
    let empty = r#"body: """#;
    let plain = |name, status, text: &str| once(name, status, empty, "server", text);
    let repeated = |name, status, text: &str| retried(name, status, empty, "server", text);
    let redirect = |name, status, text: &str| {
        let usage = r#"body: "", headers: { location: "/v1/analytics/licenses/usage" }"#;
        once(name, status, usage, "server", text)
    };
    vec![
        redirect("301 to itself", 301, "301 Moved Permanently"),
        redirect("302 to itself", 302, "302 Found"),
        redirect("307 to itself", 307, "307 Temporary Redirect"),
        redirect("308 to itself", 308, "308 Permanent Redirect"),
        once(
            "302 to another origin",
            302,
            r#"headers: { location: "http://127.0.0.1:1/" }"#,
            "server",
            "302 Found",
        ),
        plain("304", 304, "304 Not Modified"),
        plain("405", 405, "405 Method Not Allowed"),
        plain("406", 406, "406 Not Acceptable"),
        plain("407", 407, "407 Proxy Authentication Required"),
        retried("408", 408, empty, "timeout", "408 Request Timeout"),
        plain("409", 409, "409 Conflict"),
        plain("412", 412, "412 Precondition Failed"),
        plain("418", 418, "418 I'm a teapot"),
        plain("499, which has no name", 499, "499 <unknown status code>"),
        retried(
            "500, code 800003",
            500,
            "answer: server_error",
            "server",
            "500 Internal Server Error, code 800003: Unexpected service error",
        ),
        repeated("501", 501, "501 Not Implemented"),
        retried("502 with an HTML page of a proxy", 502, "answer: html", "server", "502 Bad Gateway"),
        repeated("503", 503, "503 Service Unavailable"),
        repeated("504", 504, "504 Gateway Timeout"),
        repeated("599, which has no name", 599, "599 <unknown status code>"),
        good("500 twice", "rows: [], usage: { answer: server_error, times: 2 }", &[])
            .traffic("token 200: 1, usage 200: 1, usage 500: 2, usage retries: 2"),
        good("408 once", r#"rows: [], usage: { status: 408, body: "", times: 1 }"#, &[])
            .traffic("token 200: 1, usage 200: 1, usage 408: 1, usage retries: 1"),
    ]
}

fn throttled() -> Vec<Row> {
    let traffic = "token 200: 1, usage 429: 1, usage throttled: 1";
    let throttled = |name, headers: &str| {
        let usage = format!(r#"answer: throttled, body: "", headers: {{ {headers} }}"#);
        once(name, 429, &usage, "throttled", "429 Too Many Requests").traffic(traffic)
    };
    let until = |name, date: &str| {
        throttled(name, &format!(r#"date: "Sun, 06 Nov 1994 08:44:37 GMT", retry-after: "{date}""#))
            .delay(300)
    };
    vec![
        once(
            "429 of the gateway",
            429,
            "answer: throttled",
            "throttled",
            "429 Too Many Requests: Rate limit is exceeded. Try again in 57 seconds.",
        )
        .traffic(traffic)
        .delay(57),
        throttled("429 with seconds", "retry-after: 300").delay(300),
        throttled("429 with more seconds than a day has", "retry-after: 100000").delay(86_400),
        throttled(
            "429 with more seconds than 64 bits can count",
            r#"retry-after: "99999999999999999999999""#,
        )
        .delay(86_400),
        until("429 with a date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        until("429 with a date of RFC 850", "Sunday, 06-Nov-94 08:49:37 GMT"),
        until("429 with a date of asctime", "Sun Nov  6 08:49:37 1994"),
        // The date is compared with the `Date` of the response, which is later than the moment when this row is built.
        throttled("429 with a date ten minutes ahead", &format!("retry-after: {:?}", in_seconds(600)))
            .delay_between(540..=600),
        throttled("429 without Retry-After", "retry-after: null"),
        throttled("429 with a word", "retry-after: soon"),
        throttled("429 with a negative number", r#"retry-after: "-5""#),
        throttled("429 with a fraction", r#"retry-after: "1.5""#),
        throttled("429 with an empty Retry-After", r#"retry-after: """#),
    ]
}

/// Returns the HTTP date this number of seconds from now.
#[expect(clippy::disallowed_methods, reason = "the simulator uses the real clock as well")]
fn in_seconds(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds))
}

fn retry_after() -> Vec<Row> {
    let with_delay = |name, status: u16, reason, text: &str| {
        once(name, status, r#"body: "", retry_after: 200"#, reason, text)
            .traffic(&format!("token 200: 1, usage {status}: 1, usage throttled: 1"))
            .delay(200)
    };
    vec![
        with_delay("302 with Retry-After", 302, "server", "302 Found"),
        with_delay("401 with Retry-After", 401, "credentials", "401 Unauthorized"),
        with_delay("403 with Retry-After", 403, "forbidden", "403 Forbidden"),
        with_delay("404 with Retry-After", 404, "server", "404 Not Found"),
        with_delay("408 with Retry-After", 408, "timeout", "408 Request Timeout"),
        with_delay("500 with Retry-After", 500, "server", "500 Internal Server Error"),
        with_delay("503 with Retry-After", 503, "server", "503 Service Unavailable"),
        with_delay("200 with an empty body and Retry-After", 200, "payload", "200 OK:"),
    ]
}

fn mfa() -> Vec<Row> {
    let header = |name, value: &str, compliant| {
        let scenario = format!("rows: [], usage: {{ headers: {{ ismfacompliant: {value} }} }}");
        good(name, scenario, &[]).mfa_compliant(compliant)
    };
    let forbidden = r#"answer: forbidden, headers: { ismfacompliant: "false" }"#;
    vec![
        header("isMfaCompliant: true", r#""true""#, Some(true)),
        header("isMfaCompliant: True", r#""True""#, Some(true)),
        header("isMfaCompliant: false", r#""false""#, Some(false)),
        header("isMfaCompliant: a word", "perhaps", None),
        header("isMfaCompliant: empty", r#""""#, None),
        header("no isMfaCompliant", "null", None),
        once("403 and isMfaCompliant: false", 403, forbidden, "forbidden", "403 Forbidden, code 900150:")
            .mfa_compliant(Some(false)),
    ]
}
