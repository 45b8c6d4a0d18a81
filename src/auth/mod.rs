//! Who is calling, and what they may do.

mod authenticator;
mod secret;

pub use authenticator::{Authenticator, Caller};
pub use secret::TokenSecret;
