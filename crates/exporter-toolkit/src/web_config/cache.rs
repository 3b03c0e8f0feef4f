//! A cache of one value, which is built again when its origin has changed.
//!
//! Only a fingerprint of the origin is kept, since the origin may be secret. A failure is logged once per change.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;

use crate::yaml::ConfigError;

/// The SHA-256 digest of an origin.
pub(super) type Fingerprint = [u8; 32];

/// Returns the fingerprint of several parts, with their lengths, so that no other parts have the same one.
pub(super) fn fingerprint(parts: &[&[u8]]) -> Fingerprint {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The last value, if it could be built, and the fingerprint of its origin.
pub(super) struct Cache<T>(Mutex<Option<(Fingerprint, Option<Arc<T>>)>>);

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Cache<T> {
    /// Starts with a value.
    pub(super) fn new(origin: Fingerprint, value: T) -> Self {
        Self(Mutex::new(Some((origin, Some(Arc::new(value))))))
    }

    /// Returns the value of an origin; `None` if it cannot be built.
    pub(super) fn get_or_build(
        &self,
        origin: Fingerprint,
        build: impl FnOnce() -> Result<T, ConfigError>,
    ) -> Option<Arc<T>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = last.as_ref().filter(|(known, _)| *known == origin) {
            return value.clone();
        }
        let was_invalid = matches!(&*last, Some((_, None)));
        let value = match build() {
            Ok(value) => {
                if was_invalid {
                    tracing::info!("The web configuration is valid again");
                }
                Some(Arc::new(value))
            }
            Err(error) => {
                tracing::error!(err = %error, "Unable to parse configuration");
                None
            }
        };
        *last = Some((origin, value.clone()));
        value
    }
}
