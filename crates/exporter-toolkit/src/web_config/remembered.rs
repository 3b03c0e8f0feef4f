//! A value made from something that may change at any time: made again when its origin is another, and a
//! failure logged once for each change. Refuses to know what the value is, and keeps nothing of its origin but
//! a fingerprint, since that may be secret.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;

use crate::yaml::ConfigError;

/// The SHA-256 digest of an origin.
pub(super) type Fingerprint = [u8; 32];

/// The fingerprint of several texts, which cannot be mistaken for that of others with the same sum.
pub(super) fn fingerprint(parts: &[&[u8]]) -> Fingerprint {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The last value and what it was made from.
pub(super) struct Remembered<T> {
    last: Mutex<Option<(Fingerprint, Option<Arc<T>>)>>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { last: Mutex::new(None) }
    }
}

impl<T> Remembered<T> {
    /// With a value to begin with.
    pub(super) fn of(origin: Fingerprint, value: T) -> Self {
        Self { last: Mutex::new(Some((origin, Some(Arc::new(value))))) }
    }
}

impl<T> Remembered<T> {
    /// The value of an origin; `None` if none can be made of it.
    pub(super) fn get(
        &self,
        origin: Fingerprint,
        make: impl FnOnce() -> Result<T, ConfigError>,
    ) -> Option<Arc<T>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = last.as_ref().filter(|(known, _)| *known == origin) {
            return value.clone();
        }
        let was_bad = matches!(&*last, Some((_, None)));
        let value = match make() {
            Ok(value) => {
                if was_bad {
                    tracing::info!("The web configuration is valid again");
                }
                Some(Arc::new(value))
            }
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::new(error));
                tracing::error!(err = error, "Unable to parse configuration");
                None
            }
        };
        *last = Some((origin, value.clone()));
        value
    }
}
