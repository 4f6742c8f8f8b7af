//! A caller in plain text over UDP: it sends what a test tells it and says what came back, right
//! or wrong. It shares no message code with the crate; only G.711 octets come from the carrier.
#![allow(dead_code)] // Each test file uses its own part of it.

use std::f32::consts::TAU;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use foredial::demo::carrier::Law;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

/// How long anything expected may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Caller {
    sip: UdpSocket,
    pub rtp: UdpSocket,
    far: SocketAddr,
    pub call_id: String,
    number: String,
    invite_cseq: u32,
    cseq: u32,
    branch: u32,
    /// The To header with its tag, once there is one.
    pub to: String,
    target: String,
    /// Where the far end wants audio.
    pub far_rtp: Option<SocketAddr>,
}

impl Caller {
    pub async fn new(far: SocketAddr, number: &str) -> io::Result<Caller> {
        let sip = UdpSocket::bind("127.0.0.1:0").await?;
        let rtp = UdpSocket::bind("127.0.0.1:0").await?;
        let call_id = format!("call-{}", sip.local_addr()?.port());
        let to = format!("<sip:{number}@{far}>");
        let (number, target) = (number.to_owned(), format!("sip:{number}@{far}"));
        let far_rtp = None;
        let (invite_cseq, cseq, branch) = (1, 1, 1);
        Ok(Caller {
            sip,
            rtp,
            far,
            call_id,
            number,
            invite_cseq,
            cseq,
            branch,
            to,
            target,
            far_rtp,
        })
    }

    pub fn sdp(&self, direction: &str) -> String {
        let port = self.rtp.local_addr().map_or(0, |address| address.port());
        format!(
            "v=0\r\no=- 1 {} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n",
            self.branch
        )
    }

    fn text(&self, method: &str, cseq: u32, branch: u32, to: &str, body: &str) -> String {
        let local = self
            .sip
            .local_addr()
            .map(|address| address.to_string())
            .unwrap_or_default();
        let uri =
            if method == "INVITE" && to == self.to && !to.contains("tag=") || method == "CANCEL" {
                format!("sip:{}@{}", self.number, self.far)
            } else {
                self.target.clone()
            };
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bK{}-{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:caller@{local}>;tag=c1\r\nTo: {to}\r\n\
             Call-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:caller@{local}>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            self.call_id,
            self.call_id,
            body.len()
        )
    }

    pub async fn send(&self, text: &str) {
        self.sip
            .send_to(text.as_bytes(), self.far)
            .await
            .expect("loopback takes a datagram");
    }

    /// An INVITE, first or within the dialog; the text, to be sent again.
    pub async fn invite(&mut self, sdp: Option<&str>) -> String {
        if self.to.contains("tag=") {
            self.cseq += 1;
            self.branch += 1;
        }
        self.invite_cseq = self.cseq;
        let text = self.text(
            "INVITE",
            self.cseq,
            self.branch,
            &self.to,
            sdp.unwrap_or_default(),
        );
        self.send(&text).await;
        text
    }

    pub async fn call(&mut self) -> String {
        let sdp = self.sdp("sendrecv");
        self.invite(Some(&sdp)).await
    }

    /// ACK of a 2xx: a new branch.
    pub async fn ack(&mut self, sdp: &str) {
        let text = self.text("ACK", self.invite_cseq, 1_000 + self.branch, &self.to, sdp);
        self.send(&text).await;
    }

    /// ACK of a refusal: the INVITE's branch.
    pub async fn ack_refusal(&mut self) {
        let text = self.text("ACK", self.invite_cseq, self.branch, &self.to, "");
        self.send(&text).await;
    }

    /// CANCEL carries the INVITE's To, without a tag.
    pub async fn cancel(&mut self) {
        let to = self.to.split(";tag=").next().unwrap_or_default().to_owned();
        let text = self.text("CANCEL", self.invite_cseq, self.branch, &to, "");
        self.send(&text).await;
    }

    /// Any other request within the dialog.
    pub async fn request(&mut self, method: &str) -> String {
        self.cseq += 1;
        self.branch += 1;
        let text = self.text(method, self.cseq, self.branch, &self.to, "");
        self.send(&text).await;
        text
    }

    pub async fn bye(&mut self) {
        self.request("BYE").await;
        self.expect(200, "BYE").await;
    }

