//! Who is calling, and what they may do.

mod authenticator;
mod secret;
mod session;

pub use authenticator::{Authenticator, Caller};
pub use secret::TokenSecret;
pub use session::SessionSecret;
