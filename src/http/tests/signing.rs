//! Signing in and out, and the certificate.

use super::*;

#[tokio::test]
async fn a_password_signs_in_and_signing_out_ends_it() {
    let place = place().await;
    let sign_in = |agent, password| {
        place
            .ask(Method::POST, "/api/v1/session")
            .body(credentials(agent, password))
            .send()
    };
    let response = sign_in("ana", "correct horse").await.unwrap();
    assert_eq!(response.status(), 204);
    let cookie = response.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        cookie.contains("HttpOnly")
            && cookie.contains("SameSite=Lax")
            && !cookie.contains("Secure"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().unwrap();
    let show = || place.get("/api/v1/session").header("cookie", cookie).send();
    let body: Value = show().await.unwrap().json().await.unwrap();
    assert_eq!(
        body,
        json!({ "agent": { "id": "ana", "name": "Ana", "language": "en" } })
    );
    let out = place
        .ask(Method::DELETE, "/api/v1/session")
        .header("cookie", cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(out.status(), 204);
    assert!(
        out.headers()["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert_eq!(
        problem_of(show().await.unwrap()).await.1["rule"],
        "not_signed_in"
    );
}

#[tokio::test]
async fn wrong_names_and_passwords_look_alike_and_guessing_is_slowed() {
    let place = place().await;
    let sign_in = |agent, password| {
        place
            .ask(Method::POST, "/api/v1/session")
            .body(credentials(agent, password))
            .send()
    };
    let wrong_password = problem_of(sign_in("ana", "wrong").await.unwrap()).await;
    let wrong_name = problem_of(sign_in("nobody", "wrong").await.unwrap()).await;
    let by_link_only = problem_of(sign_in("li", "").await.unwrap()).await;
    assert_eq!(wrong_password.0, 401);
    assert_eq!(wrong_password, wrong_name);
    assert_eq!(wrong_password, by_link_only);
    for _ in 0..4 {
        sign_in("ana", "wrong").await.unwrap();
    }
    let response = sign_in("ana", "correct horse").await.unwrap();
    assert!(
        response.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 1
    );
    assert_eq!(problem_of(response).await.0, 429);
    let garbage = place
        .ask(Method::POST, "/api/v1/session")
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(garbage).await.0, 422);
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let place = place().await;
    let token = place.site.links.issue(&AgentId::new("li"), utc_now());
    let response = place
        .get(&format!("/signin?token={token}"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (303, &"/".parse().unwrap())
    );
    let cookie = response.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let body: Value = place
        .get("/api/v1/session")
        .header("cookie", cookie)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(body["agent"]["language"], "zh");
    let again = place
        .get(&format!("/signin?token={token}"))
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(again).await.1["rule"], "link_used");
    assert_eq!(place.get("/signin").send().await.unwrap().status(), 410);
}

#[tokio::test]
async fn https_has_a_certificate_of_its_own_and_a_host_cookie() {
    let place = place().await;
    let url = format!("https://{}/api/v1/session", place.https);
    let response = place
        .client
        .post(url)
        .body(credentials("ana", "correct horse"))
        .send()
        .await
        .unwrap();
    let cookie = response.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        cookie.starts_with("__Host-foredial=") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
    let plain = cookie.split(';').next().unwrap();
    // The cookie of one scheme is none of the other's.
    assert_eq!(
        place
            .get("/api/v1/session")
            .header("cookie", plain)
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
    use std::os::unix::fs::PermissionsExt;
    for file in ["certificate.key", "admin.key", "sessions.json"] {
        let mode = std::fs::metadata(place.folder.path().join("state").join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}
