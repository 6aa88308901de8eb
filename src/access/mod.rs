//! Who may watch, and proof of who answers (protocol.md section 2.2).
//!
//! [`proof`], [`offer_authorizer`], [`grant`] and [`link`] decide and are pure; [`identity`], [`store`] and [`clock`]
//! read and write the state directory and the system.

pub mod clock;
mod error;
mod files;
pub mod grant;
pub mod identity;
pub mod link;
pub mod offer_authorizer;
pub mod permissions;
pub mod proof;
pub mod store;
pub mod used_offers;

pub use error::AccessError;
pub(crate) use files::{Lock, read_private, write_private};
