//! Who is calling, and what they may do.

mod authenticator;
mod caller;
mod oidc;
mod secret;
mod session;

pub use authenticator::{AuthError, Authenticator};
pub use caller::{Caller, SignedIn};
pub use oidc::{
    Arrival, BearerError, Departure, Grant, Oidc, OidcSettings, REQUEST_LIFETIME, Return, Said, SignInError,
    TokenIssuerSettings, TokenIssuers,
};
pub use secret::TokenSecret;
pub use session::SessionSecret;
