//! Recordings and lists.

use super::*;

#[tokio::test]
async fn recordings_are_played_in_parts_and_only_by_call_id() {
    let place = place().await;
    let path = format!("/api/v1/recordings/{CALL}");
    let cookie = place.cookie("ana");
    let get = |path: &str| place.get(path).header("cookie", &cookie);
    let whole = get(&path).send().await.unwrap();
    assert_eq!(
        (whole.status().as_u16(), &whole.headers()["content-type"]),
        (200, &"audio/wav".parse().unwrap())
    );
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let bytes = whole.bytes().await.unwrap();
    assert_eq!(bytes.len(), 200_000);

    let part = get(&path)
        .header("range", "bytes=100000-199999")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            part.status().as_u16(),
            part.headers()["content-range"].to_str().unwrap()
        ),
        (206, "bytes 100000-199999/200000")
    );
    assert_eq!(part.bytes().await.unwrap(), bytes[100_000..]);
    let tail = get(&path).header("range", "bytes=-5").send().await.unwrap();
    assert_eq!(tail.bytes().await.unwrap(), bytes[199_995..]);
    let beyond = get(&path)
        .header("range", "bytes=200000-")
        .send()
        .await
        .unwrap();
    assert_eq!(beyond.headers()["content-range"], "bytes */200000");
    assert_eq!(problem_of(beyond).await.0, 416);

    for wrong in [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "r.wav",
        "018f4e2a-0000-7000-8000-000000000002",
        CALL.replace("01", "..").as_str(),
    ] {
        let response = get(&format!("/api/v1/recordings/{wrong}"))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 404, "{wrong}");
    }
    let other = place
        .get(&path)
        .header("cookie", place.cookie("li"))
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(other).await.0, 404);
    assert_eq!(place.get(&path).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let place = place().await;
    let cookie = place.cookie("ana");
    let first: Value = place
        .get("/api/v1/calls")
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        first,
        json!({ "items": [{ "agent": "ana", "cursor": null }], "next": "2" })
    );
    let second = place
        .get("/api/v1/calls?cursor=2")
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(second.json::<Value>().await.unwrap()["next"], Value::Null);
    let refused = place
        .get("/api/v1/leads")
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(refused).await.1["rule"], "no_leads");
    let long = format!("/api/v1/calls?cursor={}", "x".repeat(300));
    assert_eq!(
        problem_of(
            place
                .get(&long)
                .header("cookie", &cookie)
                .send()
                .await
                .unwrap()
        )
        .await
        .0,
        422
    );
}
