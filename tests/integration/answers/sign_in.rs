//! Responses of the sign-in service: tokens, responses without a token, and errors.

use super::bodies::quoted;
use super::row::{Row, failed, good};

pub(crate) fn rows() -> Vec<Row> {
    let tables = [tokens(), no_tokens(), recorded(), documented(), odd(), statuses()];
    tables.into_iter().flatten().collect()
}

fn body(json: &str) -> String {
    format!("body: {}", quoted(json))
}

/// Returns a row with an error response that is not retried. `token` is the simulator's scenario besides the status.
fn refused(name: &'static str, status: u16, token: &str, reason: &'static str, text: &str) -> Row {
    let text = format!("the sign-in service answered {text}");
    failed(name, format!("token: {{ status: {status}, {token} }}"), reason, text)
        .traffic(&format!("token {status}: 1"))
}

fn tokens() -> Vec<Row> {
    /// Returns a row with a successful response in which some members are replaced.
    fn with(name: &'static str, merge: &str) -> Row {
        good(name, format!("rows: [], token: {{ merge: {merge} }}"), &[])
    }
    let v1 = r#"{ expires_in: "3599", ext_expires_in: "3599", expires_on: "1547581389", not_before: "1547577489", refresh_token: null }"#;
    let no_token = "The new refresh token is malformed; the old one works until 90 days after its issue";
    vec![
        with("an answer of v1, with numbers as text", v1).lifetime(3599).stored(false),
        with("no refresh token", "{ refresh_token: null }").stored(false),
        with("an empty refresh token", r#"{ refresh_token: "" }"#).stored(false).warning(no_token),
        with("a refresh token of two lines", r#"{ refresh_token: "another-token\r\nX: y" }"#)
            .stored(false)
            .warning(no_token),
        with("a token for ten minutes", "{ expires_in: 600 }").lifetime(600),
        with("a token that expires in 0 seconds", "{ expires_in: 0 }").lifetime(0),
        with("a token for a century", "{ expires_in: 3153600000 }").lifetime(86_400),
        with("a token with a lifetime beyond 64 bits", r#"{ expires_in: "99999999999999999999" }"#),
        with("a token with a negative lifetime", "{ expires_in: -1 }"),
        with("a token for half a second", "{ expires_in: 0.5 }"),
        with("a token with a word for its lifetime", "{ expires_in: soon }"),
        with("a token with true for its lifetime", "{ expires_in: true }"),
        with("a token with null for its lifetime", "{ expires_in: null }"),
        with("a token of an unknown type", "{ token_type: PoP, scope: 7, id_token: [] }"),
        good("a token as text/plain", "rows: [], token: { headers: { content-type: text/plain } }", &[]),
        good("a token in gzip", "rows: [], token: { gzip: true }", &[]),
        good("a token at the third attempt", "rows: [], token: { answer: server_error, times: 2 }", &[])
            .traffic("token 200: 1, token 503: 2, token retries: 2, usage 200: 1"),
    ]
}

fn no_tokens() -> Vec<Row> {
    let no_token = |name, token: &str, what: &str| {
        let text = format!("the sign-in service answered with no {what}");
        failed(name, format!("token: {{ {token} }}"), "payload", text).traffic("token 200: 1")
    };
    let document = |name, token: &str| no_token(name, token, "token response");
    // The refresh token in the same response is stored.
    let access = |name, access_token: &str| {
        no_token(name, &format!("merge: {{ access_token: {access_token} }}"), "usable access token")
            .stored(true)
    };
    let page = r#"body: "<!DOCTYPE html><html>another-token</html>", headers: { content-type: text/html }"#;
    vec![
        access("no access token", "null"),
        access("an empty access token", r#""""#),
        access("an access token of two lines", r#""another-token\r\nX: y""#),
        access("an access token with a space", r#""another-token x""#),
        access("an access token with a character outside ASCII", r#""another-tokén""#),
        no_token("an empty object instead of tokens", &body("{}"), "usable access token"),
        no_token("an error with 200", &body(r#"{"error":"invalid_grant"}"#), "usable access token"),
        document("truncated tokens", "answer: malformed"),
        document("tokens followed by text", &body(r#"{"access_token":"another-token"} x"#)),
        document("a list instead of tokens", &body("[]")),
        document("text instead of tokens", &body(r#""another-token""#)),
        document("null instead of tokens", &body("null")),
        document("an empty body instead of tokens", r#"body: """#),
        document("NUL bytes instead of tokens", "body_base64: AAAA"),
        document("an HTML page of a proxy instead of tokens", page),
        document("204 for tokens", r#"status: 204, body: """#).traffic("token 204: 1"),
        failed(
            "tokens in invalid gzip",
            "token: { headers: { content-encoding: gzip } }",
            "payload",
            "the response from the sign-in service cannot be decompressed:",
        )
        .traffic("token error: 1"),
    ]
}

fn recorded() -> Vec<Row> {
    macro_rules! recorded {
        ($name:literal) => {
            &body(include_str!(concat!("../../fixtures/token/", $name, ".json")))
        };
    }
    vec![
        refused(
            "700082 as recorded",
            400,
            recorded!("error-400-invalid_grant-700082-refresh-token-expired"),
            "credentials",
            "400 Bad Request, invalid_grant: AADSTS700082: The refresh token has expired due to inactivity. The token was issued on 2020-02-26T21:52:54.2810613Z and was inactive for 90.00:00:00.",
        ),
        refused(
            "50076 as recorded",
            400,
            recorded!("error-400-invalid_grant-50076-mfa-required-v2-with-claims"),
            "mfa",
            "400 Bad Request, invalid_grant: AADSTS50076: Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access 'GUID'.",
        ),
        refused(
            "65001 as recorded",
            400,
            recorded!("error-400-invalid_grant-65001-consent"),
            "consent",
            "400 Bad Request, invalid_grant: AADSTS65001: The user or administrator has not consented to use the application with ID 'http://TestSpWithCert'. Send an interactive authorization request for this user and resource.",
        ),
        refused(
            "7000215 as recorded",
            401,
            recorded!("error-401-invalid_client-7000215-bad-secret"),
            "credentials",
            "401 Unauthorized, invalid_client: AADSTS7000215: Invalid client secret is provided.",
        ),
        refused(
            "70011 as recorded",
            400,
            recorded!("error-invalid_scope-70011-entra-doc-v2"),
            "server",
            "400 Bad Request, invalid_scope: AADSTS70011: The provided value for the input parameter 'scope' isn't valid. The scope https://example.contoso.com/activity.read isn't valid.",
        )
        .needs_person(true),
        refused(
            "70002 and 50126 as recorded",
            400,
            recorded!("error-v1-invalid_grant-70002-50126"),
            "credentials",
            "400 Bad Request, invalid_grant: AADSTS70002: Error validating credentials. AADSTS50126: Invalid username or password",
        ),
    ]
}

/// Returns rows with the documented errors: status, error, number and sub-error.
fn documented() -> Vec<Row> {
    let table = [
        ("refresh token expired", 400, "invalid_grant", 70_008, "", "credentials"),
        ("refresh token of a single-page application", 400, "invalid_grant", 700_084, "", "credentials"),
        ("sign-in frequency", 400, "invalid_grant", 70_043, "", "credentials"),
        ("password changed", 400, "invalid_grant", 50_173, "", "credentials"),
        ("second factor too old", 400, "invalid_grant", 50_078, "", "mfa"),
        ("session revoked", 400, "invalid_grant", 50_132, "", "credentials"),
        ("session expired", 400, "invalid_grant", 50_133, "", "credentials"),
        ("refresh token malformed", 400, "invalid_grant", 70_000, "bad_token", "credentials"),
        ("refresh token of another client", 400, "invalid_grant", 700_007, "", "credentials"),
        ("request malformed, as a grant", 400, "invalid_grant", 9_002_313, "", "credentials"),
        ("enrolment needed", 400, "invalid_grant", 50_072, "", "mfa"),
        ("second factor needed", 400, "invalid_grant", 50_074, "", "mfa"),
        ("second factor needed, in the form of v1", 400, "interaction_required", 50_076, "", "mfa"),
        ("second factor needed, by the sub-error alone", 400, "invalid_grant", 1, "basic_action", "mfa"),
        ("enrolment needed, by policy", 400, "invalid_grant", 50_079, "", "mfa"),
        ("blocked by conditional access", 400, "invalid_grant", 53_003, "", "mfa"),
        ("blocked by policy", 400, "invalid_grant", 530_032, "", "mfa"),
        ("device not compliant", 400, "invalid_grant", 53_000, "", "mfa"),
        ("device not joined", 400, "invalid_grant", 53_001, "", "mfa"),
        ("application not approved", 400, "invalid_grant", 53_002, "", "mfa"),
        ("registration blocked by risk", 400, "invalid_grant", 53_004, "", "mfa"),
        ("an unlisted code of conditional access", 400, "invalid_grant", 53_011, "", "mfa"),
        ("an unlisted policy", 400, "invalid_grant", 530_035, "", "mfa"),
        ("device policy", 400, "invalid_grant", 50_005, "", "mfa"),
        ("device authentication needed", 400, "invalid_grant", 50_097, "", "mfa"),
        ("conditional access failed", 400, "invalid_grant", 50_131, "", "mfa"),
        ("second factor of another provider", 400, "invalid_grant", 50_158, "", "mfa"),
        ("user not assigned", 400, "invalid_grant", 50_105, "", "credentials"),
        ("user of another tenant", 400, "invalid_grant", 50_020, "", "credentials"),
        ("user unknown", 400, "invalid_grant", 50_034, "", "credentials"),
        ("user disabled", 400, "invalid_grant", 50_057, "", "credentials"),
        ("user locked", 400, "invalid_grant", 50_053, "", "credentials"),
        ("API not in the tenant", 400, "invalid_resource", 500_011, "", "consent"),
        ("API not acceptable", 400, "invalid_target", 500_011, "", "consent"),
        ("application not in the tenant, as a grant", 400, "invalid_grant", 700_016, "", "consent"),
        ("application disabled", 400, "unauthorized_client", 7_000_112, "", "consent"),
        ("no consent, by the sub-error alone", 400, "invalid_grant", 1, "consent_required", "consent"),
        ("no consent, by the error", 400, "consent_required", 65_001, "", "consent"),
        ("no service principal", 400, "invalid_grant", 650_052, "", "consent"),
        ("resource not among the required permissions", 400, "invalid_grant", 650_057, "", "consent"),
        ("application not in the tenant", 400, "unauthorized_client", 700_016, "", "consent"),
        ("client secret expired", 401, "invalid_client", 7_000_222, "", "credentials"),
        ("client secret missing", 401, "invalid_client", 7_000_218, "", "credentials"),
        ("client is public", 401, "invalid_client", 700_025, "", "credentials"),
        ("assertion refused", 401, "invalid_client", 700_027, "", "credentials"),
        ("request malformed", 400, "invalid_request", 9_002_313, "", "credentials"),
        ("no such tenant", 400, "invalid_request", 90_002, "", "server"),
        ("input invalid", 400, "invalid_request", 90_013, "", "server"),
        ("user not assigned, as interaction", 400, "interaction_required", 50_105, "", "credentials"),
        ("user of another tenant, as interaction", 400, "interaction_required", 50_020, "", "credentials"),
        ("sign-in demanded", 400, "login_required", 1, "", "credentials"),
        ("interaction demanded without a known code", 400, "interaction_required", 1, "", "mfa"),
        ("administrator must consent", 400, "invalid_grant", 90_094, "", "consent"),
        ("tenant restricted", 400, "access_denied", 500_021, "", "mfa"),
        ("password expired", 400, "invalid_grant", 50_055, "", "credentials"),
        ("device not registered", 400, "invalid_grant", 50_129, "", "mfa"),
        ("application disabled, in the form of v1", 400, "invalid_grant", 70_001, "", "consent"),
        ("a word that is not known", 400, "a_word_of_tomorrow", 1, "", "server"),
        ("a grant that is not supported", 400, "unsupported_grant_type", 70_003, "", "server"),
        ("unavailable, with 400 and another word", 400, "invalid_grant", 90_006, "", "server"),
        ("unavailable, with 400", 400, "temporarily_unavailable", 90_024, "", "server"),
        ("server error, with 400", 400, "server_error", 50_033, "", "server"),
    ];
    let row = |(name, status, error, code, suberror, reason)| {
        let json = serde_json::json!({
            "error": error,
            "error_description": format!("AADSTS{code}: As documented.\r\nTrace ID: 1\r\nCorrelation ID: 2"),
            "error_codes": [code],
            "timestamp": "2026-11-20 00:00:00Z",
            "trace_id": "6e94ade5-10de-4d67-909a-14d845813500",
            "correlation_id": "0e87b495-1e24-4882-be85-d012c216f4f6",
            "suberror": suberror,
        });
        let status_text = if status == 401 { "401 Unauthorized" } else { "400 Bad Request" };
        let text = format!("{status_text}, {error}: AADSTS{code}: As documented.");
        let row = refused(name, status, &body(&json.to_string()), reason, &text);
        match (error, code) {
            // A retry within a minute would fail for the same reason.
            ("invalid_request" | "a_word_of_tomorrow" | "unsupported_grant_type", _) => {
                row.needs_person(true)
            }
            // Entra ID recognises a new certificate only after some minutes.
            (_, 700_027) => row.needs_person(false),
            _ => row,
        }
    };
    table.into_iter().map(row).collect()
}

fn odd() -> Vec<Row> {
    let bad = |name, json: &str, reason, text: &str| {
        refused(name, 400, &body(json), reason, &format!("400 Bad Request{text}"))
    };
    let grant = |name, more: &str, text: &str| {
        let text = format!(", invalid_grant{text}");
        bad(name, &format!(r#"{{"error":"invalid_grant"{more}}}"#), "credentials", &text)
    };
    let long = format!(r#","error_description":"{}""#, "x".repeat(4096));
    let sent = format!(
        r#"{{"error":"invalid_request","error_description":"client_secret={}&refresh_token={}"}}"#,
        partner_center_simulator::CLIENT_SECRET,
        partner_center_simulator::REFRESH_TOKEN,
    );
    vec![
        grant("a refusal without a description", "", ""),
        grant("a refusal with codes as text", r#","error_codes":["65001"]"#, ""),
        grant("a refusal with a code that is not in a list", r#","error_codes":65001"#, ""),
        grant("a refusal with a long description", &long, &format!(": {}…", "x".repeat(300))),
        grant(
            "a refusal that begins with an empty line",
            r#","error_description":"\r\n \r\nAADSTS1: x\r\ny""#,
            ": AADSTS1: x",
        ),
        bad("a refusal that is a number", r#"{"error":400,"error_description":"Bad."}"#, "server", ": Bad."),
        bad(
            "a refusal with control characters",
            r#"{"error":"no\r\ngrant","error_description":"\u001b[31mred\u0000"}"#,
            "server",
            ", no  grant: [31mred",
        )
        .needs_person(true),
        bad(
            "a refusal that quotes what was sent",
            &sent,
            "server",
            ", invalid_request: client_secret=(secret)&refresh_token=(secret)",
        )
        .needs_person(true),
        bad("a refusal in a list", r#"[{"error":"invalid_grant"}]"#, "server", ""),
        bad("a refusal in the API's shape", r#"{"code":7,"description":"Bad."}"#, "server", ""),
        bad("a refusal in HTML", "<html>", "server", ""),
        bad("a refusal with an empty body", "", "server", ""),
        refused("401 of nothing", 401, r#"body: """#, "credentials", "401 Unauthorized"),
        refused("403 with an HTML page of a proxy", 403, r#"body: "<html>""#, "server", "403 Forbidden"),
    ]
}

fn statuses() -> Vec<Row> {
    let retried = |name, status, token: &str, reason, text: &str| {
        refused(name, status, token, reason, text).traffic(&format!("token {status}: 3, token retries: 2"))
    };
    let with_delay = |name, status, token: &str, reason, text: &str| {
        refused(name, status, &format!("{token}, retry_after: 90"), reason, text)
            .traffic(&format!("token {status}: 1, token throttled: 1"))
            .delay(90)
    };
    let elsewhere = r#"body: "", headers: { location: "http://127.0.0.1:1/" }"#;
    let unavailable = "503 Service Unavailable, temporarily_unavailable: AADSTS90033: A transient error has occurred. Please try again.";
    vec![
        refused("302 to another origin", 302, elsewhere, "server", "302 Found"),
        refused("404", 404, r#"body: """#, "server", "404 Not Found"),
        retried("408", 408, r#"body: """#, "timeout", "408 Request Timeout"),
        retried("500", 500, r#"body: "<html>""#, "server", "500 Internal Server Error"),
        retried("503", 503, "answer: server_error", "server", unavailable),
        retried(
            "504 with the error invalid_grant",
            504,
            &body(r#"{"error":"invalid_grant"}"#),
            "server",
            "504 Gateway Timeout, invalid_grant",
        ),
        refused(
            "429 without Retry-After",
            429,
            r#"body: "", headers: { retry-after: null }"#,
            "throttled",
            "429 Too Many Requests",
        )
        .traffic("token 429: 1, token throttled: 1"),
        with_delay(
            "429",
            429,
            "answer: throttled",
            "throttled",
            "429 Too Many Requests, temporarily_unavailable: AADSTS90055:",
        ),
        with_delay(
            "400 with Retry-After",
            400,
            "answer: consent_revoked",
            "consent",
            "400 Bad Request, invalid_grant: AADSTS65001:",
        ),
        with_delay("503 with Retry-After", 503, "answer: server_error", "server", unavailable),
    ]
}
