//! What the key of the state folder opens.

use super::*;

#[tokio::test]
async fn the_admin_api_needs_the_key_of_the_state_folder() {
    let mut place = place().await;
    let key = std::fs::read_to_string(AdminKey::path(&place.folder.path().join("state"))).unwrap();
    let snapshot = |key: &str| place.get("/api/v1/admin/snapshot").bearer_auth(key).send();
    assert_eq!(
        snapshot(&key).await.unwrap().json::<Value>().await.unwrap()["counters"]["dials"],
        4
    );
    assert_eq!(problem_of(snapshot("guess").await.unwrap()).await.0, 401);
    let agent = place
        .get("/api/v1/admin/snapshot")
        .header("cookie", place.cookie("ana"))
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(agent).await.0, 403);

    let link = |agent: &str| {
        let body = json!({ "agent": agent }).to_string();
        place
            .ask(Method::POST, "/api/v1/admin/sign-in-links")
            .bearer_auth(&key)
            .body(body)
            .send()
    };
    let made: Value = link("li").await.unwrap().json().await.unwrap();
    let url = made["url"].as_str().unwrap();
    assert!(
        url.starts_with(&format!("http://{}/signin?token=", place.http)),
        "{url}"
    );
    assert_eq!(place.client.get(url).send().await.unwrap().status(), 303);
    assert_eq!(problem_of(link("nobody").await.unwrap()).await.0, 404);
    let drain = place
        .ask(Method::POST, "/api/v1/admin/drain")
        .bearer_auth(&key)
        .send()
        .await
        .unwrap();
    assert_eq!(drain.status(), 202);
    assert_eq!(place.heard().await, "drain");
}

#[tokio::test]
async fn a_trace_is_for_the_admin_only_and_shows_what_was_asked_for() {
    let place = place().await;
    assert_eq!(
        place.get("/api/v1/trace").send().await.unwrap().status(),
        401
    );
    let agent = place
        .get("/api/v1/trace")
        .header("cookie", place.cookie("ana"));
    assert_eq!(agent.send().await.unwrap().status(), 403);
    let key = std::fs::read_to_string(place.folder.path().join("state/admin.key")).unwrap();
    let traced = async |query: &str| {
        let path = format!("/api/v1/trace?{query}");
        let answer = place.get(&path).bearer_auth(&key).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    };
    let all = traced("").await;
    assert_eq!(all.lines().count(), 1);
    let line: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(
        (&line["call_id"], &line["way"]),
        (&json!("a+b@c"), &json!("in"))
    );
    assert_eq!(traced("number=101&call=a%2Bb%40c").await, all);
    assert_eq!(traced("number=102").await, "");
    assert_eq!(traced("address=127.0.27.9").await, "");
    let wrong = place.get("/api/v1/trace?adress=1").bearer_auth(&key);
    assert_eq!(problem_of(wrong.send().await.unwrap()).await.0, 400);
}

#[tokio::test]
async fn a_switch_without_a_file_has_nothing_to_reload_and_no_call_of_that_name() {
    let place = place().await;
    let key = std::fs::read_to_string(place.folder.path().join("state/admin.key")).unwrap();
    let ask = |method: Method, path: &str| place.ask(method, path).bearer_auth(&key).send();
    let reload = ask(Method::POST, "/api/v1/admin/reload").await.unwrap();
    assert_eq!(problem_of(reload).await.1["rule"], "no_file");
    let call = ask(Method::GET, &format!("/api/v1/admin/calls/{CALL}"))
        .await
        .unwrap();
    assert_eq!(call.status(), 200);
    let none = ask(Method::GET, "/api/v1/admin/calls/other").await.unwrap();
    assert_eq!(none.status(), 404);
    let nameless = ask(Method::DELETE, "/api/v1/admin/calls/other")
        .await
        .unwrap();
    assert_eq!(nameless.status(), 404);
}

#[tokio::test]
async fn phones_are_listed_added_and_removed_by_the_admin() {
    let mut place = place().await;
    let key = std::fs::read_to_string(place.folder.path().join("state/admin.key")).unwrap();
    let phones = "/api/v1/admin/phones";
    assert_eq!(place.get(phones).send().await.unwrap().status(), 401);
    let list = place.get(phones).bearer_auth(&key).send().await.unwrap();
    assert_eq!(list.json::<Value>().await.unwrap()[0]["user"], "101");
    let add = |body: &'static str| {
        let ask = place.ask(Method::POST, phones).bearer_auth(&key);
        ask.body(body).send()
    };
    let added = add("{\"user\":\"104\",\"md5_only\":true}").await.unwrap();
    assert_eq!(added.status(), 201);
    let told: Value = added.json().await.unwrap();
    assert_eq!(told["user"], "104");
    assert_eq!(told["password"].as_str().unwrap().len(), 24);
    let again = problem_of(add("{\"user\":\"101\"}").await.unwrap()).await;
    assert_eq!(
        (again.0, again.1["rule"].as_str()),
        (409, Some("phone_exists"))
    );
    for body in ["{\"user\":\"a b\"}", "{\"user\":1}", "{}"] {
        assert_eq!(problem_of(add(body).await.unwrap()).await.0, 422, "{body}");
    }
    let gone = place
        .ask(Method::DELETE, "/api/v1/admin/phones/104")
        .bearer_auth(&key);
    assert_eq!(gone.send().await.unwrap().status(), 204);
    let noted = place.heard().await;
    assert!(
        noted.contains("Add") && noted.contains("Secret(..)"),
        "{noted}"
    );
}
