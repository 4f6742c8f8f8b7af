//! Browser legs against a real Chromium: connect, hold, resume, ICE restart. Without a Chromium on
//! the machine (`CHROMIUM`, or `chromium` on the path) the live test says so and does nothing; the
//! offers once captured from it are answered always.

mod support;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use foredial::id::LegId;
use foredial::media::g711::Law;
use support::bench::Bench;
use tokio::sync::mpsc;

const PAGE: &str = include_str!("data/chromium.html");
const LEG: LegId = LegId(1);

#[derive(Clone)]
struct Desk {
    bench: Arc<Bench>,
    reports: mpsc::Sender<serde_json::Value>,
}

/// Ended with the test, by its own id.
struct Chromium(Child);

impl Drop for Chromium {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn offer(State(desk): State<Desk>, sdp: String) -> (StatusCode, String) {
    match desk.bench.offer(LEG, sdp, Law::Mu) {
        Ok(answer) => (StatusCode::OK, answer),
        Err(error) => (StatusCode::NOT_ACCEPTABLE, error.to_string()),
    }
}

async fn report(State(desk): State<Desk>, body: String) {
    let report = serde_json::from_str(&body).expect("the page writes JSON");
    desk.reports.send(report).await.expect("the test waits");
}

fn chromium(url: &str, profile: &std::path::Path) -> Option<Chromium> {
    let program = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    let child = Command::new(program)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
        ])
        .args([
            "--autoplay-policy=no-user-gesture-required",
            "--disable-dev-shm-usage",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.ok().map(Chromium)
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_talks_holds_resumes_and_restarts_ice() {
    let bench = Arc::new(Bench::start());
    let (reports, mut inbox) = mpsc::channel(1);
    let router = axum::Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/offer", post(offer))
        .route("/report", post(report))
        .with_state(Desk {
            bench: bench.clone(),
            reports,
        });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let profile = tempfile::tempdir().expect("a folder");
    let Some(_chromium) = chromium(&format!("http://{address}/"), profile.path()) else {
        println!("no chromium here: not tested against it");
        return;
    };
    bench.speak(LEG, 1_000.0);
    let report = tokio::time::timeout(Duration::from_secs(60), inbox.recv()).await;
    let report = report.expect("a report within a minute").expect("a report");
    if let Ok(folder) = std::env::var("FOREDIAL_CAPTURE") {
        for (number, sdp) in report["offers"]
            .as_array()
            .expect("offers")
            .iter()
            .enumerate()
        {
            let path = format!("{folder}/chromium_offer_{number}.sdp");
            std::fs::write(path, sdp.as_str().expect("text")).expect("written");
        }
    }
    let mut shown = report.clone();
    shown["offers"] = serde_json::Value::Null;
    println!("{shown:#}\n{:#?}", bench.snapshot());
    assert_eq!(report.get("error"), None, "{report:#}");
    assert_eq!(report["state"], "connected");
    let step = |name: &str, key: &str| report["steps"][name][key].as_f64().expect("a number");
    assert!(step("talk", "received") > 50.0 && step("talk", "sent") > 50.0);
    assert!(step("talk", "energy") > 0.01, "Chromium decodes our tone");
    assert_eq!(step("sendonly", "received"), 0.0);
    assert!(step("sendonly", "sent") > 20.0);
    assert_eq!(step("inactive", "received") + step("inactive", "sent"), 0.0);
    assert!(step("sendrecv", "received") > 20.0 && step("sendrecv", "sent") > 20.0);
    assert!(step("restarted", "received") > 20.0 && step("restarted", "sent") > 20.0);
    let leg = &bench.snapshot().legs[0];
    assert_eq!(leg.profile, Some("AEAD_AES_128_GCM"));
    assert!(leg.packets_in > 100);
}
