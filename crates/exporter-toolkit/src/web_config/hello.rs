//! What peers say first where TLS is spoken, and what those are told who cannot be served.
//!
//! Judges bytes. Knows no connection.

/// So many bytes tell.
pub(crate) const LENGTH: usize = 11;

/// What is told to a peer that cannot be served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What it gets.
    pub(crate) answer: &'static [u8],
    /// Why, for the log.
    pub(crate) reason: &'static str,
}

/// Speaks HTTP.
const PLAIN_HTTP: Refusal = Refusal {
    answer: b"HTTP/1.0 400 Bad Request\r\n\
        Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
        Client sent an HTTP request to an HTTPS server.\n",
    reason: "the client sent an HTTP request",
};

/// Speaks nothing newer than TLS 1.1, and is told so by the alert `protocol_version`. Of rustls it would hear
/// that something else is missing.
const OLD_TLS: Refusal =
    Refusal { answer: &[ALERT, 3, 1, 0, 2, 2, 70], reason: "the client speaks no TLS newer than 1.1" };

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// As TLS 1.3 is called here, too.
const TLS12: [u8; 2] = [3, 3];

/// Judges what has come of the first [`LENGTH`] bytes.
pub(crate) fn refusal(first: &[u8]) -> Option<Refusal> {
    match first {
        // Methods of HTTP begin with a letter, records of TLS never do.
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
    fn who_speaks_http_or_an_old_tls_is_told_so_and_nobody_else() {
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
