//! Legs that speak Opus, beside others and among themselves.

use super::*;
use crate::media::opus::{Opus, PACKET_BYTES_MAX, SAMPLES_MAX};

const PAYLOAD_TYPE: u8 = 111;
const EVENT: u8 = 110;
/// Ticks of Opus's clock in 20 ms.
const TICKS: u32 = 960;

/// A phone of the tests' own whose packets are Opus.
struct Speaker {
    phone: Phone,
    opus: Opus,
    stamp: u32,
    /// Of `phone.heard`, what is decoded already.
    read: usize,
    sound: Vec<i16>,
}

impl House {
    fn speaker(&self, leg: LegId) -> Speaker {
        let phone = self.phone(leg, Law::A);
        self.worker.send(MediaCommand::AimTrunk {
            leg,
            remote: phone.socket.local_addr().expect("bound"),
            coding: Coding::Opus,
            payload_type: PAYLOAD_TYPE,
            telephone_event: Some(EVENT),
            send: true,
            receive: true,
            srtp: None,
        });
        Speaker {
            phone,
            opus: Opus::new().expect("memory"),
            stamp: u32::MAX - 5 * TICKS,
            read: 0,
            sound: vec![],
        }
    }
}

impl Speaker {
    fn send(&mut self, payload_type: u8, payload: &[u8]) {
        let header = RtpHeader {
            payload_type,
            marker: false,
            sequence: self.phone.sequence,
            timestamp: self.stamp,
            ssrc: self.phone.ssrc,
        };
        let mut datagram = [0; 500];
        let len = write(&header, payload, &mut datagram).expect("it fits");
        let sent = self.phone.socket.send_to(&datagram[..len], self.phone.to);
        sent.expect("sent");
        self.phone.sequence = self.phone.sequence.wrapping_add(1);
    }

    fn say(&mut self, voice: &[u8]) {
        let mut packet = [0; PACKET_BYTES_MAX];
        let packet = self
            .opus
            .speak(Law::A, voice, &mut packet)
            .expect("a frame")
            .to_vec();
        self.send(PAYLOAD_TYPE, &packet);
        self.stamp = self.stamp.wrapping_add(TICKS);
    }

    fn listen(&mut self) {
        self.phone.listen();
        for packet in &self.phone.heard[self.read..] {
            let mut voice = [0; SAMPLES_MAX];
            if packet.payload_type != PAYLOAD_TYPE {
                continue;
            }
            let heard = self
                .opus
                .hear(&packet.header(), &packet.payload, Law::A, &mut voice);
            let (_, voice) = heard.expect("in order");
            self.sound
                .extend(voice.iter().map(|byte| Law::A.decode(*byte)));
        }
        self.read = self.phone.heard.len();
    }

    /// What came so far is of no interest.
    fn forget(&mut self) {
        self.phone.listen();
        self.phone.heard.clear();
        self.read = 0;
        self.sound.clear();
    }

    /// 20 ms a packet, or a pause that a busy machine made.
    fn assert_its_clock(&self) {
        let voice = self
            .phone
            .heard
            .iter()
            .filter(|it| it.payload_type == PAYLOAD_TYPE);
        let stamps: Vec<u32> = voice.map(|packet| packet.timestamp).collect();
        assert!(stamps.len() > 10, "{}", stamps.len());
        for pair in stamps.windows(2) {
            let step = pair[1].wrapping_sub(pair[0]);
            assert!(step.is_multiple_of(TICKS) && step < 50 * TICKS, "{step}");
        }
    }
}

/// Half a second of both in real time.
fn speak(speakers: &mut [(&mut Speaker, f64)], others: &mut [(&mut Phone, f64)]) {
    let tone = |hz: f64| Law::A.encode_all(&sine(hz, -12.0, 25 * 160));
    let tones: Vec<Vec<u8>> = speakers.iter().map(|(_, hz)| tone(*hz)).collect();
    let of_others: Vec<Vec<u8>> = others
        .iter()
        .map(|(phone, hz)| phone.law.encode_all(&sine(*hz, -12.0, 25 * 160)))
        .collect();
    let mut due = Instant::now();
    others.iter_mut().for_each(|(phone, _)| phone.pause());
    for frame in 0..25 {
        // A machine too busy for real time: a pause in the talk, on everybody's clock.
        while due + FRAME < Instant::now() {
            due += FRAME;
            for (speaker, _) in speakers.iter_mut() {
                speaker.stamp = speaker.stamp.wrapping_add(TICKS);
            }
            others.iter_mut().for_each(|(phone, _)| phone.frame += 1);
        }
        for ((speaker, _), tone) in speakers.iter_mut().zip(&tones) {
            speaker.say(&tone[frame * 160..][..160]);
        }
        for ((phone, _), tone) in others.iter_mut().zip(&of_others) {
            phone.send(phone.law.payload_type(), &tone[frame * 160..][..160]);
        }
        std::thread::sleep(FRAME);
        speakers
            .iter_mut()
            .for_each(|(speaker, _)| speaker.listen());
        others.iter_mut().for_each(|(phone, _)| phone.listen());
    }
}