    /// The next message, or nothing within `within`.
    pub async fn next(&mut self, within: Duration) -> Option<String> {
        let mut bytes = vec![0; 8_192];
        let (length, _) = timeout(within, self.sip.recv_from(&mut bytes))
            .await
            .ok()?
            .ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// Waits for a response, skipping others, and remembers the dialog it opens.
    pub async fn expect(&mut self, status: u16, method: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut skipped = Vec::new();
        while let Some(text) = self.next(until - Instant::now()).await {
            let fits = text.starts_with(&format!("SIP/2.0 {status} "));
            if fits && header(&text, "CSeq").ends_with(method) {
                self.learn(&text);
                return text;
            }
            skipped.push(text.lines().next().unwrap_or_default().to_owned());
        }
        panic!("no {status} to {method}, only {skipped:?}");
    }

    /// Waits for a request of the far end and answers it with 200.
    pub async fn expect_request(&mut self, method: &str) -> String {
        let until = Instant::now() + PATIENCE;
        while let Some(text) = self.next(until - Instant::now()).await {
            if text.starts_with(&format!("{method} ")) {
                let copied: String = ["Via", "From", "To", "Call-ID", "CSeq"]
                    .iter()
                    .map(|name| format!("{name}: {}\r\n", header(&text, name)))
                    .collect();
                self.send(&format!(
                    "SIP/2.0 200 OK\r\n{copied}Content-Length: 0\r\n\r\n"
                ))
                .await;
                return text;
            }
        }
        panic!("no {method} from the far end");
    }

    /// From the first INVITE to the ACK.
    pub async fn talk(far: SocketAddr, number: &str) -> Caller {
        let mut caller = Caller::new(far, number).await.expect("free ports");
        caller.call().await;
        caller.expect(180, "INVITE").await;
        caller.expect(200, "INVITE").await;
        caller.ack("").await;
        caller
    }

    fn learn(&mut self, text: &str) {
        if !header(text, "CSeq").ends_with("INVITE") {
            return;
        }
        if header(text, "To").contains("tag=") {
            self.to = header(text, "To");
        }
        let contact = header(text, "Contact");
        if let Some((_, rest)) = contact.split_once('<') {
            self.target = rest.split('>').next().unwrap_or_default().to_owned();
        }
        let port = text.lines().find_map(|line| line.strip_prefix("m=audio "));
        let port = port.and_then(|line| line.split(' ').next()?.parse().ok());
        let ip = text.lines().find_map(|line| line.strip_prefix("c=IN IP4 "));
        if let (Some(port), Some(Ok(ip))) = (port, ip.map(|ip| ip.trim().parse())) {
            self.far_rtp = Some(SocketAddr::new(ip, port));
        }
    }

    /// Says a tone for a while and returns what came back meanwhile.
    pub async fn say(&self, hz: f32, frames: u16) -> Vec<Vec<u8>> {
        let far = self.far_rtp.expect("an answer with audio");
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        let (mut heard, mut bytes) = (Vec::new(), [0; 2_048]);
        for frame in 0..frames {
            beat.tick().await;
            let first = u32::from(frame) * 160;
            let mut packet = vec![0x80, 8];
            packet.extend(frame.to_be_bytes());
            packet.extend(first.to_be_bytes());
            packet.extend(77u32.to_be_bytes());
            packet.extend((first..first + 160).map(|n| {
                Law::Pcma.encode(((TAU * hz * n as f32 / 8_000.0).sin() * 8_192.0) as i16)
            }));
            self.rtp
                .send_to(&packet, far)
                .await
                .expect("loopback takes a datagram");
            while let Ok((length, _)) = self.rtp.try_recv_from(&mut bytes) {
                heard.push(bytes[..length].to_vec());
            }
        }
        heard
    }
}

/// The first line of a header, trimmed.
pub fn header(text: &str, name: &str) -> String {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    });
    value.unwrap_or_default()
}

/// The amplitude of one frequency in A-law packets, of full scale.
pub fn amplitude(packets: &[Vec<u8>], hz: f32) -> f32 {
    let samples: Vec<f32> = packets
        .iter()
        .flat_map(|packet| packet[12..].iter())
        .map(|octet| f32::from(Law::Pcma.decode(*octet)) / 32_768.0)
        .collect();
    let turned = |wave: fn(f32) -> f32| -> f32 {
        let turn = |(n, sample): (usize, &f32)| sample * wave(TAU * hz * n as f32 / 8_000.0);
        samples.iter().enumerate().map(turn).sum()
    };
    2.0 * turned(f32::cos).hypot(turned(f32::sin)) / samples.len().max(1) as f32
}
