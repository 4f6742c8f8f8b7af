//! The client against real HTTP servers on loopback, well-behaved and not.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;

use super::*;

/// Serves `app` on a free loopback port until the test's runtime ends.
async fn serve(app: Router) -> io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

fn config(host: &str, allow_private: Vec<SocketAddr>) -> CrmConfig {
    let label = Tongues {
        en: "Name".to_owned(),
        zh: "姓名".to_owned(),
    };
    let field = FieldMap {
        label,
        pointer: "/name".to_owned(),
        kind: Kind::Text,
    };
    let title = Tongues {
        en: "Customer".to_owned(),
        zh: "客户".to_owned(),
    };
    CrmConfig {
        url: format!("http://{host}/customers/{{{{ external_id }}}}?phone={{{{ phone }}}}"),
        timeout_ms: 400,
        authorization: Some("Bearer t".to_owned()),
        allow_private,
        sections: vec![SectionMap {
            title,
            each: None,
            items_max: 1,
            fields: vec![field],
        }],
    }
}

fn app() -> Router {
    let redirect = |to: &'static str| {
        get(move || async move { (StatusCode::FOUND, [(header::LOCATION, to)]) })
    };
    Router::new()
        .route("/customers/good", get(|| async { r#"{"name":"王芳"}"# }))
        .route("/customers/moved", redirect("/customers/good"))
        .route(
            "/customers/away",
            redirect("http://127.0.0.2:9/customers/good"),
        )
        .route("/customers/round", redirect("/customers/round"))
        .route(
            "/customers/huge",
            get(|| async { " ".repeat(BODY_BYTES_MAX + 1) }),
        )
        .route("/customers/garbage", get(|| async { "<html>" }))
        .route("/customers/slow", get(std::future::pending::<&'static str>))
        .route(
            "/customers/broken",
            get(|| async { StatusCode::BAD_GATEWAY }),
        )
        .route(
            "/customers/echo",
            get(
                |headers: header::HeaderMap, uri: axum::http::Uri| async move {
                    let authorization = headers["authorization"].to_str().unwrap_or_default();
                    serde_json::json!({"name": format!("{authorization} {uri}")}).to_string()
                },
            ),
        )
}

async fn ask(id: &str) -> Result<String, CrmError> {
    let address = serve(app()).await.expect("a free port");
    let client = CrmClient::new(config(&address.to_string(), vec![address]))?;
    let sections = client.fetch(id, "+86 1").await?;
    Ok(sections.sections[0].fields[0].value.clone())
}

#[tokio::test]
async fn a_customer_is_fetched_and_shaped() {
    assert_eq!(ask("good").await.expect("the server has it"), "王芳");
    let echoed = ask("echo").await.expect("the server has it");
    assert_eq!(echoed, "Bearer t /customers/echo?phone=%2B86%201");
}

#[tokio::test]
async fn a_redirect_is_followed_on_the_host_only() {
    assert_eq!(ask("moved").await.expect("same host"), "王芳");
    assert!(matches!(ask("away").await, Err(CrmError::Redirected)));
    assert!(matches!(ask("round").await, Err(CrmError::Redirected)));
}

#[tokio::test]
async fn each_misfortune_has_its_name() {
    assert!(matches!(ask("huge").await, Err(CrmError::TooLong)));
    assert!(matches!(ask("garbage").await, Err(CrmError::NotJson)));
    assert!(matches!(ask("broken").await, Err(CrmError::Status(502))));
    assert!(matches!(ask("nobody").await, Err(CrmError::Unknown)));
    let asked = Instant::now();
    assert!(matches!(ask("slow").await, Err(CrmError::TimedOut(400))));
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_id_cannot_climb_out_of_its_folder() {
    for id in ["", ".", ".."] {
        assert!(matches!(ask(id).await, Err(CrmError::Unknown)), "{id:?}");
    }
    assert!(matches!(
        ask("../customers/good").await,
        Err(CrmError::Unknown)
    ));
}

#[tokio::test]
async fn private_addresses_are_refused_by_number_and_by_name() {
    let address = serve(app()).await.expect("a free port");
    for host in [address.to_string(), format!("localhost:{}", address.port())] {
        let client = CrmClient::new(config(&host, Vec::new())).expect("a fine URL");
        let refused = client.fetch("good", "").await;
        assert!(
            matches!(refused, Err(CrmError::Private(ip)) if ip.is_loopback()),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_web_address_is_told_at_once() {
    for url in [
        "ftp://example.com/{{ external_id }}",
        "{{ unclosed",
        "no address",
    ] {
        let config = CrmConfig {
            url: url.to_owned(),
            ..config("x", Vec::new())
        };
        assert!(
            matches!(CrmClient::new(config), Err(CrmError::Address(_))),
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_template_cannot_choose_the_host() {
    let url = "http://{{ external_id }}.example/".to_owned();
    let config = CrmConfig {
        url,
        ..config("x", Vec::new())
    };
    let client = CrmClient::new(config).expect("a fine URL");
    assert!(matches!(
        client.fetch("elsewhere", "").await,
        Err(CrmError::Redirected)
    ));
}
