//! SIP over WebSocket.

use super::*;

#[tokio::test]
async fn sip_goes_both_ways_one_message_a_frame() {
    let mut place = place().await;
    let (cookie, origin) = (place.cookie("ana"), place.origin());
    let plain = [("cookie", cookie.as_str()), ("origin", origin.as_str())];
    assert_eq!(place.open("/sip", &plain).await.unwrap_err(), 400);
    let other = [plain[0], plain[1], ("sec-websocket-protocol", "xmpp")];
    assert_eq!(place.open("/sip", &other).await.unwrap_err(), 400);
    let sip = [plain[0], plain[1], ("sec-websocket-protocol", "sip")];
    let mut socket = place.open("/sip", &sip).await.unwrap();
    assert_eq!(place.heard().await, "sip_open ana false");
    socket.send(Message::text("\r\n\r\n")).await.unwrap();
    socket.send(Message::text("OPTIONS one")).await.unwrap();
    socket
        .send(Message::binary(b"OPTIONS two".to_vec()))
        .await
        .unwrap();
    assert_eq!(place.heard().await, "sip 9 OPTIONS one");
    assert_eq!(place.heard().await, "sip 9 OPTIONS two");
    place
        .to_page
        .send(b"SIP/2.0 200 OK".to_vec())
        .await
        .unwrap();
    place.to_page.send(vec![0xff, 0xfe]).await.unwrap();
    let mut frames = Vec::new();
    while frames.len() < 2 {
        match within(socket.next()).await.unwrap().unwrap() {
            Message::Ping(_) => {}
            frame => frames.push(frame),
        }
    }
    assert_eq!(
        frames,
        [
            Message::text("SIP/2.0 200 OK"),
            Message::binary(vec![0xff, 0xfe])
        ]
    );
    socket.close(None).await.unwrap();
    assert_eq!(place.heard().await, "sip_closed 9");
}

#[tokio::test]
async fn a_sip_flood_or_a_giant_closes_its_socket() {
    for flood in [true, false] {
        let mut place = place().await;
        let (cookie, origin) = (place.cookie("ana"), place.origin());
        let headers = [
            ("cookie", cookie.as_str()),
            ("origin", &origin),
            ("sec-websocket-protocol", "sip"),
        ];
        let mut socket = place.open("/sip", &headers).await.unwrap();
        if flood {
            for _ in 0..600 {
                // Fails once the other side has closed.
                let _ = socket.feed(Message::text("OPTIONS")).await;
            }
            let _ = socket.flush().await;
        } else {
            let _ = socket
                .send(Message::text("x".repeat(socket::MESSAGE_BYTES_MAX + 1)))
                .await;
        }
        while place.heard().await != "sip_closed 9" {}
    }
}
