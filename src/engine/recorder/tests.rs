use super::tape::Tape;
use super::writer::PART;
use super::*;
use crate::media::tone::{level_at, sine};
use std::fs;
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// A payload that panics in a test's build.
const PLANT: &[u8] = b"a planted panic";

pub fn planted(payload: &[u8]) {
    assert!(payload != PLANT, "planted");
}

fn call(number: u128) -> CallId {
    CallId(uuid::Uuid::from_u128(number))
}

fn start() -> (Recorder, Receiver<MediaFact>) {
    let (sender, facts) = mpsc::channel();
    let sink: FactSink = Arc::new(move |fact| {
        let _ = sender.send(fact); // a test that has ended does not listen
    });
    (Recorder::start(sink).expect("threads"), facts)
}

fn next(facts: &Receiver<MediaFact>) -> MediaFact {
    facts
        .recv_timeout(Duration::from_secs(10))
        .expect("a fact within 10 s")
}

/// Hands over `seconds` of a tone a channel as if the packets had come in real time since `began`.
fn speak(door: &RecorderDoor, id: CallId, began: Instant, seconds: u64, voices: &[(Channel, f64)]) {
    let tone = |hz| Law::Mu.encode_all(&sine(hz, -12.0, seconds as usize * 8_000));
    let voices: Vec<_> = voices
        .iter()
        .map(|(channel, hz)| (*channel, tone(*hz)))
        .collect();
    for index in 0..seconds * 50 {
        let header = RtpHeader {
            payload_type: 0,
            marker: index == 0,
            sequence: index as u16,
            timestamp: index as u32 * 160,
            ssrc: 1,
        };
        let at = began + Duration::from_millis(index * 20);
        for (channel, bytes) in &voices {
            let payload = &bytes[index as usize * 160..][..160];
            let (channel, law) = (*channel, Law::Mu);
            assert!(door.voice(&Piece {
                call: id,
                channel,
                at,
                header,
                law,
                payload
            }));
        }
    }
}

fn channels(path: &Path) -> (Vec<i16>, Vec<i16>) {
    let mut wav = hound::WavReader::open(path).expect("a WAV file");
    assert_eq!(wav.spec(), super::tape::SPEC);
    let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("whole")).collect();
    let side = |first| samples.iter().skip(first).step_by(2).copied().collect();
    (side(0), side(1))
}

#[test]
fn two_voices_end_in_one_file_on_their_own_sides() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("2026/11/22/one.wav");
    let (recorder, facts) = start();
    let (door, began) = (recorder.door(), Instant::now());
    door.begin(call(1), path.clone(), began);
    speak(
        &door,
        call(1),
        began,
        2,
        &[(Channel::Left, 700.0), (Channel::Right, 1_100.0)],
    );
    door.end(call(1), began + Duration::from_secs(2), 0);
    let bytes = 44 + 2 * 8_000 * 4;
    let told = next(&facts);
    let recorded = MediaFact::Recorded {
        call: call(1),
        path: path.clone(),
        duration_ms: 2_000,
        bytes,
        gap_ms: 0,
        sha256: sha256(&path).ok(),
    };
    assert_eq!(told, recorded);
    let (left, right) = channels(&path);
    for (side, own, other) in [(left, 700.0, 1_100.0), (right, 1_100.0, 700.0)] {
        let middle = &side[4_000..12_000];
        assert!(
            (level_at(middle, own) + 12.0).abs() < 0.5,
            "{}",
            level_at(middle, own)
        );
        assert!(
            level_at(middle, other) < -60.0,
            "{}",
            level_at(middle, other)
        );
    }
    recorder.stop();
}

#[test]
fn a_second_recording_of_the_same_name_does_not_overwrite_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let (recorder, facts) = start();
    let (door, began) = (recorder.door(), Instant::now());
    let mut paths = vec![];
    for _ in 0..2 {
        door.begin(call(1), folder.path().join("same.wav"), began);
        door.end(call(1), began + Duration::from_secs(1), 7);
        let MediaFact::Recorded {
            path, gap_ms: 7, ..
        } = next(&facts)
        else {
            panic!("no file")
        };
        assert!(path.exists());
        paths.push(path.file_name().expect("named").to_owned());
    }
    assert_eq!(paths, ["same.wav", "same-2.wav"]);
    recorder.stop();
}

