// The switch's side of the seat, in a browser: answers every offer, plays a tone, and listens to what the page sends.
const hz = Number(new URLSearchParams(location.search).get('hz') ?? '440');
const context = new AudioContext();
const tone = context.createOscillator();
const gain = context.createGain();
const out = context.createMediaStreamDestination();
tone.frequency.value = hz;
gain.gain.value = 0.3;
tone.connect(gain).connect(out);
tone.start();

window.seat = { connections: 0, remote: null, peer: null };

const socket = new WebSocket(`ws://${location.host}/mock/answer`);
socket.onmessage = async ({ data }) => {
  const { id, sdp } = JSON.parse(data);
  window.seat.peer?.close();
  const peer = new RTCPeerConnection();
  window.seat.peer = peer;
  window.seat.connections += 1;
  peer.ontrack = ({ streams, track }) => {
    window.seat.remote = streams[0] ?? new MediaStream([track]);
    const sink = new Audio(); // Chromium feeds a remote stream to Web Audio only while an element plays it
    sink.muted = true;
    sink.srcObject = window.seat.remote;
    void sink.play();
  };
  peer.addTrack(out.stream.getAudioTracks()[0], out.stream);
  await peer.setRemoteDescription({ type: 'offer', sdp });
  await peer.setLocalDescription(await peer.createAnswer());
  await new Promise((done) => {
    if (peer.iceGatheringState === 'complete') done();
    else peer.onicegatheringstatechange = () => peer.iceGatheringState === 'complete' && done();
  });
  socket.send(JSON.stringify({ id, sdp: peer.localDescription.sdp }));
};
socket.onopen = () => (window.seat.open = true);
