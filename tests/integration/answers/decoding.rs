//! Successful responses: encodings, numbers, dates, labels, and bodies that are not collections.

use super::bodies::{
    DAY, PERCENT, PROCESSED, base64, collection, exchange, gzip, item, quoted, usage_body, usage_bytes,
    usage_gzip, usage_items,
};
use super::row::{Counts, Row, Usage, failed, good, listing, unusable};

pub(crate) fn rows() -> Vec<Row> {
    let tables = [
        encodings(),
        sizes(),
        numbers(),
        dates(),
        labels(),
        duplicates(),
        shapes(),
        not_collections(),
        statuses(),
    ];
    tables.into_iter().flatten().collect()
}

/// The rows in Microsoft's documentation.
const DOCUMENTED: [Usage; 5] = [
    ("crm", "Microsoft Dynamics CRM", "reseller", 0.0, 1_489_104_000),
    ("crm", "SharePoint", "reseller", 0.0, 1_489_104_000),
    ("o365", "Exchange", "reseller", 0.0, 1_489_017_600),
    ("o365", "SharePoint", "reseller", 0.0, 1_489_017_600),
    ("o365", "Skype For Business", "reseller", 0.0, 1_489_017_600),
];

/// Returns a row whose body is not a collection, with the position of the error.
fn not_a_collection(name: &'static str, scenario: impl Into<String>, place: &str) -> Row {
    unusable(name, scenario, &format!("the body is not a collection with a list named items, see {place}"))
}

fn encodings() -> Vec<Row> {
    let bytes = include_bytes!("../../fixtures/usage-documented-wire-bytes.json");
    let usage = |name, behaviour: &str| good(name, format!("usage: {{ {behaviour} }}"), &DOCUMENTED);
    let header = |name, header: &str| usage(name, &format!("headers: {{ {header} }}"));
    let utf_16: Vec<u8> = collection(&[item(&[])]).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let two_marks = format!("\u{feff}{}", collection(&[item(&[])]));
    let whole = gzip(bytes);
    let half = base64(&whole[..whole.len() / 2]);
    let cannot = "the response from the API cannot be decompressed:";
    vec![
        good("the documented bytes", usage_bytes(bytes), &DOCUMENTED),
        good("the documented bytes without a byte order mark", usage_bytes(&bytes[3..]), &DOCUMENTED),
        usage("gzip, with a byte order mark in it", "gzip: true"),
        usage("gzip, without a byte order mark", "answer: no_bom, gzip: true"),
        header("application/json without a charset", "content-type: application/json"),
        header("application/json in capitals", "content-type: APPLICATION/JSON;Charset=UTF8"),
        header("text/plain", "content-type: text/plain"),
        header("no content type", "content-type: null"),
        header("a content encoding of identity", "content-encoding: identity"),
        not_a_collection("two byte order marks", usage_body(&two_marks), "line 1 column 1"),
        not_a_collection("UTF-16", usage_bytes(&utf_16), "line 1 column 1"),
        failed("invalid gzip", "usage: { headers: { content-encoding: gzip } }", "payload", cannot)
            .traffic("token 200: 1, usage error: 1"),
        failed(
            "truncated gzip",
            format!("usage: {{ headers: {{ content-encoding: gzip }}, body_base64: {half} }}"),
            "payload",
            cannot,
        )
        .traffic("token 200: 1, usage error: 1"),
    ]
}

