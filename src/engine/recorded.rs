//! What the recorder told of a call's file: the row that says where it lies, or why it does not.

use std::path::Path;

use super::call::Recording;
use super::switch::Switch;
use super::writes::Write;
use crate::id::{AttemptId, CallId};
use crate::store;

impl Switch {
    pub(super) fn recorded(
        &mut self,
        call: CallId,
        path: &Path,
        duration_ms: u64,
        bytes: u64,
        gap_ms: u64,
        sha256: Option<String>,
    ) {
        self.counters.recordings += 1;
        if gap_ms > 0 {
            tracing::warn!(%call, gap_ms, "the recorder could not keep up; silence was inserted");
        }
        let attempt = AttemptId(call.0);
        let path = self.recording_name(path);
        let command = store::Command::RecordingDone {
            attempt,
            path,
            duration_ms,
            bytes,
            sha256,
        };
        self.write(
            Write::Outcome {
                command: Box::new(command.clone()),
            },
            command,
        );
    }

    pub(super) fn recording_failed(&mut self, call: CallId, reason: &str) {
        self.counters.recordings_failed += 1;
        tracing::error!(%call, reason, "recording failed; the call goes on");
        let command = store::Command::RecordingFailed {
            attempt: AttemptId(call.0),
            why: reason.to_owned(),
        };
        self.write(
            Write::Outcome {
                command: Box::new(command.clone()),
            },
            command,
        );
        self.mark_recording(call, Recording::Failed);
    }

    pub(super) fn mark_recording(&mut self, call: CallId, recording: Recording) {
        if let Some(call) = self.calls.get_mut(&call) {
            call.recording = recording;
            let (agent, id) = (call.agent.clone(), call.id);
            self.desk(&agent);
            self.forget_call(id);
        }
    }

    /// The recording's path below the recordings folder, as the store keeps it.
    pub(super) fn recording_name(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.config.recordings).unwrap_or(path);
        below.to_string_lossy().into_owned()
    }
}
