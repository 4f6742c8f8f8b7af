//! The command line as people meet it: one clear line for every mistake, and exit codes.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn foredial(dir: &Path, line: &[&str]) -> Output {
    command(dir, line).output().expect("the binary runs")
}

fn command(dir: &Path, line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foredial"));
    command.args(line).current_dir(dir).stdin(Stdio::null());
    command
}

fn good(dir: &Path, line: &[&str]) -> String {
    let output = foredial(dir, line);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What was said about a mistake; nothing goes to stdout.
fn wrong(dir: &Path, line: &[&str]) -> String {
    let output = foredial(dir, line);
    assert_eq!(output.status.code(), Some(1), "{line:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{line:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn reference() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/config/foredial.toml").to_owned()
}

#[test]
fn check_reports_every_error_with_its_place() {
    let dir = folder();
    assert!(good(dir.path(), &["check", "--config", &reference()]).contains("good (0 trunks"));
    let text = "[sip]\nlisten = \"here\"\n[httpp]\n";
    std::fs::write(dir.path().join("bad.toml"), text).unwrap();
    let said = wrong(dir.path(), &["check", "--config", "bad.toml"]);
    assert!(
        said.contains("bad.toml:2:10: `here` is not an address with a port"),
        "{said}"
    );
    assert!(
        said.contains("bad.toml:3:2: unknown key `httpp` at the top"),
        "{said}"
    );
    assert!(
        said.contains("did you mean `http`?") && said.ends_with("bad.toml: 2 errors\n"),
        "{said}"
    );
    let said = wrong(dir.path(), &["run", "--config", "nowhere.toml"]);
    assert!(
        said.contains("nowhere.toml: cannot be read") && said.contains("--config"),
        "{said}"
    );
}

#[test]
fn what_config_show_prints_is_a_configuration() {
    let dir = folder();
    let shown = good(dir.path(), &["config", "show", "--config", &reference()]);
    assert!(shown.contains("rtp_ports = \"10000-20000\""), "{shown}");
    std::fs::write(dir.path().join("shown.toml"), &shown).unwrap();
    assert_eq!(
        good(dir.path(), &["config", "show", "--config", "shown.toml"]),
        shown
    );
}

#[test]
fn secrets_are_shown_to_no_program_and_a_difference_is_told_without_them() {
    let dir = folder();
    let phone = |password: &str| format!("[[phone]]\nuser = \"101\"\npassword = \"{password}\"\n");
    std::fs::write(dir.path().join("a.toml"), phone("hunter1")).unwrap();
    std::fs::write(dir.path().join("b.toml"), phone("hunter2")).unwrap();
    let show = [
        "config",
        "show",
        "--effective",
        "--redact",
        "--config",
        "a.toml",
    ];
    let shown = good(dir.path(), &show);
    assert!(shown.contains("password = \"…\"") && !shown.contains("hunter"));
    let said = wrong(
        dir.path(),
        &["config", "show", "--no-redact", "--config", "a.toml"],
    );
    assert!(said.contains("on a terminal only"), "{said}");
    assert_eq!(
        good(dir.path(), &["config", "diff", "a.toml", "b.toml"]),
        "~ phone 101: password (another one)\n"
    );
    assert_eq!(
        good(dir.path(), &["config", "diff", "a.toml", "a.toml"]),
        "no difference\n"
    );
}

#[test]
fn ctl_takes_its_file_before_and_after_the_verb_and_even_with_a_mistake_in_it() {
    let dir = folder();
    std::fs::write(
        dir.path().join("f.toml"),
        "[sip]\nlisten = 1\n[state]\nfolder = \"here\"\n",
    )
    .unwrap();
    for line in [
        ["ctl", "--config", "f.toml", "calls"],
        ["ctl", "calls", "--config", "f.toml"],
    ] {
        let said = wrong(dir.path(), &line);
        assert!(said.contains("no switch has run here: here/"), "{said}");
    }
}

#[test]
fn leads_are_imported_explained_and_exported() {
    let dir = folder();
    let csv = "external_id,name,phone,time_zone,product\nL1,王芳,+8613800138000,Asia/Shanghai,=1+1\nL2,Nobody,12,,\n";
    std::fs::write(dir.path().join("leads.csv"), csv).unwrap();
    let output = foredial(dir.path(), &["import", "leads.csv", "--list", "demo"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.starts_with("1 leads of 1 contacts imported into list `demo` of campaign `demo`"),
        "{said}"
    );
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("line 3"),
        "the bad number is named by its line"
    );

    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(dir.path().join("state"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(
        mode & 0o777,
        0o700,
        "customers are for the owner's eyes only"
    );
    let counts = good(dir.path(), &["explain", "campaign", "demo"]);
    assert_eq!(
        counts.split_whitespace().collect::<Vec<_>>(),
        ["1", "ready"]
    );
    let lead: serde_json::Value =
        serde_json::from_str(&good(dir.path(), &["explain", "lead", "1"])).unwrap();
    assert_eq!(lead["phones"][0]["e164"], "+8613800138000");
    let exported = good(dir.path(), &["export", "--campaign", "demo"]);
    assert!(
        exported.starts_with('\u{feff}') && exported.contains("王芳"),
        "{exported}"
    );
    assert!(
        !exported.contains(",=1+1"),
        "a spreadsheet would run it: {exported}"
    );

    assert!(
        wrong(dir.path(), &["import", "gone.csv", "--list", "demo"])
            .contains("gone.csv cannot be read")
    );
    let said = wrong(dir.path(), &["import", "leads.csv", "--list", "other"]);
    assert!(
        said.contains("no campaign has the list `other`") && said.contains("--campaign: demo"),
        "{said}"
    );
    assert!(wrong(dir.path(), &["explain", "lead", "99"]).contains("there is no lead 99"));
    assert!(wrong(dir.path(), &["export", "--campaign", "x"]).contains("choose one of: demo"));
}

#[test]
fn a_taken_port_is_told_with_its_address_its_key_and_the_remedy() {
    let dir = folder();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let sip = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (http, sip_address) = (http.local_addr().unwrap(), sip.local_addr().unwrap());
    let write = |sip: &str, http: &str| {
        let text =
            format!("[sip]\nlisten = \"{sip}\"\n[http]\nlisten = \"{http}\"\ntls_listen = \"\"\n");
        std::fs::write(dir.path().join("f.toml"), text).unwrap();
    };
    write(&sip_address.to_string(), "127.0.0.1:0");
    let said = wrong(dir.path(), &["run", "--config", "f.toml"]);
    assert_eq!(
        said,
        format!(
            "foredial: [sip] listen = \"{sip_address}\" (UDP): the port is taken; stop what uses it or change listen\n"
        )
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    assert_ne!(taken, http);
    write("127.0.0.1:0", &taken.to_string());
    let said = wrong(dir.path(), &["run", "--config", "f.toml"]);
    assert!(
        said.contains(&format!("[http] listen = \"{taken}\": the port is taken")),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn ctl_without_a_switch_says_what_to_do() {
    let dir = folder();
    let said = wrong(dir.path(), &["ctl", "snapshot"]);
    assert!(
        said.contains("no switch has run here") && said.contains("--dir"),
        "{said}"
    );
    std::fs::create_dir(dir.path().join("state")).unwrap();
    std::fs::write(dir.path().join("state/admin.key"), "k".repeat(64)).unwrap();
    let said = wrong(
        dir.path(),
        &["ctl", "--url", "http://127.0.0.1:9", "agents"],
    );
    assert!(
        said.contains("no switch answers at http://127.0.0.1:9"),
        "{said}"
    );
}

#[test]
fn a_password_is_hashed_from_stdin() {
    let dir = folder();
    let mut child = command(dir.path(), &["hash-password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"correct horse\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let hash = String::from_utf8(output.stdout).unwrap();
    assert!(
        hash.starts_with("$argon2id$") && !hash.contains("horse"),
        "{hash}"
    );
    let text = format!(
        "[[agent]]\nid = \"ana\"\npassword_hash = '{}'\n",
        hash.trim()
    );
    std::fs::write(dir.path().join("f.toml"), text).unwrap();
    assert!(good(dir.path(), &["check", "--config", "f.toml"]).contains("1 agents"));
    assert!(wrong(dir.path(), &["hash-password"]).contains("no password on stdin"));
}
