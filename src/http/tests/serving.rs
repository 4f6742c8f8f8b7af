//! Health, metrics, headers, pages and ports.

use super::*;

#[tokio::test]
async fn health_and_metrics_speak_of_the_engine() {
    let place = place().await;
    assert_eq!(
        place
            .get("/healthz")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
        "ok\n"
    );
    assert_eq!(place.get("/readyz").send().await.unwrap().status(), 200);
    let metrics = place
        .get("/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics.contains("foredial_up 1\n") && metrics.contains("foredial_calls 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("foredial_dials_total 4\n") && !metrics.contains(CALL),
        "{metrics}"
    );
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let place = place().await;
    for path in ["/healthz", "/api/v1/session", "/api/nothing", "/"] {
        let response = place.get(path).send().await.unwrap();
        let policy = response.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(
            policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(
            response.headers()["x-content-type-options"],
            "nosniff",
            "{path}"
        );
    }
    let missing = place.get("/api/nothing").send().await.unwrap();
    assert_eq!(problem_of(missing).await.1["rule"], "not_found");
    let big = place
        .ask(Method::POST, "/api/v1/session")
        .body("x".repeat(BODY_BYTES_MAX + 1))
        .send()
        .await
        .unwrap();
    assert_eq!(big.status(), 413);
}

#[cfg(feature = "pages")]
#[tokio::test]
async fn the_page_answers_every_path_of_the_app() {
    let place = place().await;
    let index = place.get("/").send().await.unwrap();
    assert_eq!(index.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(index.headers()["cache-control"], "no-cache");
    let tag = index.headers()["etag"].to_str().unwrap().to_owned();
    let html = index.text().await.unwrap();
    assert!(html.contains("<html"), "{html}");
    assert_eq!(
        place
            .get("/calls/recent")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
        html
    );
    let known = place
        .get("/")
        .header("if-none-match", tag)
        .send()
        .await
        .unwrap();
    assert_eq!(known.status(), 304);
    for missing in ["/assets/gone.js", "/.stamp", "/..%2f..%2fCargo.toml"] {
        assert_eq!(
            place.get(missing).send().await.unwrap().status(),
            404,
            "{missing}"
        );
    }
    // Whatever the page loads is there, of the right type and cached for good.
    let script = html
        .split('"')
        .find(|part| part.starts_with("/assets/") && part.ends_with(".js"));
    if let Some(script) = script {
        let response = place.get(script).send().await.unwrap();
        assert_eq!(
            response.headers()["content-type"],
            "text/javascript; charset=utf-8"
        );
        assert!(
            response.headers()["cache-control"]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
    }
}

#[tokio::test]
async fn a_taken_port_is_told_with_its_key_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = configuration(folder.path());
    config.http.listen = taken.local_addr().ok();
    let message = Server::bind(&config).err().unwrap().to_string();
    let address = taken.local_addr().unwrap();
    assert_eq!(
        message,
        format!(
            "[http] listen = \"{address}\": the port is taken; stop what uses it or change listen"
        )
    );
}
