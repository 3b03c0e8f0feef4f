//! Recognises peers that cannot be served over TLS by their first bytes.

/// The number of bytes that are needed.
pub(super) const LENGTH: usize = 11;

/// The response to a peer that cannot be served.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The bytes that are sent.
    pub(super) response: &'static [u8],
    /// The reason for the log.
    pub(super) reason: &'static str,
}

/// The peer speaks HTTP without TLS.
const PLAIN_HTTP: Refusal = Refusal {
    response: b"HTTP/1.0 400 Bad Request\r\n\
        Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
        Client sent an HTTP request to an HTTPS server.\n",
    reason: "the client sent an HTTP request",
};

/// The peer supports at most TLS 1.1, and gets the alert `protocol_version`; rustls would report a missing extension.
const OLD_TLS: Refusal =
    Refusal { response: &[ALERT, 3, 1, 0, 2, 2, 70], reason: "the client speaks no TLS newer than 1.1" };

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// TLS 1.3 uses the same version here.
const TLS12: [u8; 2] = [3, 3];

/// Checks the first [`LENGTH`] bytes, or those of them that have arrived.
pub(super) fn refusal(first: &[u8]) -> Option<Refusal> {
    match first {
        // An HTTP method begins with a letter, and a TLS record never does.
        [letter, ..] if letter.is_ascii_alphabetic() => Some(PLAIN_HTTP),
        [HANDSHAKE, _, _, _, _, CLIENT_HELLO, _, _, _, major, minor] if [*major, *minor] < TLS12 => {
            Some(OLD_TLS)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_peers_that_speak_http_or_an_old_tls_are_refused() {
        let hello = |version: [u8; 2]| [&[22, 3, 1, 0, 99, 1, 0, 0, 95][..], &version].concat();
        for (first, expected) in [
            (b"GET / HTTP/1".to_vec(), Some(PLAIN_HTTP)),
            (b"P".to_vec(), Some(PLAIN_HTTP)),
            (hello([3, 2]), Some(OLD_TLS)),
            (hello([3, 1]), Some(OLD_TLS)),
            (hello([3, 0]), Some(OLD_TLS)),
            (hello([3, 3]), None),
            (hello([3, 4]), None),
            (hello([3, 2])[..10].to_vec(), None),
            ([&[22, 3, 1, 0, 99, 2, 0, 0, 95][..], &[3, 2]].concat(), None),
            (vec![0; 11], None),
            (Vec::new(), None),
        ] {
            assert_eq!(refusal(&first), expected, "{first:?}");
        }
    }
}
