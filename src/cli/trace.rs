//! `foredial ctl trace`: SIP messages of a running switch as a ladder, as NDJSON, or as a pcapng
//! file. This is the one place where numbers and names are shown: it needs the admin key.

use super::Failure;
use super::ladder::{Ladder, Row, printable};
use super::pcap::{Packet, Pcap};
use clap::Args;
use serde_json::Value;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A line of the stream: the longest message as hex, with room.
const LINE_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct Trace {
    /// One call: its id as `ctl calls` shows it, or a SIP Call-ID.
    #[arg(long, value_name = "ID")]
    call: Option<String>,
    /// Calls from or to this number, however a trunk writes it.
    #[arg(long, value_name = "N", conflicts_with = "call")]
    number: Option<String>,
    /// What came from or went to this address.
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Go on with what passes from now on, until Ctrl-C.
    #[arg(long)]
    follow: bool,
    /// Write a file for Wireshark, tshark or sngrep (pcapng) instead.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Show each message whole.
    #[arg(long, short)]
    verbose: bool,
}

impl Trace {
    /// Asks the switch at `url`, writes until the stream ends.
    pub(super) async fn show(
        &self,
        client: &reqwest::Client,
        url: &str,
        key: &str,
        json: bool,
    ) -> Result<(), Failure> {
        let response = client
            .get(format!("{url}/api/v1/trace?{}", self.query()))
            .bearer_auth(key)
            .send()
            .await
            .map_err(|_| super::ctl::silent(url))?;
        let status = response.status();
        if !status.is_success() {
            let body: Value = response.bytes().await.map_or(Value::Null, |bytes| {
                serde_json::from_slice(&bytes).unwrap_or(Value::Null)
            });
            return Err(super::ctl::refused(url, status, &body));
        }
        let mut sink = self.sink(json)?;
        let outcome = tokio::select! {
            done = copy(response, &mut sink, url) => done,
            _ = tokio::signal::ctrl_c() => Ok(()),
        };
        sink.end()?;
        outcome
    }

    fn query(&self) -> String {
        let mut query = url_form(&[
            ("call", self.call.clone()),
            ("number", self.number.clone()),
            ("address", self.address.map(|address| address.to_string())),
        ]);
        if self.follow {
            query += "&follow=true";
        }
        query
    }

    fn sink(&self, json: bool) -> Result<Sink, Failure> {
        if let Some(path) = &self.pcap {
            let file = private(path)?;
            let pcap =
                Pcap::begin(BufWriter::new(file)).map_err(|error| unwritten(path, &error))?;
            return Ok(Sink::Pcap {
                pcap,
                path: path.clone(),
                follow: self.follow,
                messages: 0,
            });
        }
        Ok(match json {
            true => Sink::Json,
            false => Sink::Ladder {
                ladder: Ladder::default(),
                verbose: self.verbose,
                messages: 0,
            },
        })
    }
}

/// Where messages go.
enum Sink {
    Json,
    Ladder {
        ladder: Ladder,
        verbose: bool,
        messages: u64,
    },
    Pcap {
        pcap: Pcap<BufWriter<File>>,
        path: PathBuf,
        follow: bool,
        messages: u64,
    },
}

impl Sink {
    fn take(&mut self, line: &[u8]) -> Result<(), Failure> {
        let told: Value = serde_json::from_slice(line)
            .map_err(|error| Failure::plain(format!("the switch sent no JSON: {error}")))?;
        if let Sink::Json = self {
            return print(&format!("{told}\n"));
        }
        if let Some(lost) = told["lost"].as_u64() {
            eprintln!("foredial: {lost} messages came faster than they could be read");
            return Ok(());
        }
        let Some(message) = Message::of(&told) else {
            return Err(Failure::plain(
                "the switch sent a message that cannot be read",
            ));
        };
        match self {
            Sink::Json => Ok(()),
            Sink::Ladder {
                ladder,
                verbose,
                messages,
            } => {
                *messages += 1;
                let text = String::from_utf8_lossy(&message.bytes);
                let mut shown = ladder.row(&message.row(&text));
                if *verbose {
                    let text = printable(&text.replace("\r\n", "\n"), true);
                    text.lines().for_each(|line| {
                        shown += "    ";
                        shown += line;
                        shown += "\n";
                    });
                    shown += "\n";
                }
                print(&shown)
            }
            Sink::Pcap {
                pcap,
                path,
                follow,
                messages,
            } => {
                *messages += 1;
                pcap.write(&message.packet())
                    .and_then(|()| if *follow { pcap.flush() } else { Ok(()) })
                    .map_err(|error| unwritten(path, &error))
            }
        }
    }

