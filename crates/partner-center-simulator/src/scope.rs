//! The scope of a request for tokens.

/// What an application requests tokens for.
#[derive(Clone)]
pub(crate) struct Scope {
    /// The API that the access token is for.
    pub(crate) resource: String,
    /// The scopes that the token response lists.
    pub(crate) granted: String,
    /// Whether the application requests a refresh token.
    pub(crate) offline: bool,
}

impl Scope {
    /// Parses the parameter `scope`, which is invalid unless it names a resource.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (offline, granted): (Vec<_>, Vec<_>) =
            text.split_whitespace().partition(|scope| *scope == "offline_access");
        let resource = granted.iter().find_map(|scope| {
            scope.strip_suffix("/user_impersonation").or_else(|| scope.strip_suffix("/.default"))
        });
        Some(Self {
            resource: resource.filter(|resource| !resource.is_empty())?.to_owned(),
            granted: granted.join(" "),
            offline: !offline.is_empty(),
        })
    }
}
