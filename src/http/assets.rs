//! The bundled page inside the binary: compressed once, named by its content, cached by browsers.

use std::collections::HashMap;
use std::io::Write;
use std::sync::OnceLock;

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "viewer/dist"]
#[allow_missing = true]
struct Dist;

/// Sent with every file: the page needs its own scripts, its broker and nothing else. `worker-src blob:` is for the
/// clock that runs in a worker made from a blob, so that a tab in the background stays connected to its broker; `'self'` is
/// for the worker that keeps the page's files. `img-src blob:` is for still pictures.
///
/// There is no `frame-ancestors` (and no `X-Frame-Options`): dashboards of any origin show the page in a frame
/// (docs/dashboards). What can be done in it to the camera is what the link in the fragment allows, and a framing page has to know
/// that link: it could do the same without the frame. Of an open camera no settings are shown in a frame of another origin. What the
/// frame shows cannot be read from outside.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self' ws: wss:; \
         worker-src 'self' blob:; manifest-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    (header::VARY, "accept-encoding"),
];

/// The modules of the element and of its card, which pages of any origin may import: there is nothing in them that not everybody
/// may read.
const MODULES: [&str; 2] = ["porthole-camera.js", "porthole-card.js"];
const ANY_ORIGIN: (HeaderName, &str) = (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");

/// One file of the page.
pub(super) struct Asset {
    mime: String,
    etag: String,
    plain: Bytes,
    gzip: Bytes,
    is_for_any_origin: bool,
}

/// Whether the binary was built before the page was.
pub(super) fn is_missing() -> bool {
    Dist::get("index.html").is_none()
}

/// The file at `path` of the bundle.
pub(super) fn get(path: &str) -> Option<&'static Asset> {
    static ASSETS: OnceLock<HashMap<String, Asset>> = OnceLock::new();
    let assets = ASSETS.get_or_init(|| {
        let load = |path: std::borrow::Cow<'static, str>| Some((path.to_string(), Asset::load(&path)?));
        Dist::iter().filter_map(load).collect()
    });
    assets.get(path)
}

impl Asset {
    fn load(path: &str) -> Option<Self> {
        let file = Dist::get(path)?;
        let hash = file.metadata.sha256_hash();
        let (first, _) = hash.split_at(16);
        let tag = u128::from_be_bytes(first.try_into().ok()?);
        let plain = Bytes::from(file.data.into_owned());
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let gzip = encoder.write_all(&plain).and_then(|()| encoder.finish()).ok()?;
        Some(Self {
            mime: file.metadata.mimetype().to_owned(),
            etag: format!("\"{tag:032x}\""),
            plain,
            gzip: gzip.into(),
            is_for_any_origin: MODULES.contains(&path),
        })
    }

    /// The answer to a request with these headers: nothing new, compressed, or as it is.
    pub fn response(&self, request: &HeaderMap) -> Response {
        let says = |name: HeaderName, text: &str| {
            request.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(text))
        };
        let own = [(header::CONTENT_TYPE, self.mime.clone()), (header::ETAG, self.etag.clone())];
        let any_origin = self.is_for_any_origin.then_some([ANY_ORIGIN]);
        if says(header::IF_NONE_MATCH, &self.etag) {
            return (StatusCode::NOT_MODIFIED, any_origin, own, HEADERS).into_response();
        }
        if says(header::ACCEPT_ENCODING, "gzip") {
            let encoding = [(header::CONTENT_ENCODING, "gzip")];
            return (own, HEADERS, any_origin, encoding, self.gzip.clone()).into_response();
        }
        (own, HEADERS, any_origin, self.plain.clone()).into_response()
    }
}
