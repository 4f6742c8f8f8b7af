//! Asking a CRM about a customer over REST, and turning its answer into what a card shows.
//!
//! Against server-side request forgery: every address of the host is judged as it is resolved for
//! the connection, private ones need to be allowed by name; a redirect must stay on the host;
//! time and size are bounded. What comes back is text from a stranger: it is cleaned, never trusted.

mod guard;
mod shape;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

pub use shape::{CrmField, CrmSection, CrmSections, FieldMap, Kind, SectionMap, Tongues};

/// The largest answer read.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Redirects followed within the host.
const REDIRECTS_MAX: usize = 3;

/// Which CRM to ask, and what to show of its answer.
#[derive(Clone, Debug)]
pub struct CrmConfig {
    /// A minijinja template of the URL with `external_id` and `phone`; what they hold is
    /// percent-encoded: `https://crm.example/customers/{{ external_id }}`.
    pub url: String,
    /// For the whole exchange.
    pub timeout_ms: u64,
    /// Sent as `Authorization`, when there is one.
    pub authorization: Option<String>,
    /// Addresses that may be asked although they are private: `127.0.0.1:8090`; port 0 allows
    /// every port.
    pub allow_private: Vec<SocketAddr>,
    pub sections: Vec<SectionMap>,
}

/// Why there is nothing to show. The text is for the agent's card and names no customer.
#[derive(Debug, thiserror::Error)]
pub enum CrmError {
    #[error("the CRM's address is not usable: {0}")]
    Address(String),
    #[error("the CRM's address {0} is private and not allowed in [crm] allow_private")]
    Private(std::net::IpAddr),
    #[error("the CRM does not know this customer")]
    Unknown,
    #[error("the CRM answered {0}")]
    Status(u16),
    #[error("the CRM sent us to another host")]
    Redirected,
    #[error("the CRM did not answer within {0} ms")]
    TimedOut(u64),
    #[error("the CRM cannot be reached")]
    Unreachable,
    #[error("the CRM's answer is longer than {BODY_BYTES_MAX} bytes")]
    TooLong,
    #[error("the CRM's answer is not JSON")]
    NotJson,
}

/// Asks one CRM. Cheap to clone.
#[derive(Clone)]
pub struct CrmClient {
    config: Arc<CrmConfig>,
    http: reqwest::Client,
    /// Where every request goes: what a template puts into the path cannot change it.
    home: Url,
}

impl CrmClient {
    /// # Errors
    /// `Address` when the URL is no template, or yields no http or https address.
    pub fn new(config: CrmConfig) -> Result<CrmClient, CrmError> {
        let home = url(&config.url, "L0001", "+10000000000")?;
        let http = guard::client(&home, &config.allow_private)?;
        Ok(CrmClient {
            config: Arc::new(config),
            http,
            home,
        })
    }

    /// What the CRM knows of a customer.
    ///
    /// # Errors
    /// See [`CrmError`]; each is an answer in itself and leaves nothing behind.
    pub async fn fetch(&self, external_id: &str, phone: &str) -> Result<CrmSections, CrmError> {
        // Nobody's id, and in a path they would climb out of their folder, escaped or not.
        if matches!(external_id, "" | "." | "..") {
            return Err(CrmError::Unknown);
        }
        let within = Duration::from_millis(self.config.timeout_ms);
        let answer = tokio::time::timeout(within, self.ask(external_id, phone));
        let answer = answer
            .await
            .map_err(|_| CrmError::TimedOut(self.config.timeout_ms))??;
        Ok(shape::shape(&answer, &self.config.sections))
    }

    async fn ask(&self, external_id: &str, phone: &str) -> Result<Value, CrmError> {
        let mut url = url(&self.config.url, external_id, phone)?;
        for _ in 0..=REDIRECTS_MAX {
            guard::judge(&self.home, &url, &self.config.allow_private)?;
            let mut request = self
                .http
                .get(url.clone())
                .header("Accept", "application/json");
            if let Some(authorization) = &self.config.authorization {
                request = request.header("Authorization", authorization);
            }
            let response = request.send().await.map_err(|error| guard::why(&error))?;
            let status = response.status();
            if status.is_redirection() {
                url = guard::redirected(&url, response.headers())?;
                continue;
            }
            return match status.as_u16() {
                200 => {
                    serde_json::from_slice(&read(response).await?).map_err(|_| CrmError::NotJson)
                }
                404 | 410 => Err(CrmError::Unknown),
                other => Err(CrmError::Status(other)),
            };
        }
        Err(CrmError::Redirected)
    }
}

fn url(template: &str, external_id: &str, phone: &str) -> Result<Url, CrmError> {
    let bad = |why: &dyn std::fmt::Display| CrmError::Address(why.to_string());
    let values = minijinja::context! {
        external_id => guard::percent_encoded(external_id),
        phone => guard::percent_encoded(phone),
    };
    let text = minijinja::Environment::new()
        .render_str(template, values)
        .map_err(|error| bad(&error))?;
    let url: Url = text.parse().map_err(|error| bad(&error))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(bad(&"it begins with neither http:// nor https://"));
    }
    Ok(url)
}

/// The body, as long as it stays within bounds whatever Content-Length says.
async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, CrmError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| CrmError::Unreachable)? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(CrmError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
