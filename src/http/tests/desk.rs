//! The desk: sockets, commands and what the page is shown.

use super::*;

#[tokio::test]
async fn sockets_open_for_our_pages_and_configured_ones_only() {
    let place = place().await;
    let (cookie, own) = (place.cookie("ana"), place.origin());
    let refused = |headers: Vec<(&'static str, String)>| {
        let place = &place;
        async move {
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            place
                .open("/api/v1/desk", &headers)
                .await
                .err()
                .map(|status| status.as_u16())
        }
    };
    assert_eq!(refused(vec![("origin", own.clone())]).await, Some(401));
    assert_eq!(
        refused(vec![
            ("cookie", "foredial=guess".into()),
            ("origin", own.clone())
        ])
        .await,
        Some(401)
    );
    assert_eq!(refused(vec![("cookie", cookie.clone())]).await, Some(403));
    for foreign in [
        "http://evil.example",
        "null",
        "https://crm.example.com.evil.example",
    ] {
        assert_eq!(
            refused(vec![("cookie", cookie.clone()), ("origin", foreign.into())]).await,
            Some(403),
            "{foreign}"
        );
    }
    let other_scheme = format!("https://{}", place.http);
    assert_eq!(
        refused(vec![("cookie", cookie.clone()), ("origin", other_scheme)]).await,
        Some(403)
    );
    assert_eq!(
        refused(vec![("cookie", cookie.clone()), ("origin", own)]).await,
        None
    );
    assert_eq!(
        refused(vec![
            ("cookie", cookie),
            ("origin", "https://crm.example.com".into())
        ])
        .await,
        None
    );
}

#[tokio::test]
async fn a_desk_is_shown_and_commands_are_answered() {
    let mut place = place().await;
    let mut socket = place.open_desk().await;
    assert_eq!(place.heard().await, "desk ana");
    assert_eq!(place.heard().await, "presence ana 1 true");
    let first = text(&mut socket).await;
    assert_eq!(
        first,
        json!({ "type": "desk", "epoch": "e1", "seq": 1, "desk": { "state": { "kind": "ready" }, "n": 1 } })
    );
    place.desk.send(desk(2)).unwrap();
    assert_eq!(text(&mut socket).await["seq"], 2);

    let command = |id: u64, command: Value| {
        Message::text(json!({ "type": "command", "id": id, "command": command }).to_string())
    };
    socket
        .send(command(1, json!({ "cmd": "dial", "token": 5, "key": KEY })))
        .await
        .unwrap();
    assert_eq!(
        text(&mut socket).await,
        json!({ "type": "reply", "id": 1, "ok": true })
    );
    assert_eq!(
        place.heard().await,
        format!("ana Dial {{ token: 5, key: {KEY}, phone: None }}")
    );
    socket
        .send(command(2, json!({ "cmd": "extend", "token": 5 })))
        .await
        .unwrap();
    let reply = text(&mut socket).await;
    assert_eq!((&reply["id"], &reply["ok"]), (&json!(2), &json!(false)));
    assert_eq!(
        (&reply["problem"]["status"], &reply["problem"]["rule"]),
        (&json!(409), &json!("stale_token"))
    );
    socket
        .send(command(3, json!({ "cmd": "volume", "db": 99 })))
        .await
        .unwrap();
    assert_eq!(text(&mut socket).await["problem"]["rule"], "out_of_bounds");
    socket
        .send(command(4, json!({ "cmd": "explode" })))
        .await
        .unwrap();
    assert_eq!(text(&mut socket).await["problem"]["rule"], "bad_body");
    assert_eq!(place.heard().await, "ana Extend { token: 5 }");

    socket.close(None).await.unwrap();
    assert_eq!(place.heard().await, "presence ana 1 false");
}

#[tokio::test]
async fn the_desk_after_a_command_comes_before_its_reply() {
    let place = place().await;
    let mut socket = place.open_desk().await;
    assert_eq!(text(&mut socket).await["seq"], 1);
    let click = r#"{"type":"command","id":1,"command":{"cmd":"hang_up"}}"#;
    socket.send(Message::text(click)).await.unwrap();
    assert_eq!(text(&mut socket).await["seq"], 9);
    assert_eq!(text(&mut socket).await["id"], 1);
}

