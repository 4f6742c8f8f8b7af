//! The pages, embedded at build time. Hashed files are cached for good, `index.html` never
//! without asking; paths of the single-page app are all `index.html`.

use super::problem;
use super::site::Site;
use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::{Embed, EmbeddedFile};
use std::sync::Arc;
use tower_http::compression::CompressionLayer;

#[derive(Embed)]
#[folder = "$FOREDIAL_WEB_DIST"]
struct Pages;

const INDEX: &str = "index.html";
/// The bundler puts a hash of the content into the names of these.
const HASHED_FOLDER: &str = "assets/";

pub(super) fn router() -> Router<Arc<Site>> {
    Router::new()
        .fallback(get(show))
        .layer(CompressionLayer::new())
}

async fn show(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let path = if path.is_empty() { INDEX } else { path };
    // The build leaves a stamp in the folder; nothing that begins with a dot is a page.
    if let Some(file) = Pages::get(path).filter(|_| !path.starts_with('.')) {
        return send(path, &file, &headers);
    }
    let looks_like_file = path
        .rsplit('/')
        .next()
        .is_some_and(|name| name.contains('.'));
    match Pages::get(INDEX) {
        Some(index) if !looks_like_file => send(INDEX, &index, &headers),
        _ => problem::not_found("page").into_response(),
    }
}

fn send(path: &str, file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let digest = file.metadata.sha256_hash();
    let tag: String = digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // Weak: the same page may travel compressed.
    let tag = format!("W/\"{tag}\"");
    let caching = if path.starts_with(HASHED_FOLDER) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok());
    let unchanged = known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        (
            [(header::CONTENT_TYPE, media_type(path))],
            file.data.clone(),
        )
            .into_response()
    };
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