fn sizes() -> Vec<Row> {
    let (spaces, nothings) =
        (" ".repeat((16 << 20) + 1), format!("{{\"items\":[{}{{}}]}}", "{},".repeat(100_000)));
    let (deep, one) = ("[".repeat(50_000) + &"]".repeat(50_000), item(&[]));
    vec![
        failed(
            "16 MiB and a byte",
            usage_gzip(&spaces),
            "payload",
            "the response from the API is larger than 16 MiB",
        )
        .traffic("token 200: 1, usage error: 1"),
        unusable("100,001 items", usage_gzip(&nothings), "there are more than 100000 rows"),
        good("100,000 items, all the same", usage_gzip(&collection(&vec![&one; 100_000])), &[exchange(50.0)])
            .rejected("duplicate: 99999"),
        good("an item nested deeply", usage_gzip(&collection(&[&deep, &one])), &[exchange(50.0)])
            .rejected("unreadable: 1"),
        good(
            "another member nested deeply",
            usage_gzip(&format!(r#"{{"more":{deep},"items":[{one}]}}"#)),
            &[exchange(50.0)],
        ),
        unusable(
            "links nested deeply",
            usage_gzip(&format!(r#"{{"links":{deep},"items":[{one}]}}"#)),
            "links.next is not a link",
        ),
    ]
}

/// Returns a row whose items are all accepted. Each has the name of its workload, a field in raw JSON, and the expected
/// percentage and time of processing.
fn accepted(name: &'static str, field: &str, items: &[(&'static str, &str, f64, i64)]) -> Row {
    let body =
        |(name, json, ..): &(&str, &str, f64, i64)| item(&[("workloadName", &quoted(name)), (field, json)]);
    let usage =
        |(name, _, percent, processed): &(_, _, f64, i64)| ("o365", *name, "reseller", *percent, *processed);
    let (bodies, usage): (Vec<_>, Vec<_>) = items.iter().map(|item| (body(item), usage(item))).unzip();
    good(name, usage_items(&bodies), &usage)
}

/// Returns a row with items that are dropped, each with a field in raw JSON and the reason, and one that is accepted.
fn dropped(name: &'static str, items: &[(&str, &str, &str)]) -> Row {
    let mut bodies: Vec<_> = items.iter().map(|(field, json, _)| item(&[(field, json)])).collect();
    bodies.insert(1, item(&[]));
    let mut reasons = Counts::new();
    for (_, _, reason) in items {
        *reasons.entry((*reason).to_owned()).or_default() += 1;
    }
    good(name, usage_items(&bodies), &[exchange(50.0)]).rejected(&listing(&reasons))
}

fn numbers() -> Vec<Row> {
    let numbers = [
        ("an integer", "10", 10.0),
        ("a float", "10.25", 10.25),
        ("an exponent", "1e1", 10.0),
        ("an exponent with a sign and a capital letter", "4.15E+1", 41.5),
        ("a negative exponent", "415e-1", 41.5),
        ("zero", "0", 0.0),
        ("negative zero", "-0", 0.0),
        ("negative zero as a float", "-0.0", 0.0),
        ("a little more than a hundred", "100.01", 100.01),
        ("two hundred and fifty", "250", 250.0),
        ("nearly zero", "1e-320", 1e-320),
        ("nearly the largest float", "1e308", 1e308),
        ("an integer beyond 64 bits", "100000000000000000000", 1e20),
    ];
    let none = [
        ("1e400", "unreadable"),
        ("-1e400", "unreadable"),
        ("-0.01", "invalid_number"),
        (r#""12.5""#, "invalid_number"),
        ("true", "invalid_number"),
        ("[1]", "invalid_number"),
        (r#"{"value":1}"#, "invalid_number"),
        ("null", "missing_value"),
        ("", "missing_value"),
    ];
    let not_json = |name, number: &str, place| {
        not_a_collection(name, usage_items(&[item(&[]), item(&[(PERCENT, number)])]), place)
    };
    vec![
        accepted("numbers", PERCENT, &numbers.map(|(name, json, percent)| (name, json, percent, DAY))),
        dropped("invalid numbers", &none.map(|(json, reason)| (PERCENT, json, reason))),
        not_json("NaN, which is not JSON", "NaN", "line 1 column 212"),
        not_json("infinity, which is not JSON", "Infinity", "line 1 column 212"),
        not_json("a number with a plus sign, which is not JSON", "+10", "line 1 column 212"),
        not_json("a number with a comma, which is not JSON", "10,5", "line 1 column 215"),
    ]
}

fn dates() -> Vec<Row> {
    let dates = [
        ("with an offset of zero", r#""2026-11-20T00:00:00+00:00""#, DAY),
        ("in Zulu time", r#""2026-11-20T00:00:00Z""#, DAY),
        ("without a zone, which is UTC", r#""2026-11-20T00:00:00""#, DAY),
        ("with seven digits of a second", r#""2026-11-20T00:00:00.0000000""#, DAY),
        ("in another zone", r#""2026-11-20T02:00:00+02:00""#, DAY),
        ("a day alone", r#""2026-11-20""#, DAY),
        ("the minimum of .NET", r#""0001-01-01T00:00:00""#, -62_135_596_800),
        ("in the far future", r#""2999-01-01T00:00:00Z""#, 32_472_144_000),
    ];
    let none = [
        // The maximum of .NET is a little later than the last time that can be represented.
        (r#""9999-12-31T23:59:59.9999999Z""#, "invalid_date"),
        (r#""2026-02-30T00:00:00Z""#, "invalid_date"),
        (r#""11/20/2026 12:00:00 AM""#, "invalid_date"),
        (r#""/Date(1795132800000)/""#, "invalid_date"),
        (r#""yesterday""#, "invalid_date"),
        (r#""""#, "invalid_date"),
        ("1795132800", "invalid_date"),
        ("{}", "invalid_date"),
        ("null", "missing_date"),
        ("", "missing_date"),
    ];
    vec![
        accepted("dates", PROCESSED, &dates.map(|(name, json, processed)| (name, json, 50.0, processed))),
        dropped("invalid dates", &none.map(|(json, reason)| (PROCESSED, json, reason))),
    ]
}

fn labels() -> Vec<Row> {
    let long: &'static str = "x".repeat(1023).leak();
    let labels = [
        r#"the "new" Exchange"#,
        r"\\server\new\",
        r#"\n\""#,
        "one\ntwo\r\nthree\n",
        "a tab\t, nothing\0, an escape\u{1b}[31m and others\u{7f}\u{85}\u{2028}",
        "x\"} 1\npartner_license_up 1\n# HELP",
        "Teams 🎉 👩‍💻",
        "إكستشينج \u{202e}egnahcxE",
        "<script>alert(1)</script>&amp;'",
        "  ",
        long,
    ];
    let json = labels.map(quoted);
    let shown_ones: Vec<_> =
        labels.iter().zip(&json).map(|(label, json)| (*label, json.as_str(), 50.0, DAY)).collect();
    let too_long = quoted(&format!("{long}x"));
    let none = [
        ("workloadName", too_long.as_str(), "invalid_label"),
        ("serviceName", "365", "invalid_label"),
        ("channel", r#"{"name":"reseller"}"#, "invalid_label"),
        ("workloadName", "[]", "invalid_label"),
        ("channel", "true", "invalid_label"),
        // This is half of a surrogate pair.
        ("workloadName", r#""\ud83c""#, "unreadable"),
        ("channel", r#""""#, "missing_label"),
        ("serviceName", "null", "missing_label"),
        ("workloadName", "", "missing_label"),
    ];
    let no_utf_8 = |byte| if byte == b'?' { 0xE9 } else { byte };
    let no_utf_8: Vec<u8> =
        collection(&[item(&[("workloadName", r#""caf?""#)])]).bytes().map(no_utf_8).collect();
    vec![
        accepted("labels", "workloadName", &shown_ones),
        dropped("invalid labels", &none),
        good(
            "a label that is not UTF-8",
            usage_bytes(&no_utf_8),
            &[("o365", "caf\u{fffd}", "reseller", 50.0, DAY)],
        ),
    ]
}

fn duplicates() -> Vec<Row> {
    let of = |percent: &str, date: &str| item(&[(PERCENT, percent), (PROCESSED, &quoted(date))]);
    let (old, new) = (of("1", "2026-11-19T00:00:00Z"), of("2", "2026-11-20T00:00:00Z"));
    let (as_new, as_new_too) = (of("3", "2026-11-20T00:00:00"), of("4", "2026-11-20T01:00:00+01:00"));
    let mut others = [exchange(50.0); 3];
    (others[0].0, others[1].2) = ("crm", "Reseller");
    let (crm, capital) = (item(&[("serviceName", r#""crm""#)]), item(&[("channel", r#""Reseller""#)]));
    let yesterday = ("o365", "Exchange", "reseller", 1.0, DAY - 86_400);
    vec![
        good("duplicates, the newest one first", usage_items(&[&new, &old]), &[exchange(2.0)])
            .rejected("duplicate: 1"),
        good("duplicates, the newest one last", usage_items(&[&old, &new]), &[exchange(2.0)])
            .rejected("duplicate: 1"),
        good(
            "duplicates of the same time",
            usage_items(&[&new, &as_new, &old, &as_new_too]),
            &[exchange(4.0)],
        )
        .rejected("duplicate: 3"),
        good(
            "duplicates, the newest one unusable",
            usage_items(&[&old, &of("-1", "2026-11-20")]),
            &[yesterday],
        )
        .rejected("invalid_number: 1"),
        good("a workload of another service or channel", usage_items(&[item(&[]), crm, capital]), &others),
    ]
}

fn shapes() -> Vec<Row> {
    let one = item(&[]);
    let accepted = |name, body: &str| good(name, usage_body(&body.replace("ONE", &one)), &[exchange(50.0)]);
    let new_fields = one.replacen('{', r#"{"serviceCode":"o365","licenses":[{"sold":1}],"#, 1);
    let nothing_usable =
        "none of the rows can be used: 1 missing_value, 1 invalid_number, 1 not_an_object, 1 unreadable";
    vec![
        good("an empty collection", usage_body(r#"{"totalCount":0,"items":[]}"#), &[]),
        good("an empty collection as the API writes it", "usage: { answer: empty }", &[]),
        good("new fields of an item", usage_items(&[new_fields]), &[exchange(50.0)]),
        good(
            "a field twice, of which the last one counts",
            usage_items(&[one.replacen('{', r#"{"channel":7,"#, 1)]),
            &[exchange(50.0)],
        ),
        accepted("new members around the items", r#"{"new":{"items":[{}]},"items":[ONE],"attributes":null}"#),
        accepted("a totalCount after the items", r#"{"items":[ONE],"totalCount":1}"#),
        accepted("a totalCount that is wrong", r#"{"totalCount":"many","items":[ONE]}"#),
        accepted("no totalCount", r#"{"items":[ONE]}"#),
        accepted("white space around every token", "\r\n\t { \"items\" : [ ONE ] } \n\n"),
        good(
            "items that are not objects",
            usage_items(&["7", "null", r#""x""#, "[]", "true", &one]),
            &[exchange(50.0)],
        )
        .rejected("not_an_object: 5"),
        unusable(
            "no item that can be used",
            usage_items(&["7", "{}", &item(&[(PERCENT, "-1")]), &item(&[(PERCENT, "1e999")])]),
            nothing_usable,
        )
        .rejected("missing_value: 1, invalid_number: 1, not_an_object: 1, unreadable: 1"),
    ]
}

fn not_collections() -> Vec<Row> {
    let one = item(&[]);
    let bodies = [
        ("no items", r#"{"totalCount":0}"#, "line 1 column 16"),
        ("items that are null", r#"{"items":null}"#, "line 1 column 13"),
        ("items that are an object", r#"{"items":{"value":[]}}"#, "line 1 column 9"),
        ("items that are text", r#"{"items":"none"}"#, "line 1 column 15"),
        ("items twice", r#"{"items":[],"items":[ONE]}"#, "line 1 column 19"),
        ("Items with a capital letter", r#"{"Items":[]}"#, "line 1 column 12"),
        ("a list of items", "[ONE]", "line 1 column 0"),
        ("a list of lists of items", "[[ONE]]", "line 1 column 0"),
        ("a number", "7", "line 1 column 1"),
        ("text", r#""items""#, "line 1 column 7"),
        ("null", "null", "line 1 column 4"),
        ("an empty body", "", "line 1 column 0"),
        ("only white space", " \r\n ", "line 2 column 1"),
        ("only a byte order mark", "\u{feff}", "line 1 column 0"),
        ("truncated JSON", r#"{"items":[{"proratedLicensesUs"#, "line 1 column 30"),
        ("text after the collection", r#"{"items":[]}<!-- cached -->"#, "line 1 column 13"),
        ("two collections", r#"{"items":[]}{"items":[]}"#, "line 1 column 13"),
        ("single quotes", "{'items':[]}", "line 1 column 2"),
        ("a trailing comma", r#"{"items":[ONE,]}"#, "line 1 column 165"),
        ("an error of the API with 200", r#"{"code":900150,"description":"x"}"#, "line 1 column 33"),
    ];
    let bodies = bodies
        .map(|(name, body, place)| not_a_collection(name, usage_body(&body.replace("ONE", &one)), place));
    let others = [
        not_a_collection("NUL bytes", usage_bytes(&[0; 64]), "line 1 column 1"),
        not_a_collection("an HTML page of a proxy", "usage: { answer: html }", "line 1 column 1"),
        not_a_collection("a truncated report", "usage: { answer: malformed }", "line 1 column 35"),
    ];
    bodies.into_iter().chain(others).collect()
}

fn statuses() -> Vec<Row> {
    let nothing = "the body is not a collection with a list named items, see line 1 column 0";
    let lost = "the request to the API failed:";
    vec![
        failed(
            "204",
            "usage: { answer: no_content }",
            "payload",
            "the API answered 204 No Content: the response has no content",
        )
        .traffic("token 200: 1, usage 204: 1"),
        failed(
            "202 for a report that is not ready yet",
            r#"usage: { status: 202, body: "", retry_after: 40 }"#,
            "payload",
            format!("the API answered 202 Accepted: {nothing}"),
        )
        .traffic("token 200: 1, usage 202: 1, usage throttled: 1")
        .delay(40),
        good("203 with a collection", "usage: { status: 203 }", &DOCUMENTED)
            .traffic("token 200: 1, usage 203: 1"),
        good("206 with a collection", "usage: { status: 206 }", &DOCUMENTED)
            .traffic("token 200: 1, usage 206: 1"),
        good("200 with Retry-After", "usage: { retry_after: 900 }", &DOCUMENTED)
            .traffic("token 200: 1, usage 200: 1, usage throttled: 1"),
        failed("a connection lost in the response", "usage: { answer: truncated }", "network", lost)
            .traffic("token 200: 1, usage error: 3, usage retries: 2"),
        good("a connection lost in the response once", "usage: { answer: truncated, times: 1 }", &DOCUMENTED)
            .traffic("token 200: 1, usage 200: 1, usage error: 1, usage retries: 1"),
        failed(
            "a connection lost in a response with Retry-After",
            "usage: { answer: truncated, retry_after: 120 }",
            "network",
            lost,
        )
        .traffic("token 200: 1, usage error: 1, usage throttled: 1")
        .delay(120),
    ]
}
