//! `GET /api/v1/recordings/{call_id}`: a WAV, whole or in parts.
//!
//! The path on disk comes from the call's id alone, through the archive; nothing of the request
//! is ever part of a path.

use super::archive::off_runtime;
use super::problem;
use super::range::{Wanted, wanted};
use super::session::SignedIn;
use super::site::Site;
use crate::engine::handle::Problem;
use crate::id::CallId;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::io::SeekFrom;
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

const CHUNK_BYTES: usize = 64 * 1024;

pub(super) async fn get(
    State(site): State<Arc<Site>>,
    signed_in: SignedIn,
    Path(call): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let call: CallId = call.parse().map_err(|_| problem::not_found("recording"))?;
    let path = off_runtime(site, move |archive| {
        archive.recording(&signed_in.agent, call)
    })
    .await?;
    let path = path.ok_or_else(|| problem::not_found("recording"))?;
    let file = File::open(path)
        .await
        .map_err(|_| problem::not_found("recording"))?;
    let length = file
        .metadata()
        .await
        .map_err(|_| problem::not_found("recording"))?
        .len();
    let range = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok());
    let mut response = match wanted(range, length) {
        Wanted::Whole => (StatusCode::OK, stream(file, 0, length).await?).into_response(),
        Wanted::Part { first, last } => {
            let content_range = format!("bytes {first}-{last}/{length}");
            let body = stream(file, first, last - first + 1).await?;
            (
                StatusCode::PARTIAL_CONTENT,
                [(header::CONTENT_RANGE, content_range)],
                body,
            )
                .into_response()
        }
        Wanted::Nothing => return Ok(out_of_range(length)),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("audio/wav"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=3600"),
    );
    if let Ok(name) = HeaderValue::try_from(format!("inline; filename=\"{call}.wav\"")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// `length` bytes from `first` on, read as the browser takes them.
async fn stream(
    mut file: File,
    first: u64,
    length: u64,
) -> Result<([(header::HeaderName, u64); 1], Body), Problem> {
    file.seek(SeekFrom::Start(first))
        .await
        .map_err(|_| problem::not_found("recording"))?;
    let chunks = futures_util::stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let size = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let mut chunk = vec![0; size];
        let read = file.read(&mut chunk).await?;
        if read == 0 {
            // Shorter than it said: break off, so that the player sees an error and not silence.
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        chunk.truncate(read);
        let left = left - read as u64;
        Ok(Some((Bytes::from(chunk), (file, left))))
    });
    Ok((
        [(header::CONTENT_LENGTH, length)],
        Body::from_stream(chunks),
    ))
}

fn out_of_range(length: u64) -> Response {
    let problem = problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range",
        "Beyond the end",
        format!("The recording has {length} bytes."),
    );
    let mut response = problem.into_response();
    if let Ok(range) = HeaderValue::try_from(format!("bytes */{length}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response
}
