//! Signs in by device code: the person enters it in a browser on any machine.

use std::mem;

use tokio::time::{Instant, sleep_until};

use crate::commands::output;
use crate::partner::{self, FetchError, Progress, SignIn, SignedIn};

use super::progress::ProgressLine;

/// Shows a code, and asks at its interval whether the person has signed in.
///
/// # Errors
/// If nothing can be printed. A sign-in that fails is the inner error.
pub(super) async fn sign_in(sign_in: &SignIn) -> anyhow::Result<Result<SignedIn, FetchError>> {
    let mut code = match sign_in.device_code().await {
        Ok(code) => code,
        Err(error) => return Ok(Err(error)),
    };
    output::print(&format!(
        "To sign in, open\n\n    {}\n\nand enter the code\n\n    {}\n\nSign in as a user of the partner tenant who may \
         read analytics in Partner Center, with multi-factor authentication.\n",
        code.verification_uri, code.user_code
    ))?;
    let (end, mut pause) = (code.expires_at, code.interval);
    let mut line = ProgressLine::new(end);
    let mut in_trouble = false;
    loop {
        line.during(sleep_until(end.min(Instant::now() + pause))).await?;
        pause = match line.during(sign_in.ask(&mut code)).await? {
            Ok(Progress::Done(signed_in)) => return Ok(Ok(*signed_in)),
            Ok(Progress::Pending) => {
                in_trouble = false;
                code.interval
            }
            // The person may have signed in by the time the service answers again.
            Err(error) if error.is_transient() => {
                if !mem::replace(&mut in_trouble, true) {
                    line.interrupt(&format!("Still waiting, although {error}"))?;
                }
                code.interval.max(error.retry_after().unwrap_or_default())
            }
            Err(error) => return Ok(Err(error)),
        };
        if Instant::now() >= end {
            return Ok(Err(partner::sign_in_failed("nobody signed in before the code expired")));
        }
    }
}