fn loud(sound: &[i16], hz: f64, other: f64) {
    let sound = &sound[sound.len() / 3..];
    assert_level(sound, hz, -12.0, 1.5);
    assert!(level_at(sound, other) < -40.0, "{}", level_at(sound, other));
}

/// Somewhere in it a packet of the tone and nothing else; a busy machine's pauses are around it.
fn recorded(side: &[i16], hz: f64, other: f64) {
    let level = |part: &&[i16]| level_at(part, hz);
    let best = side.windows(160).step_by(20);
    let best = best.max_by(|a, b| level(a).total_cmp(&level(b)));
    let best = best.expect("20 ms");
    assert_level(best, hz, -12.0, 2.0);
    assert!(level_at(best, other) < -30.0, "{}", level_at(best, other));
}

#[test]
fn opus_and_g711_hear_each_other_and_both_are_recorded() {
    let house = House::new();
    let mut opus = house.speaker(A);
    let mut phone = house.phone(B, Law::Mu);
    house.bridge();
    house.record(A, B);
    std::thread::sleep(FRAME * 3);
    opus.forget();
    phone.heard.clear();
    speak(&mut [(&mut opus, 700.0)], &mut [(&mut phone, 1_100.0)]);
    phone.assert_one_stream();
    loud(&phone.sound(), 700.0, 1_100.0);
    loud(&opus.sound, 1_100.0, 700.0);
    opus.assert_its_clock();
    let (path, _) = house.stop_recording();
    let (left, right) = channels(&path);
    recorded(&left, 700.0, 1_100.0);
    recorded(&right, 1_100.0, 700.0);
    house.end();
}

#[test]
fn between_two_opus_legs_packets_pass_as_they_are_until_one_is_made_softer() {
    let house = House::new();
    let (mut a, mut b) = (house.speaker(A), house.speaker(B));
    house.bridge();
    std::thread::sleep(FRAME * 3);
    a.forget();
    b.forget();
    let silence = [Law::A.silence(); 160];
    let mut packet = [0; PACKET_BYTES_MAX];
    let said = a
        .opus
        .speak(Law::A, &silence, &mut packet)
        .expect("a frame")
        .to_vec();
    for _ in 0..5 {
        a.send(PAYLOAD_TYPE, &said);
        a.stamp = a.stamp.wrapping_add(TICKS);
        std::thread::sleep(FRAME);
    }
    b.listen();
    let same = |packet: &&RtpPacket| packet.payload == said;
    assert_eq!(b.phone.heard.iter().filter(same).count(), 5);
    house.worker.send(MediaCommand::Gain { leg: A, db: -12.0 });
    std::thread::sleep(FRAME * 2);
    a.forget();
    b.forget();
    speak(&mut [(&mut a, 700.0), (&mut b, 1_100.0)], &mut []);
    let third = b.sound.len() / 3;
    assert_level(&b.sound[third..], 700.0, -24.0, 1.5);
    loud(&a.sound, 1_100.0, 700.0);
    house.end();
}

#[test]
fn a_digit_lasts_as_long_on_the_other_clock() {
    let house = House::new();
    let mut opus = house.speaker(A);
    let mut phone = house.phone(B, Law::Mu);
    house.bridge();
    speak(&mut [(&mut opus, 700.0)], &mut [(&mut phone, 1_100.0)]);
    // 100 ms of a 5: 4,800 ticks there, 800 here.
    opus.send(EVENT, &[5, 0x8A, 0x12, 0xC0]);
    phone.send(101, &[7, 0x8A, 0x03, 0x20]);
    std::thread::sleep(FRAME * 3);
    opus.listen();
    phone.listen();
    let event = |heard: &[RtpPacket], number| -> Vec<u8> {
        let found = heard.iter().find(|packet| packet.payload_type == number);
        found.expect("an event").payload.to_vec()
    };
    assert_eq!(event(&phone.heard, 101), [5, 0x8A, 0x03, 0x20]);
    assert_eq!(event(&opus.phone.heard, EVENT), [7, 0x8A, 0x12, 0xC0]);
    house.end();
}
