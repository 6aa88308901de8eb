//! The viewer page, and what programs ask over HTTP: WHEP, metrics, health, state, a still picture.
//!
//! `server` carries bytes and bounds how many; everything else here turns a request into an answer.

mod assets;
mod error;
mod facts;
mod limit;
mod metrics;
mod page;
mod problem;
mod request;
mod routes;
mod server;
mod services;
mod tls;
mod tunnel;
mod whep;

pub use error::HttpError;
pub use metrics::Figures;
pub use page::{PageBroker, PageInfo};
pub use server::{HttpServer, Listener, bind};
pub use services::{Facts, RequestAuthorizer, Services};
pub use tls::{CertificateError, CertificateFiles};
pub use tunnel::PATH as TUNNEL_PATH;
pub use whep::sdp_fragment;