#[test]
fn a_folder_that_cannot_be_made_fails_that_recording_only() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file"), b"in the way").expect("written");
    let (recorder, facts) = start();
    let (door, began) = (recorder.door(), Instant::now());
    door.begin(call(1), folder.path().join("file/2026/one.wav"), began);
    door.begin(call(2), folder.path().join("two.wav"), began);
    speak(&door, call(1), began, 1, &[(Channel::Left, 700.0)]);
    door.end(call(1), began + Duration::from_secs(1), 0);
    door.end(call(2), began + Duration::from_secs(1), 0);
    assert!(matches!(next(&facts), MediaFact::RecordingFailed { call: id, .. } if id == call(1)));
    assert!(matches!(next(&facts), MediaFact::Recorded { call: id, .. } if id == call(2)));
    recorder.stop();
    assert!(facts.try_recv().is_err(), "one fact a recording");
}

#[test]
fn a_panic_in_one_recording_ends_that_one_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (recorder, facts) = start();
    let (door, began) = (recorder.door(), Instant::now());
    door.begin(call(1), folder.path().join("one.wav"), began);
    door.begin(call(2), folder.path().join("two.wav"), began);
    let header = RtpHeader {
        payload_type: 0,
        marker: false,
        sequence: 1,
        timestamp: 2,
        ssrc: 3,
    };
    let (channel, law) = (Channel::Left, Law::A);
    assert!(door.voice(&Piece {
        call: call(1),
        channel,
        at: began,
        header,
        law,
        payload: PLANT
    }));
    assert!(matches!(next(&facts), MediaFact::RecordingFailed { call: id, .. } if id == call(1)));
    door.end(call(2), began + Duration::from_secs(1), 0);
    assert!(matches!(next(&facts), MediaFact::Recorded { call: id, .. } if id == call(2)));
    recorder.stop();
}

#[test]
fn stopping_the_recorder_finishes_what_is_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("open.wav");
    let (recorder, facts) = start();
    let began = Instant::now();
    recorder.door().begin(call(1), path.clone(), began);
    recorder.stop();
    assert!(matches!(next(&facts), MediaFact::Recorded { .. }));
    assert!(path.exists());
}

#[test]
fn what_was_flushed_before_a_kill_opens_after_repair() {
    let folder = tempfile::tempdir().expect("a folder");
    let day = folder.path().join("2026/11/22");
    let (recorder, _facts) = start();
    let (door, began) = (recorder.door(), Instant::now() - Duration::from_secs(3));
    door.begin(call(1), day.join("cut.wav"), began);
    speak(&door, call(1), began, 3, &[(Channel::Left, 700.0)]);
    // Wait for a flush, then take the file as a kill would leave it: a copy of this moment.
    let part = day.join("cut.wav").with_extension(format!("wav.{PART}"));
    let deadline = Instant::now() + Duration::from_secs(10);
    while fs::metadata(&part).map_or(0, |file| file.len()) < 44 + 80_000 {
        assert!(Instant::now() < deadline, "nothing was flushed");
        std::thread::sleep(Duration::from_millis(50));
    }
    let killed = tempfile::tempdir().expect("a folder");
    let day = killed.path().join("2026/11/22");
    fs::create_dir_all(&day).expect("made");
    let mut bytes = fs::read(&part).expect("readable");
    // Samples that reached the file after the last header update, and half a frame.
    bytes.extend(std::iter::repeat_n(0, 4 * 4_000 + 3));
    fs::write(day.join("cut.wav.part"), &bytes).expect("written");
    fs::write(day.join("empty.wav.part"), b"RIFF").expect("written");
    fs::write(day.join("whole.wav"), b"not ours to touch").expect("written");
    recorder.stop();

    let repaired = repair(killed.path()).expect("readable");
    let frames = (bytes.len() as u64 - 44) / 4;
    let expected = Repaired {
        path: day.join("cut.wav"),
        duration_ms: frames / 8,
    };
    assert_eq!(repaired, [expected]);
    let (left, right) = channels(&day.join("cut.wav"));
    assert_eq!(left.len() as u64, frames);
    assert!((level_at(&left[..16_000], 700.0) + 12.0).abs() < 0.5);
    assert!(right.iter().all(|sample| *sample == 0));
    assert!(
        day.join("empty.wav.part").exists(),
        "kept for a person to look at"
    );
    assert_eq!(repair(killed.path()).expect("readable"), []);
}

