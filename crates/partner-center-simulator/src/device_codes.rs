//! The device codes that were issued, and the state of each sign-in.
//!
//! It knows nothing of HTTP and issues no tokens.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::scenario::{Device, DeviceAnswer};
use crate::scope::Scope;

/// How much the interval grows when a client polls too fast.
const SLOW_DOWN: Duration = Duration::from_secs(5);

/// The device codes that were issued and not yet redeemed.
#[derive(Default)]
pub(crate) struct DeviceCodes(Vec<DeviceFlow>);

/// One sign-in with a device code.
pub(crate) struct DeviceFlow {
    tenant: String,
    pub(crate) device_code: String,
    pub(crate) user_code: String,
    scope: Scope,
    started: Instant,
    pub(crate) lifetime: Duration,
    pub(crate) interval: Duration,
    last_poll: Option<Instant>,
    /// How many polls were answered with "pending".
    pending_polls: u32,
    /// Whether a person approved the sign-in on the page.
    approved: Option<bool>,
}

/// Why a poll gets no tokens, as Entra ID words it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceCodeError {
    #[error("The provided value for the input parameter 'device_code' is not valid.")]
    Unknown,
    #[error(
        "The provided value for the input parameter 'device_code' is not valid. This device code has expired."
    )]
    Expired,
    #[error("OAuth 2.0 device flow error. The client polls too fast.")]
    PolledTooFast,
    #[error("OAuth 2.0 device flow error. Authorization is pending. Continue polling.")]
    Pending,
    #[error("The end user denied the authorization request.")]
    Declined,
    #[error(
        "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance."
    )]
    Blocked,
}

impl DeviceCodes {
    /// Issues a device code and the user code that belongs to it.
    pub(crate) fn issue(&mut self, tenant: &str, scope: Scope, device: &Device) -> &DeviceFlow {
        self.0.push(DeviceFlow {
            tenant: tenant.to_owned(),
            device_code: format!("simulated-device-code-{}", Uuid::new_v4().simple()),
            user_code: user_code(),
            scope,
            started: Instant::now(),
            lifetime: device.expires_in,
            interval: device.interval,
            last_poll: None,
            pending_polls: 0,
            approved: None,
        });
        &self.0[self.0.len() - 1]
    }

    /// Redeems a device code once its sign-in is complete, and returns the scope it was requested with.
    pub(crate) fn redeem(
        &mut self,
        tenant: &str,
        code: &str,
        device: &Device,
    ) -> Result<Scope, DeviceCodeError> {
        let index = self
            .0
            .iter()
            .position(|flow| flow.device_code == code && flow.tenant == tenant)
            .ok_or(DeviceCodeError::Unknown)?;
        self.0[index].poll(device)?;
        Ok(self.0.swap_remove(index).scope)
    }

    /// Records a person's decision, and returns whether the user code is valid.
    pub(crate) fn decide(&mut self, user_code: &str, approved: bool) -> bool {
        let normalised = |code: &str| code.replace(['-', ' '], "").to_uppercase();
        let wanted = normalised(user_code);
        let found =
            self.0.iter_mut().find(|flow| normalised(&flow.user_code) == wanted && !flow.is_expired());
        found.map(|flow| flow.approved = Some(approved)).is_some()
    }
}

impl DeviceFlow {
    fn is_expired(&self) -> bool {
        self.started.elapsed() >= self.lifetime
    }

    fn poll(&mut self, device: &Device) -> Result<(), DeviceCodeError> {
        if self.is_expired() {
            return Err(DeviceCodeError::Expired);
        }
        let last = self.last_poll.replace(Instant::now());
        if last.is_some_and(|last| last.elapsed() < self.interval) {
            self.interval += SLOW_DOWN;
            return Err(DeviceCodeError::PolledTooFast);
        }
        let answer = match self.approved {
            Some(true) => DeviceAnswer::Approve,
            Some(false) => DeviceAnswer::Decline,
            None if self.pending_polls < device.polls => DeviceAnswer::Pending,
            None => device.answer,
        };
        match answer {
            DeviceAnswer::Approve => Ok(()),
            DeviceAnswer::Decline => Err(DeviceCodeError::Declined),
            DeviceAnswer::Pending => {
                self.pending_polls = self.pending_polls.saturating_add(1);
                Err(DeviceCodeError::Pending)
            }
            DeviceAnswer::Blocked => Err(DeviceCodeError::Blocked),
        }
    }
}

/// Nine characters that are hard to mistake for others.
fn user_code() -> String {
    const ALPHABET: &[u8] = b"BCDFGHJKLMNPQRSTVWXYZ23456789";
    (0..9).map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())])).collect()
}
