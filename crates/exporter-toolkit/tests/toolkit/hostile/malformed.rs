//! Malformed and unusual requests, with the statuses of the responses.

/// A name, the bytes that are sent, and the statuses of the responses, after which the server closes the connection.
/// The bytes may have these placeholders:
///
/// - `{auth}` is the header that authenticates the request, or nothing;
/// - `{in}` is the end of the request line, a valid `Host` and `{auth}`;
/// - `{healthy}` is a request for `/-/healthy` up to and including `{in}`;
/// - `{chunked}` announces a chunked body, and ends the head;
/// - `{end}` asks the server to close the connection, and ends the head;
/// - `{next}` is another request, which must not be served.
pub(crate) type MalformedRequest = (&'static str, &'static str, &'static [u16]);

pub(crate) const REQUESTS: &[MalformedRequest] = &[
    // === methods ===
    ("unknown method", "BREW /metrics{in}{end}", &[405]),
    ("method in lower case", "get /metrics{in}{end}", &[405]),
    ("trace", "TRACE /metrics{in}{end}", &[405]),
    ("delete", "DELETE /{in}{end}", &[405]),
    ("options for the server", "OPTIONS *{in}{end}", &[404]),
    ("connect", "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n{auth}{end}", &[404]),
    ("upgrade", "{healthy}Connection: close, upgrade\r\nUpgrade: h2c\r\n\r\n", &[200]),
    ("method of signs", "@@@ / HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
    ("no method", " / HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
    ("NUL in the method", "G\0T / HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
    // === versions ===
    ("HTTP/0.9", "GET /metrics\r\n\r\n", &[400]),
    ("HTTP/1.0", "GET /-/healthy HTTP/1.0\r\n{auth}\r\n", &[200]),
    ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", &[400]),
    ("HTTP/2.0 in a request line", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", &[400]),
    ("HTTP/2 without negotiation", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0", &[]),
    ("another protocol", "SSH-2.0-OpenSSH_9.9\r\n", &[400]),
    ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}", &[400]),
    // === targets ===
    ("absolute form", "GET http://localhost/-/healthy{in}{end}", &[200]),
    ("absolute form of another host", "GET http://evil.example/-/healthy{in}{end}", &[200]),
    ("authority form", "GET evil.example:80{in}{end}", &[404]),
    ("no target", "GET  HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
    ("two targets", "GET / / HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
    ("parents", "GET /../../etc/passwd{in}{end}", &[404]),
    ("escaped parents", "GET /metrics/%2e%2e/%2e%2e{in}{end}", &[404]),
    ("two slashes", "GET //metrics{in}{end}", &[404]),
    ("a bad escape", "GET /%zz%f{in}{end}", &[404]),
    ("NUL in the path", "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
    ("escaped NUL", "GET /%00{in}{end}", &[404]),
    ("UTF-8 in the path", "GET /\u{fc}{in}{end}", &[404]),
    ("a fragment", "GET /-/healthy#x{in}{end}", &[200]),
    // === hosts ===
    ("no host", "GET / HTTP/1.1\r\n{auth}\r\n", &[400]),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n{auth}\r\n", &[400]),
    ("a bad host", "GET / HTTP/1.1\r\nHost: a b\r\n{auth}\r\n", &[400]),
    ("a host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n{auth}\r\n", &[400]),
    ("an empty host", "GET /-/healthy HTTP/1.1\r\nHost:\r\n{auth}{end}", &[200]),
    // === headers ===
    ("no colon", "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", &[400]),
    ("no name", "GET / HTTP/1.1\r\nHost: x\r\n: nonsense\r\n\r\n", &[400]),
    ("a space in a name", "GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n", &[400]),
    ("a space after a name", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", &[400]),
    ("a folded line", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", &[400]),
    ("NUL in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", &[400]),
    ("a bare CR", "GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n", &[400]),
    ("bare LFs", "GET /-/healthy HTTP/1.1\nHost: x\n{auth}Connection: close\n\n", &[200]),
    ("UTF-8 in a value", "{healthy}A: \u{fc}\r\n{end}", &[200]),
    ("an invalid Accept", "{healthy}Accept: ;;q=,,*/*;q=nan,\u{fc}\r\n{end}", &[200]),
    (
        "an invalid Accept-Encoding",
        "{healthy}Accept-Encoding: gzip;q=2,,identity;q=-,\u{fc}\r\n{end}",
        &[200],
    ),
    ("an expectation", "GET / HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n{auth}{end}", &[200]),
    // === request smuggling: what follows the first request is a body, or is ignored ===
    ("length and chunks", "{healthy}Content-Length: 4\r\n{chunked}0\r\n\r\n{next}", &[200]),
    (
        "chunks and length",
        "{healthy}Transfer-Encoding: chunked\r\nContent-Length: 50\r\n\r\n0\r\n\r\n{next}",
        &[200],
    ),
    ("two lengths", "GET /{in}Content-Length: 0\r\nContent-Length: 44\r\n\r\n{next}", &[400]),
    ("a list of lengths", "GET /{in}Content-Length: 0, 44\r\n\r\n{next}", &[400]),
    ("a negative length", "GET /{in}Content-Length: -1\r\n\r\n", &[400]),
    ("a length with a sign", "GET /{in}Content-Length: +5\r\n\r\nhello", &[400]),
    ("a length in hexadecimal", "GET /{in}Content-Length: 0x5\r\n\r\nhello", &[400]),
    ("a length that overflows", "GET /{in}Content-Length: 99999999999999999999999\r\n\r\n", &[400]),
    ("a length beyond the limit", "GET /{in}Content-Length: 9999999999\r\n\r\n", &[413]),
    ("another encoding", "GET /{in}Transfer-Encoding: gzip\r\n\r\n", &[400]),
    ("an encoding after chunked", "GET /{in}Transfer-Encoding: chunked, identity\r\n\r\n", &[400]),
    ("nearly chunked", "GET /{in}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", &[400]),
    ("chunked after a tab", "{healthy}Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n{next}", &[200]),
    (
        "chunked after a space before the colon",
        "GET /{in}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    ("chunks in HTTP/1.0", "GET / HTTP/1.0\r\n{in}{chunked}0\r\n\r\n", &[400]),
    ("trailers", "{healthy}{chunked}1\r\nx\r\n0\r\nHost: y\r\n\r\n{next}", &[200]),
    ("a chunk without a size", "GET /{in}{chunked}z\r\n", &[400]),
    ("a chunk size that overflows", "GET /{in}{chunked}fffffffffffffffff\r\n", &[400]),
    ("a chunk longer than its size", "GET /{in}{chunked}1\r\nxx\r\n", &[400]),
    ("chunks with bare LFs", "GET /{in}{chunked}1\nx\n0\n\n", &[400]),
];