    fn end(self) -> Result<(), Failure> {
        match self {
            Sink::Pcap {
                mut pcap,
                path,
                messages,
                ..
            } => {
                pcap.flush().map_err(|error| unwritten(&path, &error))?;
                eprintln!("{messages} messages in {}", path.display());
                Ok(())
            }
            Sink::Ladder { messages: 0, .. } => {
                eprintln!("no message has passed that was asked for");
                Ok(())
            }
            Sink::Ladder { .. } | Sink::Json => Ok(()),
        }
    }
}

/// A message as the API tells it.
struct Message {
    at_ms: u64,
    outbound: bool,
    transport: String,
    local: SocketAddr,
    remote: SocketAddr,
    local_text: String,
    remote_text: String,
    bytes: Vec<u8>,
}

impl Message {
    fn of(told: &Value) -> Option<Message> {
        let text = |key: &str| told[key].as_str().map(str::to_owned);
        let bytes = match (text("message"), text("message_hex")) {
            (Some(message), _) => message.into_bytes(),
            (None, Some(hex)) => unhex(&hex)?,
            (None, None) => return None,
        };
        let (local_text, remote_text) = (text("local")?, text("remote")?);
        Some(Message {
            at_ms: told["at_ms"].as_u64()?,
            outbound: told["way"] == "out",
            transport: text("transport")?,
            local: local_text.parse().ok()?,
            remote: remote_text.parse().ok()?,
            local_text,
            remote_text,
            bytes,
        })
    }

    fn row<'a>(&'a self, text: &'a str) -> Row<'a> {
        Row {
            at_ms: self.at_ms,
            outbound: self.outbound,
            transport: &self.transport,
            local: &self.local_text,
            remote: &self.remote_text,
            message: text,
        }
    }

    fn packet(&self) -> Packet<'_> {
        Packet {
            at_ms: self.at_ms,
            outbound: self.outbound,
            transport: &self.transport,
            local: self.local,
            remote: self.remote,
            message: &self.bytes,
        }
    }
}

async fn copy(mut response: reqwest::Response, sink: &mut Sink, url: &str) -> Result<(), Failure> {
    let mut rest: Vec<u8> = Vec::new();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|_| Failure::plain(format!("the switch at {url} has stopped")))?
    {
        rest.extend_from_slice(&piece);
        let mut begin = 0;
        while let Some(length) = rest[begin..].iter().position(|byte| *byte == b'\n') {
            sink.take(&rest[begin..begin + length])?;
            begin += length + 1;
        }
        rest.drain(..begin);
        if rest.len() > LINE_BYTES_MAX {
            return Err(Failure::plain("the switch sent a line without an end"));
        }
    }
    Ok(())
}

/// For its owner only: it holds customers' numbers.
fn private(path: &Path) -> Result<File, Failure> {
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| unwritten(path, &error))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    let what = format!("{} cannot be written: {error}", path.display());
    Failure::new(what, "choose another file")
}

/// A reader that has seen enough closes the pipe: that ends us, and is no mistake.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::plain(format!("stdout: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// `application/x-www-form-urlencoded`, of what is given.
fn url_form(fields: &[(&str, Option<String>)]) -> String {
    let mut form = String::new();
    for (name, value) in fields {
        let Some(value) = value else { continue };
        if !form.is_empty() {
            form.push('&');
        }
        form += name;
        form.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                    form.push(char::from(byte));
                }
                byte => form += &format!("%{byte:02X}"),
            }
        }
    }
    form
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    digits
        .chunks(2)
        .map(|pair| u8::try_from(nibble(pair[0])? * 16 + nibble(pair[1])?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_number_with_a_plus_arrives_as_it_was_given() {
        let form = url_form(&[
            ("call", None),
            ("number", Some("+86 138".to_owned())),
            ("address", Some("2001:db8::1".to_owned())),
        ]);
        assert_eq!(form, "number=%2B86%20138&address=2001%3Adb8%3A%3A1");
    }

    #[test]
    fn bytes_that_are_no_text_come_back_as_they_were() {
        let told = json!({
            "at_ms": 5, "way": "out", "transport": "UDP", "local": "127.0.27.1:5060",
            "remote": "[::1]:5060", "message_hex": "00ff0d0a",
        });
        let message = Message::of(&told).unwrap();
        assert_eq!(message.bytes, [0, 255, 13, 10]);
        assert!(message.outbound && message.remote.is_ipv6());
        assert!(unhex("0").is_none() && unhex("zz").is_none());
    }
}