#[test]
fn a_folder_that_is_not_there_yet_needs_no_repair() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(
        repair(&folder.path().join("none")).expect("nothing to do"),
        []
    );
}

#[test]
fn beyond_its_limit_the_recorder_refuses_packets_but_no_orders() {
    let (sender, messages) = mpsc::channel();
    let door = RecorderDoor {
        sender,
        queued: Arc::new(AtomicUsize::new(PACKETS_QUEUED_MAX - 1)),
    };
    let header = RtpHeader {
        payload_type: 0,
        marker: false,
        sequence: 1,
        timestamp: 2,
        ssrc: 3,
    };
    let (at, law, channel) = (Instant::now(), Law::A, Channel::Left);
    let piece = Piece {
        call: call(1),
        channel,
        at,
        header,
        law,
        payload: &[0; 160],
    };
    assert!(door.voice(&piece));
    assert!(!door.voice(&piece));
    door.end(call(1), at, 20);
    assert_eq!(messages.try_iter().count(), 2);
}

#[test]
fn a_long_packet_goes_in_pieces_that_lie_side_by_side() {
    let (sender, messages) = mpsc::channel();
    let door = RecorderDoor {
        sender,
        queued: Arc::default(),
    };
    let header = RtpHeader {
        payload_type: 0,
        marker: false,
        sequence: 1,
        timestamp: u32::MAX,
        ssrc: 3,
    };
    let (at, law, channel) = (Instant::now(), Law::A, Channel::Left);
    assert!(door.voice(&Piece {
        call: call(1),
        channel,
        at,
        header,
        law,
        payload: &[9; 480]
    }));
    let pieces: Vec<(u32, usize)> = messages
        .try_iter()
        .map(|message| match message {
            Message::Voice(voice) => (voice.header.timestamp, voice.len),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pieces, [(u32::MAX, 240), (239, 240)]);
}

/// A disk with little room.
struct Full {
    file: Cursor<Vec<u8>>,
    room: usize,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.get_ref().len() + bytes.len() > self.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Full {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[test]
fn a_full_disk_is_an_error_at_the_flush() {
    let began = Instant::now();
    let disk = Full {
        file: Cursor::new(vec![]),
        room: 4_000,
    };
    let mut tape = Tape::new(disk, began).expect("room for a header");
    tape.flush(began + Duration::from_millis(150))
        .expect("room for 50 ms");
    let full = tape.flush(began + Duration::from_millis(500));
    assert!(
        matches!(full, Err(hound::Error::IoError(e)) if e.kind() == io::ErrorKind::StorageFull)
    );
}

#[test]
fn a_call_that_begins_again_goes_on_in_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("moved.wav");
    let (recorder, facts) = start();
    let (door, began) = (recorder.door(), Instant::now());
    let id = call(77);
    door.begin(id, path.clone(), began);
    speak(&door, id, began, 1, &[(Channel::Right, 440.0)]);
    let moved = began + Duration::from_secs(1);
    door.begin(id, path.clone(), moved);
    door.end(id, moved + Duration::from_secs(1), 0);
    door.end(id, moved + Duration::from_secs(1), 0);
    match next(&facts) {
        MediaFact::Recorded {
            path: written,
            duration_ms,
            ..
        } => {
            assert_eq!(written, path, "one file");
            assert!(duration_ms >= 1_900, "{duration_ms}");
        }
        other => panic!("{other:?}"),
    }
    recorder.stop();
    assert!(facts.try_recv().is_err(), "one end");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}