#[tokio::test]
async fn nonsense_closes_a_desk() {
    let mut place = place().await;
    let mut socket = place.open_desk().await;
    socket.send(Message::text("hello")).await.unwrap();
    let frame = loop {
        if let Message::Close(frame) = within(socket.next()).await.unwrap().unwrap() {
            break frame.unwrap();
        }
    };
    assert_eq!(u16::from(frame.code), socket::POLICY);
    assert_eq!(place.heard().await, "desk ana");
    assert_eq!(place.heard().await, "presence ana 1 true");
    assert_eq!(place.heard().await, "presence ana 1 false");
}

#[tokio::test]
async fn a_page_that_answers_no_ping_is_absent_and_one_that_does_stays() {
    let quick = site::Heartbeat {
        ping_every: Duration::from_millis(40),
        dead_after: Duration::from_millis(400),
    };
    let mut place = place_with(|site| site.heartbeat = quick).await;
    let mut lively = place.open_desk().await;
    assert_eq!(place.heard().await, "desk ana");
    assert_eq!(place.heard().await, "presence ana 1 true");
    // Reading is what answers pings.
    let reading = tokio::spawn(async move { while lively.next().await.is_some() {} });
    let silent = place.open_desk().await;
    assert_eq!(place.heard().await, "desk ana");
    assert_eq!(place.heard().await, "presence ana 2 true");
    assert_eq!(place.heard().await, "presence ana 2 false");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(
        place.told.try_recv().is_err(),
        "the lively page was given up"
    );
    drop(silent);
    reading.abort();
}

#[tokio::test]
async fn signing_out_closes_the_desk() {
    let quick = site::Heartbeat {
        ping_every: Duration::from_millis(40),
        dead_after: Duration::from_secs(5),
    };
    let place = place_with(|site| site.heartbeat = quick).await;
    let (cookie, origin) = (place.cookie("ana"), place.origin());
    let mut socket = place
        .open("/api/v1/desk", &[("cookie", &cookie), ("origin", &origin)])
        .await
        .unwrap();
    place
        .ask(Method::DELETE, "/api/v1/session")
        .header("cookie", cookie)
        .send()
        .await
        .unwrap();
    let code = loop {
        if let Message::Close(frame) = within(socket.next()).await.unwrap().unwrap() {
            break u16::from(frame.unwrap().code);
        }
    };
    assert_eq!(code, socket::SIGNED_OUT);
}

#[tokio::test]
async fn commands_by_rest_answer_with_the_desk_or_a_problem() {
    let mut place = place().await;
    let cookie = place.cookie("ana");
    let post = |body: Value| {
        place
            .ask(Method::POST, "/api/v1/agent/commands")
            .header("cookie", &cookie)
            .body(body.to_string())
    };
    let ready = post(json!({ "cmd": "ready" })).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    assert_eq!(ready.headers()["cache-control"], "no-store");
    assert_eq!(ready.json::<Value>().await.unwrap()["desk"]["n"], 7);
    let stale = post(json!({ "cmd": "extend", "token": 1 }))
        .send()
        .await
        .unwrap();
    assert_eq!(
        problem_of(stale).await,
        (
            409,
            json!({
                "type": "about:blank", "title": "Stale", "status": 409, "detail": "Another has it.", "rule": "stale_token",
            })
        )
    );
    let bad = post(json!({ "cmd": "dial", "token": "x" }))
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(bad).await.0, 422);
    let foreign = post(json!({ "cmd": "ready" }))
        .header("origin", "http://evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(foreign).await.1["rule"], "origin");
    let nobody = place
        .ask(Method::POST, "/api/v1/agent/commands")
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(nobody).await.0, 401);
    assert_eq!(place.heard().await, "ana Ready");
    assert_eq!(place.heard().await, "ana Extend { token: 1 }");
    assert!(
        place.told.try_recv().is_err(),
        "a refused request reached the engine"
    );
}

#[tokio::test]
async fn an_engine_that_is_gone_or_full_is_a_503() {
    let (handle, inputs) = Handle::new(1);
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move {
            handle
                .command(AgentId::new("ana"), AgentCommand::Ready)
                .await
        }
    });
    tokio::task::yield_now().await;
    let full = handle
        .command(AgentId::new("ana"), AgentCommand::Ready)
        .await
        .unwrap_err();
    assert_eq!((full.status, full.rule), (503, "overload"));
    drop(inputs);
    assert_eq!(waiting.await.unwrap().unwrap_err().rule, "stopped");
    assert!(handle.desk(&AgentId::new("ana")).await.is_none());
    assert!(handle.snapshot().await.is_null());
}
