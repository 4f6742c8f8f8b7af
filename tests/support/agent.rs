//! A simulated agent: signs in, takes the seat over SIP and WebRTC, speaks a tone, listens, holds,
//! goes away with or without a word and comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use webrtc::rtp_transceiver::RTCRtpTransceiverDirection;

use super::browser::{Browser, Failure};
use super::ear::Heard;
use super::line::{Access, Line, Seen};

/// Dropping it is a browser that crashed: WebSocket and audio end without BYE or close_notify.
pub struct Agent {
    browser: Arc<Browser>,
    line: Line,
    /// From the INVITE to its 200.
    pub answered_after: Duration,
    /// From the INVITE to the end of the DTLS handshake.
    pub connected_after: Duration,
}

/// A signed-in agent's way into the switch at `host:port` (plain HTTP), by password.
pub async fn sign_in(host: &str, agent: &str, password: &str) -> Result<Access, Failure> {
    let body = serde_json::json!({ "agent": agent, "password": password });
    let request = client()?
        .post(format!("http://{host}/api/v1/session"))
        .json(&body);
    access(
        host,
        request
            .header("Origin", format!("http://{host}"))
            .send()
            .await?,
    )
}

/// The same by a one-time link as `foredial demo` prints it.
pub async fn follow_link(host: &str, link: &str) -> Result<Access, Failure> {
    access(host, client()?.get(link).send().await?)
}

/// With a cookie from elsewhere.
pub fn access_with(host: &str, cookie: &str) -> Access {
    Access {
        url: format!("ws://{host}/sip"),
        cookie: cookie.to_owned(),
        origin: format!("http://{host}"),
    }
}

fn client() -> Result<reqwest::Client, Failure> {
    // Plain HTTP, but the client asks for a provider when it is built; a second install is refused.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()?)
}

fn access(host: &str, response: reqwest::Response) -> Result<Access, Failure> {
    let cookie = response.headers().get("set-cookie");
    let cookie = cookie.ok_or_else(|| format!("no cookie, status {}", response.status()))?;
    let cookie = cookie.to_str()?.split(';').next().unwrap_or_default();
    Ok(access_with(host, cookie))
}

impl Agent {
    /// Calls the seat and waits until audio can flow.
    pub async fn take_seat(access: &Access) -> Result<Agent, Failure> {
        let browser = Arc::new(Browser::new().await?);
        let line = Line::open(access, browser.clone()).await?;
        let offer = browser.offer().await?;
        let began = Instant::now();
        let response = line.request("INVITE", Some(offer)).await?;
        let answered_after = began.elapsed();
        if response.status() != Some(200) {
            return Err(format!("the seat was refused: {}", response.start).into());
        }
        browser.accept(&response.body).await?;
        browser.connected().await?;
        Ok(Agent {
            browser,
            line,
            answered_after,
            connected_after: began.elapsed(),
        })
    }

    /// From now on this tone; 0 is silence.
    pub fn speak(&self, hz: u32) {
        self.browser.speak(hz);
    }

    /// All that was heard since the last `listen_anew`.
    pub fn heard(&self) -> Heard {
        self.browser.heard()
    }

    pub fn listen_anew(&self) {
        self.browser.listen_anew();
    }

    /// Listens for this long, from now on.
    pub async fn hear(&self, window: Duration) -> Heard {
        self.browser.hear(window).await
    }

    /// Until this tone is heard at half the loudness it is spoken with, or not within 10 s.
    pub async fn hears(&self, hz: f64) -> bool {
        self.browser.hears(hz).await
    }

    /// Holds the seat with a re-INVITE, as a softphone's hold key does: sendonly or inactive;
    /// sendrecv resumes.
    pub async fn redirect(&self, direction: RTCRtpTransceiverDirection) -> Result<(), Failure> {
        self.browser.set_direction(direction).await?;
        self.reoffer().await
    }

    /// Re-INVITE with an ICE restart, as after a change of network.
    pub async fn restart_ice(&self) -> Result<(), Failure> {
        self.browser.restart_ice().await?;
        self.reoffer().await
    }

    async fn reoffer(&self) -> Result<(), Failure> {
        let offer = self.browser.offer().await?;
        let response = self.line.request("INVITE", Some(offer)).await?;
        if response.status() != Some(200) {
            return Err(format!("the re-INVITE was refused: {}", response.start).into());
        }
        self.browser.accept(&response.body).await
    }

    /// What happened on the line.
    pub fn seen(&self) -> Vec<(Instant, Seen)> {
        self.line.seen()
    }

    /// The switch hung up or the WebSocket closed.
    pub fn is_over(&self) -> bool {
        self.line.is_over()
    }

    /// Waits for that; false if it does not happen within 10 s.
    pub async fn over(&self) -> bool {
        self.line.over().await
    }

    /// Leaves with a BYE.
    pub async fn leave(self) -> Result<(), Failure> {
        let response = self.line.request("BYE", None).await?;
        if response.status() == Some(200) {
            Ok(())
        } else {
            Err(response.start.into())
        }
    }
}
